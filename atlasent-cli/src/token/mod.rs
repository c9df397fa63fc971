//! `atlasent token`: issues, delegates, validates and inspects ATI tokens, and provisions sandboxes
//! with them.

mod delegate;
mod input;
mod inspect;
mod issue;
mod issuer;
mod limits;
mod provision;
mod validate;
mod warnings;

use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::output::Output;

/// Issue, delegate, validate and inspect ATI tokens, which name an agent and grant it scopes
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Issue(issue::Issue),
    Delegate(delegate::Delegate),
    Validate(validate::Validate),
    Inspect(inspect::Inspect),
    Provision(provision::Provision),
}

const START: &str = "\
Provision a sandbox for an agent:
  export ATI_JWT_SECRET=$(openssl rand -hex 32)
  atlasent token provision --agent deploy-bot --proxy-url https://ati.example.com --tool github:search > agent.env
  docker run --env-file agent.env my-agent

Validate the token of the sandbox, as the proxy does:
  sed -n 's/^ATI_SESSION_TOKEN=//p' agent.env | atlasent token validate -

Keep ATI_JWT_SECRET out of the sandbox: with it, any token can be issued.";

/// The help text about the environment variables of keys, for each command that needs a key.
macro_rules! key_variables_help {
    () => {
        "\
Keys are read from environment variables, never from arguments:
  ATI_JWT_PRIVATE_KEY  path of a P-256 private key in PEM (PKCS#8 or SEC 1), to sign with ES256
  ATI_JWT_PUBLIC_KEY   path of its public key in PEM (SPKI), to validate ES256
  ATI_JWT_SECRETS      comma-separated secrets in hex, each of 32 bytes or more, to sign and validate with HS256
  ATI_JWT_SECRET       one such secret
A path takes precedence over secrets, and ATI_JWT_SECRETS over ATI_JWT_SECRET. The newest key signs, and every key
validates. To rotate a secret, list the new one before the old one until all tokens of the old one have expired. To
rotate a key pair, set the path to a directory of `.pem` files: the newest is the last by name (2026-11.pem after
2026-05.pem), and the name without `.pem` is the `kid` of its tokens. A key that cannot be used is an error."
    };
}
use key_variables_help;

/// Runs the `token` command that the arguments name.
pub(crate) fn run(arguments: &Token) -> Result<Output, Failure> {
    match &arguments.command {
        Command::Issue(arguments) => issue::run(arguments),
        Command::Delegate(arguments) => delegate::run(arguments),
        Command::Validate(arguments) => validate::run(arguments),
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Provision(arguments) => provision::run(arguments),
    }
}
