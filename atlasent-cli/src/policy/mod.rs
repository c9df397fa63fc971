//! `atlasent policy`: policies, before they decide anything.

mod check;
mod init;
mod replay;
mod suite;
mod test;

use std::path::Path;

use atlasent_authority::Policies;
use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Start, check and test Cedar policies
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Check(check::Check),
    Test(test::Test),
    Replay(replay::Replay),
}

const START: &str = "\
Before policies go live:
  atlasent policy init policies
  atlasent policy check policies --strict
  atlasent policy test policies/tests.json
  atlasent policy replay --trail bundle.json --key keys.json --policies policies
  atlasent evaluate --policies policies --agent deploy-bot --action deploy.production

A directory of policies holds `*.cedar` files, and `schema.cedarschema` and `entities.json` where there are any.";

/// Runs the command that the arguments name.
pub(crate) fn run(arguments: &Policy) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Init(arguments) => init::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Test(arguments) => test::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
    }
}

/// Policies to ask. Without them no question can be put, so that they are refused is no answer.
pub(crate) fn load(directory: &Path) -> Result<Policies, Failure> {
    Policies::from_dir(directory).map_err(|error| {
        let shown = directory.display();
        let first = error.problems().first().map(ToString::to_string).unwrap_or_default();
        match error.problems().len() {
            0 | 1 => Failure::misuse(format!("the policies in `{shown}` cannot be used: {first}")),
            all => Failure::misuse(format!(
                "the policies in `{shown}` cannot be used: {first} (and {} more: see `atlasent policy check {shown}`)",
                all - 1
            )),
        }
    })
}
