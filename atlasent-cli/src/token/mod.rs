//! `atlasent token`: ATI tokens, from the orchestrator's side and from the proxy's.

mod caution;
mod input;
mod inspect;
mod issue;
mod issuer;
mod limits;
mod provision;
mod validate;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Issue, check and hand over ATI tokens: who an agent is, and what it may touch
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Issue(issue::Issue),
    Validate(validate::Validate),
    Inspect(inspect::Inspect),
    Provision(provision::Provision),
}

const START: &str = "\
From nothing to an agent's sandbox:
  export ATI_JWT_SECRET=$(openssl rand -hex 32)
  atlasent token provision --agent deploy-bot --proxy-url https://ati.example.com --tool github:search > agent.env
  docker run --env-file agent.env my-agent

What the agent was given, checked as the proxy checks it:
  sed -n 's/^ATI_SESSION_TOKEN=//p' agent.env | atlasent token validate -

Keep ATI_JWT_SECRET out of the sandbox: whoever has it can issue any token.";

/// Where keys come from, for the help of each command that needs one.
macro_rules! keys {
    () => {
        "\
Keys come from the environment, never from arguments:
  ATI_JWT_PRIVATE_KEY  path of a P-256 private key in PEM (PKCS#8 or SEC 1): signs, with ES256
  ATI_JWT_PUBLIC_KEY   path of its public key in PEM (SPKI): validates
  ATI_JWT_SECRETS      secrets of 32 bytes or more in hex, with commas between: sign and validate, with HS256
  ATI_JWT_SECRET       one such secret
A path goes before a secret, and several secrets before one. To replace a key, validate with the old and the new
one for as long as old tokens live: list both secrets, the newest first, or name a directory of `.pem` files instead
of a file, where the last name in the alphabet is the newest (2026-11.pem, then 2026-05.pem). The newest key signs;
a token's `kid` is its file's name without `.pem`. A key that cannot be used is an error."
    };
}
use keys;

/// Runs the command on tokens that the arguments name.
pub(crate) fn run(arguments: &Token) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Issue(arguments) => issue::run(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Provision(arguments) => provision::run(arguments),
    }
}
