//! `atlasent key`: the API keys of an authority on this machine.

mod create;
mod list;
mod revoke;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

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
A key is shown once, when it is made; what is kept is its SHA-256. A running server takes note of a change within a second.";

/// Runs the command on keys that the arguments name.
pub(crate) fn run(arguments: &Key) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Create(arguments) => create::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Revoke(arguments) => revoke::run(arguments),
    }
}
