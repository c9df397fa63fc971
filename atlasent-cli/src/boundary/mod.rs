//! `atlasent boundary`: helps to keep dangerous code behind permits.

mod clippy;
mod merge;
mod methods;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Keep dangerous calls inside protected code
#[derive(Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Boundary {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Clippy(clippy::Clippy),
}

/// Runs the `boundary` command that the arguments name.
pub(crate) fn run(arguments: &Boundary) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Clippy(arguments) => clippy::run(arguments),
    }
}
