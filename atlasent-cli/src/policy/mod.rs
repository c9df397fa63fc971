//! `atlasent policy`: starts, checks and tests policy sets before they are deployed.

mod check;
mod coverage;
mod init;
#[cfg(feature = "prove")]
mod prove;
mod replay;
mod schema;
mod sites;
mod suite;
mod test;

use std::path::Path;

use atlasent_authority::Policies;
use atlasent_authority::policy::PolicyError;
use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Create, check and test Cedar policies
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
    Coverage(coverage::Coverage),
    Replay(replay::Replay),
    #[cfg(feature = "prove")]
    Prove(prove::Prove),
    #[cfg(feature = "prove")]
    Compare(prove::Compare),
    Schema(schema::Schema),
}

const START: &str = "\
Before policies are deployed:
  atlasent policy init policies
  atlasent policy schema policies --out policies/schema.cedarschema
  atlasent policy check policies --strict
  atlasent policy test policies/tests.json
  atlasent policy coverage policies
  atlasent policy replay --trail bundle.json --key keys.json --policies policies
  atlasent evaluate --policies policies --agent deploy-bot --action deploy.production

A directory of policies holds `*.cedar` files and, optionally, `schema.cedarschema` and `entities.json`.";

/// Runs the `policy` command that the arguments name.
pub(crate) fn run(arguments: &Policy) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Init(arguments) => init::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Test(arguments) => test::run(arguments),
        Command::Coverage(arguments) => coverage::run(arguments),
        Command::Replay(arguments) => replay::run(arguments),
        #[cfg(feature = "prove")]
        Command::Prove(arguments) => prove::prove(arguments),
        #[cfg(feature = "prove")]
        Command::Compare(arguments) => prove::compare(arguments),
        Command::Schema(arguments) => schema::run(arguments),
    }
}

/// Loads the policies of a directory. A set that cannot be loaded is misuse (exit code 2) rather
/// than a negative result, because no request was evaluated.
pub(crate) fn load(directory: &Path) -> Result<Policies, Failure> {
    Policies::from_dir(directory).map_err(|error| load_failure(directory, &error))
}

fn load_failure(directory: &Path, error: &PolicyError) -> Failure {
    let shown = directory.display();
    let first = error
        .problems()
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    match error.problems().len() {
        0 | 1 => Failure::misuse(format!("cannot load the policies in `{shown}`: {first}")),
        all => Failure::misuse(format!(
            "cannot load the policies in `{shown}`: {first} (and {} more: see `atlasent policy check {shown}`)",
            all - 1
        )),
    }
}
