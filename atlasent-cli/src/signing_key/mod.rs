//! `atlasent signing-key`: the key that signs exports of the audit trail, and its predecessors.

use std::path::{Path, PathBuf};

use atlasent_authority::signing::KeyRing;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::data::{self, DataDir};
use crate::exit::Failure;
use crate::json;
use crate::output::Output;

/// Show and replace the key that signs exports of the audit trail
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct SigningKey {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the public keys, in the form of /v1-signing-keys
    #[command(
        next_line_help = true,
        after_help = "Example:\n  atlasent signing-key list > keys.json"
    )]
    List(List),
    /// Make a new key that signs from the server's next start on; the former public key stays
    #[command(
        next_line_help = true,
        after_help = "Example:\n  atlasent signing-key rotate --data-dir /var/lib/atlasent"
    )]
    Rotate(Which),
}

#[derive(Args)]
struct List {
    /// The key that the server is given by its own `--signing-key` [default: the one in the data directory]
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,

    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
struct Which {
    #[command(flatten)]
    data: DataDir,
}

const START: &str = "\
Examples:
  atlasent signing-key list > keys.json
  atlasent audit verify bundle.json --key keys.json
  atlasent signing-key rotate

The private key is in `signing/signing-key.pem` in the data directory, for its owner alone.";

/// Runs the command on the keys of a data directory.
pub(crate) fn run(arguments: &SigningKey) -> Result<Output, Failure> {
    match &arguments.command {
        Command::List(List { signing_key, which }) => list(which, signing_key.as_deref()),
        Command::Rotate(which) => rotate(which),
    }
}

/// Prints the public keys, and creates nothing.
fn list(which: &Which, given: Option<&Path>) -> Result<Output, Failure> {
    let folder = data::signing_folder(&which.data.path()?);
    let keys = KeyRing::list(&folder, given).map_err(Failure::misuse)?;
    if keys.is_empty() {
        return Err(Failure::misuse(format!(
            "`{}` holds no signing key: the first start of `atlasent serve` makes one; \
             name the server's folder with `--data-dir`",
            folder.display()
        )));
    }
    let keys = json!({ "keys": keys });
    Ok(Output::new(json::for_stdout(&keys.to_string())))
}

fn rotate(which: &Which) -> Result<Output, Failure> {
    let folder = data::signing_folder(&which.data.make()?);
    data::make(&folder)?;
    let ring = KeyRing::open(folder).map_err(Failure::misuse)?;
    let former = ring.active().key_id().to_owned();
    let ring = ring.rotate().map_err(Failure::misuse)?;
    let active = ring.active().key_id();
    Ok(Output::new(format!(
        "{active} signs from the server's next start on; what {former} has signed still verifies\n"
    )))
}
