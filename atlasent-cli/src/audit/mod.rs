//! `atlasent audit`: the audit trail, exported, watched and verified, and its signed head.

pub(crate) mod checked_trail;
mod export;
mod filter;
mod head;
mod keys;
mod progress;
mod report;
mod tail;
mod verify;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Export, watch and verify the audit trail
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(verify::Verify),
    Export(export::Export),
    Head(head::Head),
    Tail(tail::Tail),
}

const START: &str = "\
From a running server to a verified trail:
  export ATLASENT_BASE_URL=http://127.0.0.1:8080 ATLASENT_API_KEY=ask_test_…
  atlasent audit export --out bundle.json
  atlasent signing-key list > keys.json      # on the server's machine
  atlasent audit verify bundle.json --key keys.json
  atlasent audit head > head.json            # to be kept where the server cannot write
  atlasent audit verify later.json --key keys.json --expect-head head.json

Whoever can forge a bundle can forge the keys that come with it: get the keys another way.";

/// Runs the command on the trail that the arguments name.
pub(crate) fn run(arguments: &Audit) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Head(arguments) => head::run(arguments),
        Command::Tail(arguments) => tail::run(arguments),
    }
}
