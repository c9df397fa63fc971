//! `atlasent audit head`: the signed head of the trail, from a running server or from a store at rest.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use atlasent::audit::SignedHead;
use atlasent_authority::SystemClock;
use atlasent_authority::signing::{KeyRing, signed_head};
use clap::Args;

use super::export;
use crate::data;
use crate::exit::Failure;
use crate::json;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// No signed head is longer.
const LONGEST: u64 = 16 * 1024;

/// Print the signed head of the audit trail: its last event's number and hash
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit head > head-2026-11.json
  atlasent audit head --data-dir /var/lib/atlasent > head.json     # while no server runs
  atlasent audit verify later.json --key keys.json --expect-head head-2026-11.json

The server is the one of `--base-url` or ATLASENT_BASE_URL, asked with the key of ATLASENT_API_KEY (scope audit.read).
Keep heads where the server cannot write: an export that lacks events from before the head, or has other ones, is
then found out.")]
pub(super) struct Head {
    /// The data directory of a server that does not run now, to read its store
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    server: ServerAddress,
}

/// Prints the signed head.
pub(super) fn run(arguments: &Head) -> Result<Output, Failure> {
    let head = runtime::run(async {
        match &arguments.data_dir {
            Some(data) => from_store(data).await,
            None => {
                let head = arguments.server.client()?.audit_head().await;
                head.map_err(|error| arguments.server.failed(&error))
            }
        }
    })?;
    let text = serde_json::to_string(&head).map_err(Failure::misuse)?;
    Ok(Output::new(json::for_stdout(&text)))
}

async fn from_store(data: &Path) -> Result<SignedHead, Failure> {
    let store = export::open_store(data)?;
    let keys = KeyRing::open(data::signing_folder(data)).map_err(Failure::misuse)?;
    signed_head(&store, &keys, &SystemClock)
        .await
        .map_err(Failure::misuse)
}

/// Reads a signed head from a file.
pub(super) fn read(path: &Path) -> Result<SignedHead, Failure> {
    let failed = |why: String| Failure::misuse(format!("`{}`: {why}", path.display()));
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text));
    read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    if text.len() as u64 > LONGEST {
        return Err(failed("is longer than a signed head".to_owned()));
    }
    serde_json::from_slice(&text).map_err(|error| failed(format!("is not a signed head: {error}")))
}
