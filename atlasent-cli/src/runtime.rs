//! The runtime of commands that wait for something.

use crate::exit::Failure;

/// Runs a command that waits for something, on this thread.
pub(crate) fn run<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::misuse(format!("cannot start: {error}")))?
        .block_on(command)
}
