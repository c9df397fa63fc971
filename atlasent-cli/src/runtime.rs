//! The async runtime of commands other than `serve`.

use crate::exit::Failure;

/// Runs an async command to its end on the current thread.
pub(crate) fn run<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::misuse(format!("cannot start the async runtime: {error}")))?
        .block_on(command)
}
