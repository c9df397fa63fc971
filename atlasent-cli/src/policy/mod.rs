//! `atlasent policy`: whether policies are good, and whether they decide what they should.

mod check;
mod test;

use std::path::Path;

use atlasent_authority::Policies;
use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::{Output, harmless};

/// Check policies, and test what they decide
#[derive(Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Check),
    Test(test::Test),
}

/// Runs the command on policies that the arguments name.
pub(crate) fn run(arguments: &Policy) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Check(arguments) => check::run(arguments),
        Command::Test(arguments) => test::run(arguments),
    }
}

/// The policies of a folder, for a command that is not about whether they are good.
pub(crate) fn load(folder: &Path) -> Result<Policies, Failure> {
    Policies::from_dir(folder).map_err(|error| {
        let lines = error.problems().iter().map(|problem| problem.to_string());
        let lines: Vec<_> = lines.map(|line| harmless(&line)).collect();
        let folder = folder.display();
        Failure::misuse(format!(
            "the policies in `{folder}` are not good: {}",
            lines.join("; ")
        ))
    })
}
