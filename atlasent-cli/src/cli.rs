//! The tree of commands, and the function that runs each.

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::approvals::{self, Approvals};
use crate::audit::{self, Audit};
use crate::boundary::{self, Boundary};
use crate::completions::{self, Completions};
use crate::evaluate::{self, Evaluate};
use crate::exit::Failure;
use crate::guard::{self, GuardCommand};
use crate::hook::{self, HookArgs};
use crate::key::{self, Key};
use crate::org::{self, Org};
use crate::output::Output;
use crate::policy::{self, Policy};
use crate::serve::{self, Serve};
use crate::signing_key::{self, SigningKey};
use crate::stop::{self, Resume, Stop};
use crate::store::{self, Store};
use crate::token::{self, Token};
use crate::usage;
use crate::webhook::{self, Webhook};

/// The name of the program in help and errors, whatever the name of its file.
pub(crate) const NAME: &str = "atlasent";

// `term_width = 0` turns line wrapping off, also when another crate of the build enables clap's
// feature `wrap_help`: examples in the help must stay on one line to be copied.
/// Authorization for AI agents, on the command line
#[derive(Parser)]
#[command(
    name = NAME,
    bin_name = NAME,
    version,
    arg_required_else_help = false,
    term_width = 0,
    after_help = EXIT_CODES
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<Serve>),
    Guard(Box<GuardCommand>),
    Hook(Box<HookArgs>),
    Policy(Policy),
    Evaluate(Evaluate),
    Boundary(Boundary),
    Approvals(Approvals),
    Audit(Audit),
    Key(Key),
    Org(Org),
    SigningKey(SigningKey),
    Stop(Stop),
    Resume(Resume),
    Store(Store),
    Token(Token),
    Webhook(Webhook),
    Completions(Completions),
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  negative result: a token, bundle, store, policy set, request or vote is refused, by the command or by a server
  2  bad usage, keys or configuration, or no usable answer from a server
A failure prints one line with its reason on standard error. Reports with findings go to standard output.";

/// Runs the command that the arguments name. The first argument is the name of the program.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<Output, Failure> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage::help_or_failure(&error, &arguments),
    };
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Guard(arguments) => guard::run(&arguments),
        Command::Hook(arguments) => hook::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Boundary(arguments) => boundary::run(&arguments),
        Command::Approvals(arguments) => approvals::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Org(arguments) => org::run(&arguments),
        Command::SigningKey(arguments) => signing_key::run(&arguments),
        Command::Stop(arguments) => stop::stop(&arguments),
        Command::Resume(arguments) => stop::resume(&arguments),
        Command::Store(arguments) => store::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Webhook(arguments) => webhook::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

/// Returns the definition of all commands, for completions and tests.
pub(crate) fn command_tree() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        command_tree().debug_assert();
    }
}
