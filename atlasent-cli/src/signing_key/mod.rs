//! `atlasent signing-key`: lists and rotates the keys that sign exports of the audit trail.

use std::path::{Path, PathBuf};

use atlasent_authority::signing::KeyRing;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::data_dir::{self, DataDir};
use crate::exit::Failure;
use crate::json;
use crate::output::Output;

/// List and rotate the keys that sign exports of the audit trail
#[derive(Args)]
#[command(arg_required_else_help = false, after_help = START)]
pub(crate) struct SigningKey {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the public keys, active and retired, as JSON in the form of GET /v1-signing-keys
    #[command(
        next_line_help = true,
        after_help = "Example:\n  atlasent signing-key list > keys.json"
    )]
    List(List),
    /// Create a new signing key, which is used from the next start of the server; the old public
    /// key is kept
    #[command(
        next_line_help = true,
        after_help = "Example:\n  atlasent signing-key rotate --data-dir /var/lib/atlasent"
    )]
    Rotate(Rotate),
}

#[derive(Args)]
struct List {
    /// The key file of `atlasent serve --signing-key`, if it is used
    /// [default: the key in the data directory]
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,

    #[command(flatten)]
    data: DataDir,
}

#[derive(Args)]
struct Rotate {
    #[command(flatten)]
    data: DataDir,
}

const START: &str = "\
Examples:
  atlasent signing-key list > keys.json
  atlasent audit verify bundle.json --key keys.json
  atlasent signing-key rotate

The private key is `signing/signing-key.pem` in the data directory, readable by its owner only.";

/// Runs the `signing-key` command that the arguments name.
pub(crate) fn run(arguments: &SigningKey) -> Result<Output, Failure> {
    match &arguments.command {
        Command::List(List { signing_key, data }) => list(data, signing_key.as_deref()),
        Command::Rotate(Rotate { data }) => rotate(data),
    }
}

/// Lists the public keys. Creates no file.
fn list(data: &DataDir, key_file: Option<&Path>) -> Result<Output, Failure> {
    let folder = data_dir::signing_folder(&data.path()?);
    let keys = KeyRing::list(&folder, key_file).map_err(Failure::misuse)?;
    if keys.is_empty() {
        return Err(Failure::misuse(format!(
            "`{}` holds no signing key: set `--data-dir` to the server's data directory; \
             the first start of `atlasent serve` creates a key",
            folder.display()
        )));
    }
    let keys = json!({ "keys": keys });
    Ok(Output::new(json::for_stdout(&keys.to_string())))
}

fn rotate(data: &DataDir) -> Result<Output, Failure> {
    let folder = data_dir::signing_folder(&data.create()?);
    data_dir::create_private(&folder)?;
    let ring = KeyRing::open(folder).map_err(Failure::misuse)?;
    let old = ring.active().key_id().to_owned();
    let ring = ring.rotate().map_err(Failure::misuse)?;
    let active = ring.active().key_id();
    Ok(Output::new(format!(
        "new signing key {active}, used from the next start of the server; exports signed by {old} still verify\n"
    )))
}
