//! `atlasent webhook`: verifies notifications that `atlasent serve --webhooks` has sent.

mod verify;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Verify notifications of `atlasent serve --webhooks`
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Webhook {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(verify::Verify),
}

const START: &str = "\
Create a secret, and give it to the server and to the receiver:
  printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\" > webhook.secret

Any library of the Standard Webhooks specification verifies the notifications, too.";

/// Runs the subcommand.
pub(crate) fn run(arguments: &Webhook) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Verify(arguments) => verify::run(arguments),
    }
}
