//! `atlasent key`: the API keys of an authority on this machine.

mod create;
mod list;
mod revoke;
mod store;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;

/// Create, list and revoke the API keys of `atlasent serve`
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Key {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Create(create::Create),
    List(list::List),
    Revoke(revoke::Revoke),
}

const START: &str = "\
A key is printed once, when it is created; only its SHA-256 is stored. A running server applies a change within 1
second. Servers that share a database keep their keys in it: set `--store-env` to the variable with its URL.";

/// Runs the `key` command that the arguments name.
pub(crate) fn run(arguments: &Key) -> Result<Output, Failure> {
    runtime::run(async {
        match &arguments.command {
            Command::Create(arguments) => create::run(arguments).await,
            Command::List(arguments) => list::run(arguments).await,
            Command::Revoke(arguments) => revoke::run(arguments).await,
        }
    })
}
