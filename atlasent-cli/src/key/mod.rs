//! `atlasent key`: the API keys of an authority on this machine.

mod create;
mod list;
mod place;
mod revoke;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;
use crate::runtime;

pub(crate) use place::address;

/// Make, list and take back the API keys of `atlasent serve`
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
A key is shown once, when it is made; what is kept is its SHA-256. A running server takes note of a change within a
second. Servers on one database keep their keys there: name its address with `--store-env`.";

/// Runs the command on keys that the arguments name.
pub(crate) fn run(arguments: &Key) -> Result<Output, Failure> {
    runtime::run(async {
        match &arguments.command {
            Command::Create(arguments) => create::run(arguments).await,
            Command::List(arguments) => list::run(arguments).await,
            Command::Revoke(arguments) => revoke::run(arguments).await,
        }
    })
}
