//! The server that a command asks, as the environment names it.

use std::time::Duration;

use atlasent::{Client, Error};

use crate::exit::Failure;

/// How large an export may be that comes over the network, in bytes.
const EXPORT_LIMIT: usize = 4 * 1024 * 1024 * 1024;

/// How long a server may take: an export has to be put together first.
const PATIENCE: Duration = Duration::from_secs(900);

/// A client for the server of `ATLASENT_BASE_URL`, with the key of `ATLASENT_API_KEY`.
pub(crate) fn client() -> Result<Client, Failure> {
    let client = Client::builder()
        .export_limit(EXPORT_LIMIT)
        .timeout(PATIENCE)
        .deadline(PATIENCE);
    client.build().map_err(Failure::misuse)
}

/// What a server did not answer.
pub(crate) fn failed(error: Error) -> Failure {
    Failure::misuse(error)
}
