//! `atlasent store`: checks and backs up the store of an authority, and prints its tables.

mod backup;
mod check;
mod schema;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Check and back up the store of an authority, or print its tables
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = EXAMPLES)]
pub(crate) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Check),
    Backup(backup::Backup),
    Schema(schema::Schema),
}

const EXAMPLES: &str = "\
Examples:
  atlasent store backup /backups/authority.redb      # from a running server, over its API
  atlasent store check /backups/authority.redb
  atlasent store check --data-dir /var/lib/atlasent  # while no server runs
  atlasent store schema --partitions 16              # the tables of a new PostgreSQL database";

/// Runs the `store` command that the arguments name.
pub(crate) fn run(arguments: &Store) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Check(arguments) => check::run(arguments),
        Command::Backup(arguments) => backup::run(arguments),
        Command::Schema(arguments) => Ok(schema::run(arguments)),
    }
}
