//! `atlasent policy compare`: whether two policy sets allow the same requests.

use std::path::PathBuf;

use clap::Args;

use super::side::Loaded;
use super::{Options, conclude};
use crate::exit::Failure;
use crate::output::Output;

/// Prove that new policies allow nothing that the old ones deny, and the reverse
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy compare policies new-policies
  atlasent policy compare policies new-policies --only-wider --write-cases found.json

Each action of either schema is compared over all requests, with the entities of each directory. Only `allow` counts: a
request that waits instead of being denied is not a difference. Budgets are not compared: the report lists those of one
directory that the other lacks. It needs the solver cvc5 and a `schema.cedarschema` in both
directories.

Exit codes:
  0  both allow the same; with --only-wider, NEW allows nothing that OLD denies
  1  there is a counterexample
  2  there is no counterexample, and something is undecided; or the policies or the solver cannot be used")]
pub(crate) struct Compare {
    /// The directory of the policies in force
    #[arg(value_name = "OLD")]
    old: PathBuf,

    /// The directory of the new policies
    #[arg(value_name = "NEW")]
    new: PathBuf,

    /// Check only that NEW allows nothing that OLD denies
    #[arg(long)]
    only_wider: bool,

    #[command(flatten)]
    options: Options,
}

/// Compares two policy sets.
pub(crate) fn run(arguments: &Compare) -> Result<Output, Failure> {
    let old = Loaded::from_dir(&arguments.old)?;
    let new = Loaded::from_dir(&arguments.new)?;
    let pairs: &[_] = match arguments.only_wider {
        true => &[(1, 0)],
        false => &[(1, 0), (0, 1)],
    };
    conclude(&[("OLD", &old), ("NEW", &new)], pairs, &arguments.options)
}
