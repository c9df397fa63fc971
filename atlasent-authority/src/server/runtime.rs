//! The runtime of a server.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// After how many polls of tasks a thread looks for new requests. By default it is 61: while all
/// threads are busy, a request would wait until 61 others were polled, 5 ms at 80 µs each, before
/// anything could prefer it.
const POLLS: u32 = 8;

/// Creates the runtime that `atlasent serve` runs on: one of `tokio` with a thread for each
/// processor, which looks for new requests often. So a request of one organization is answered soon
/// beside a flood by another one.
///
/// ```
/// let runtime = atlasent_authority::server::runtime()?;
/// assert_eq!(runtime.block_on(async { 1 }), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// The system's error when it refuses a thread or a socket.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .event_interval(POLLS)
        .enable_all()
        .build()
}
