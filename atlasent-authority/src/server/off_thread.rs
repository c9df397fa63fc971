//! Blocking work on a thread of its own.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Runs blocking work, such as reading files, on a thread of its own.
///
/// A read may block for ever (a pipe, a lost network share). A runtime that shuts down waits for
/// the threads of `spawn_blocking`, so such a read would keep the process from stopping. The
/// runtime does not wait for this thread, which ends with the process.
///
/// # Errors
///
/// When the thread cannot be started, or when the work panics.
pub(super) async fn off_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || drop(done.send(work())))?;
    result
        .await
        .map_err(|_| io::Error::other("the thread of the work panicked"))
}
