//! The server that a command asks, as the environment names it.

use atlasent::{Client, Error};

use crate::exit::Failure;

/// How large an export may be that comes over the network, in bytes.
const EXPORT_LIMIT: usize = 4 * 1024 * 1024 * 1024;

/// A client for the server of `ATLASENT_BASE_URL`, with the key of `ATLASENT_API_KEY`.
pub(super) fn client() -> Result<Client, Failure> {
    let client = Client::builder().export_limit(EXPORT_LIMIT).build();
    client.map_err(Failure::misuse)
}

/// Runs a command that asks a server.
pub(super) fn run<T>(ask: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::misuse(format!("cannot start: {error}")))?
        .block_on(ask)
}

/// What a server did not answer.
pub(super) fn failed(error: Error) -> Failure {
    Failure::misuse(error)
}
