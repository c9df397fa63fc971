//! `atlasent store schema`: prints the SQL that creates the tables of a store in PostgreSQL.

use std::num::NonZeroU16;

use atlasent_authority::PostgresStore;
use clap::Args;

use crate::output::Output;

/// Print the SQL that creates the tables of a store in a new PostgreSQL database
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent store schema | psql -v ON_ERROR_STOP=1 authority
  atlasent store schema --partitions 16 > tables.sql

A server creates its tables by itself. Use this command if its user has no right to create tables, or to partition
them. The user then needs SELECT, INSERT, UPDATE and DELETE on all of them.")]
pub(super) struct Schema {
    /// Partition the events and the permits by organization, into N partitions each
    #[arg(long, value_name = "N")]
    partitions: Option<NonZeroU16>,
}

/// Prints the script.
pub(super) fn run(arguments: &Schema) -> Output {
    Output::new(PostgresStore::schema(arguments.partitions))
}
