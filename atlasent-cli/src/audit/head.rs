//! `atlasent audit head`: prints the signed head of the trail, from a running server or from the
//! store of a stopped one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use atlasent::audit::SignedHead;
use atlasent_authority::SystemClock;
use atlasent_authority::signing::signed_head;
use clap::Args;

use super::stopped::StoppedServer;
use crate::exit::Failure;
use crate::json;
use crate::output::Output;
use crate::runtime;
use crate::server::ServerAddress;

/// The largest file of a signed head, in bytes.
const MAX_HEAD_BYTES: u64 = 16 * 1024;

/// Print the signed head of the audit trail: its last event's number and hash
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent audit head > head-2026-11.json
  atlasent audit head --data-dir /var/lib/atlasent > head.json     # while no server runs
  atlasent audit verify later.json --key keys.json --expect-head head-2026-11.json

The API key is read from ATLASENT_API_KEY and needs the scope `audit.read`. Keep heads where the server cannot write:
`audit verify --expect-head` then detects an export in which earlier events are missing or changed.")]
pub(super) struct Head {
    #[command(flatten)]
    stopped: StoppedServer,

    #[command(flatten)]
    server: ServerAddress,
}

/// Prints the signed head.
pub(super) fn run(arguments: &Head) -> Result<Output, Failure> {
    let head = runtime::run(async {
        match arguments.stopped.is_set() {
            true => from_store(&arguments.stopped).await,
            false => {
                let head = arguments.server.client()?.audit_head().await;
                head.map_err(|error| arguments.server.call_failure(&error))
            }
        }
    })?;
    let text = serde_json::to_string(&head).map_err(Failure::misuse)?;
    Ok(Output::new(json::for_stdout(&text)))
}

async fn from_store(stopped: &StoppedServer) -> Result<SignedHead, Failure> {
    let (store, keys) = stopped.open().await?;
    signed_head(&store, &keys, &SystemClock)
        .await
        .map_err(Failure::misuse)
}

/// Reads a signed head from a file.
pub(super) fn read(path: &Path) -> Result<SignedHead, Failure> {
    let failure = |why: String| Failure::misuse(format!("`{}`: {why}", path.display()));
    let mut text = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_HEAD_BYTES + 1).read_to_end(&mut text));
    read.map_err(|error| failure(format!("cannot read the file: {error}")))?;
    if text.len() as u64 > MAX_HEAD_BYTES {
        return Err(failure(format!(
            "not a signed head: the file is larger than {MAX_HEAD_BYTES} bytes"
        )));
    }
    serde_json::from_slice(&text).map_err(|error| failure(format!("not a signed head: {error}")))
}
