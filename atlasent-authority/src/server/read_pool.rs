//! Reads of the audit trail and of lists of pending decisions: few at a time, on two threads of
//! their own, and with a deadline, so that they do not hold up decisions.
//!
//! A read holds a slot ([`read_slots`](super::read_slots)) until its body is sent, which bounds what
//! reads hold in memory and in temporary files. A task sends the body, and frees the slot at the
//! deadline even if the client takes nothing.

use std::future::Future;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;

use axum::body::Body;
use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::api_error::ApiError;
use super::read_slots::{ReadSlot, ReadSlots};
use crate::local::unavailable;
use crate::store::{OrgId, StoreError};

/// The size of the chunks in which a body is sent, in bytes.
const CHUNK: usize = 64 * 1024;

/// How many pages of one organization are read or sent at a time; of all organizations together,
/// half as many again. A page has at most 8 MB.
const MAX_PAGES: usize = 4;

/// How many pages of one organization wait for a slot.
const MAX_WAITING: usize = 256;

/// How many exports of one organization are made or sent at a time, unless the server's concurrency
/// is lower; of all organizations together, 11. Each export has a temporary file.
const MAX_EXPORTS: usize = 8;

/// The pools of the two kinds of reads.
pub(super) struct ReadPools {
    pub(super) pages: ReadPool,
    pub(super) exports: ReadPool,
}

/// The thread for reads of one kind, and their slots.
pub(super) struct ReadPool {
    thread: OnceLock<Thread>,
    slots: ReadSlots,
}

/// A thread that runs the tasks of its pool until it is dropped.
struct Thread {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl ReadPools {
    /// Creates the pools of a server that answers `concurrency` requests at a time.
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            pages: ReadPool::new(concurrency.min(MAX_PAGES), MAX_WAITING),
            exports: ReadPool::new(concurrency.min(MAX_EXPORTS), 0),
        }
    }
}

impl ReadPool {
    fn new(slots: usize, waiting: usize) -> Self {
        Self {
            thread: OnceLock::new(),
            slots: ReadSlots::new(slots, waiting),
        }
    }

    /// Takes a slot for a read of an organization. Waits for one if the pool has a queue with room.
    pub(super) async fn slot(&self, org: &OrgId) -> Result<ReadSlot, ApiError> {
        self.slots.take(org).await.ok_or_else(busy)
    }

    /// Runs a read on the pool's thread. Dropping the future cancels the read.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let mut task = Task(self.handle()?.spawn(read));
        match (&mut task.0).await {
            Ok(result) => Ok(result),
            Err(error) => match error.try_into_panic() {
                // The panic continues in the request, which answers it.
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(stopped()),
            },
        }
    }

    /// Builds a body of `length` bytes, which is read no faster than the client takes it. At the
    /// deadline the body fails, so that no client takes it for complete.
    pub(super) fn body<R: Read + Send + 'static>(
        &self,
        mut reader: R,
        length: u64,
        slot: ReadSlot,
        deadline: Instant,
    ) -> Result<Body, ApiError> {
        let (sender, mut receiver) = mpsc::channel(2);
        self.handle()?.spawn(async move {
            let _slot = slot;
            let send = async {
                while let Some(chunk) = next_chunk(&mut reader).transpose() {
                    let failed = chunk.is_err();
                    // The receiver is gone when the client has left.
                    if sender.send(chunk).await.is_err() || failed {
                        return;
                    }
                }
            };
            if timeout_at(deadline, send).await.is_err() {
                tracing::warn!(target: "atlasent", "a client did not receive an answer of the audit trail in time");
            }
        });
        let mut left = length;
        let chunks = futures_util::stream::poll_fn(move |context| {
            receiver.poll_recv(context).map(|chunk| match chunk {
                Some(Ok(chunk)) => {
                    left = left.saturating_sub(chunk.len() as u64);
                    Some(Ok(chunk))
                }
                Some(Err(error)) => {
                    left = 0;
                    Some(Err(error))
                }
                None if left > 0 => {
                    left = 0;
                    Some(Err(io::ErrorKind::TimedOut.into()))
                }
                None => None,
            })
        });
        Ok(Body::from_stream(chunks))
    }

    fn handle(&self) -> Result<&Handle, ApiError> {
        if let Some(thread) = self.thread.get() {
            return Ok(&thread.handle);
        }
        let thread = Thread::start().map_err(|error| {
            tracing::error!(target: "atlasent", %error, "the thread that reads the audit trail cannot be started");
            stopped()
        })?;
        Ok(&self.thread.get_or_init(|| thread).handle)
    }
}

impl Thread {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new()
            .name("atlasent-trail".to_owned())
            .spawn(move || {
                // Ends when the sender is dropped. Unfinished tasks are dropped with the runtime.
                let _: Result<(), _> = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }
}

/// A task that is aborted when this handle is dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns the mapping from a store's error to the error of the operation that failed.
pub(super) fn store_error(operation: &'static str) -> impl Fn(StoreError) -> ApiError {
    move |error| match error {
        StoreError::Busy => busy(),
        error => ApiError::from(unavailable(operation, error)),
    }
}

fn busy() -> ApiError {
    let message = "too many reads at a time: try again";
    ApiError::unavailable("OVERLOADED", message)
}

fn stopped() -> ApiError {
    let message = "the audit trail cannot be read now: try again";
    ApiError::unavailable("STORE_UNAVAILABLE", message)
}

/// Reads the next chunk. Returns `None` at the end.
fn next_chunk(reader: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => {
                chunk.truncate(count);
                return Ok(Some(Bytes::from(chunk)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
