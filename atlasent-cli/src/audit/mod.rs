//! `atlasent audit`: exports, verifies, reports and follows the audit trail, prints its signed
//! head, and verifies the trails of several organizations together.

pub(crate) mod checked_trail;
mod export;
mod filter;
mod head;
mod keys;
mod lanes;
mod permits;
mod progress;
mod report;
mod stopped;
mod story;
mod tail;
mod verify;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Export, verify, report and follow the audit trail
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(verify::Verify),
    Report(permits::Report),
    Export(export::Export),
    Head(head::Head),
    Lanes(lanes::Lanes),
    Tail(tail::Tail),
}

const START: &str = "\
From a running server to a verified trail:
  export ATLASENT_BASE_URL=http://127.0.0.1:8080 ATLASENT_API_KEY=ask_test_…
  atlasent audit export --out bundle.json
  atlasent signing-key list > keys.json      # on the server's machine
  atlasent audit verify bundle.json --key keys.json
  atlasent audit report bundle.json --key keys.json
  atlasent audit head > head.json            # keep it where the server cannot write
  atlasent audit verify later.json --key keys.json --expect-head head.json

Get the public keys over another channel than the bundle: a forger of the bundle can forge keys that come with it.";

/// Runs the `audit` command that the arguments name.
pub(crate) fn run(arguments: &Audit) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Report(arguments) => permits::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Head(arguments) => head::run(arguments),
        Command::Lanes(arguments) => lanes::run(arguments),
        Command::Tail(arguments) => tail::run(arguments),
    }
}
