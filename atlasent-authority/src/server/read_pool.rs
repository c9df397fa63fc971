//! Reading the audit trail beside deciding: on two threads, few reads at a time, and no longer than
//! their clients wait.
//!
//! A read has a place until its body is sent, so what reads hold in memory and in temporary files
//! is bounded. A body is handed over by a task, which gives the place back at the deadline although
//! its client takes nothing.

use std::future::Future;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};
use std::thread;

use axum::body::Body;
use bytes::Bytes;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::api_error::Problem;
use crate::local::unavailable;
use crate::store::StoreError;

/// How much of a body is handed over at once.
const CHUNK: usize = 64 * 1024;

/// How many pages are put together or sent at a time. One has 8 MB at the most.
const PAGES: usize = 4;

/// How many pages wait for a place at the most.
const WAITING: usize = 256;

/// How many exports are put together or sent at a time, where the server's concurrency allows it.
/// Each has a temporary file.
const EXPORTS: usize = 8;

/// The reads that are under way, and their threads.
pub(super) struct Readers {
    pub(super) pages: Lane,
    pub(super) exports: Lane,
}

/// One thread for reads of one kind, and their places.
pub(super) struct Lane {
    thread: OnceLock<Thread>,
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A thread that drives the tasks of its lane, until it is dropped.
struct Thread {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

/// The right to read. It goes along with what was read until that is sent.
pub(super) struct Place(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Readers {
    /// Places for a server that answers so many requests at a time.
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            pages: Lane::new(concurrency.min(PAGES), WAITING),
            exports: Lane::new(concurrency.min(EXPORTS), 0),
        }
    }
}

impl Lane {
    fn new(places: usize, waiting: usize) -> Self {
        Self {
            thread: OnceLock::new(),
            places: Arc::new(Semaphore::new(places)),
            waiting: Semaphore::new(waiting),
        }
    }

    /// Takes a place, and waits for one where the lane has a queue with room.
    pub(super) async fn place(&self) -> Result<Place, Problem> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Place(place));
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map(Place).map_err(|_| stopped())
    }

    /// Runs a read on the lane's thread. Dropping the future ends it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Problem> {
        let mut task = Task(self.handle()?.spawn(read));
        match (&mut task.0).await {
            Ok(result) => Ok(result),
            Err(error) => match error.try_into_panic() {
                // It is the request's panic, wherever it happened.
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(stopped()),
            },
        }
    }

    /// A body of `length` bytes. It is handed over no faster than the client takes it, and not
    /// after the deadline; then it breaks off, so that no client takes it for whole.
    pub(super) fn body<R: Read + Send + 'static>(
        &self,
        mut reader: R,
        length: u64,
        place: Place,
        deadline: Instant,
    ) -> Result<Body, Problem> {
        let (sender, mut receiver) = mpsc::channel(2);
        self.handle()?.spawn(async move {
            let _place = place;
            let send = async {
                while let Some(chunk) = next(&mut reader).transpose() {
                    let failed = chunk.is_err();
                    // The client may have gone.
                    if sender.send(chunk).await.is_err() || failed {
                        return;
                    }
                }
            };
            if timeout_at(deadline, send).await.is_err() {
                tracing::warn!(target: "atlasent", "a client did not take an answer of the audit trail in time");
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

    fn handle(&self) -> Result<&Handle, Problem> {
        if let Some(thread) = self.thread.get() {
            return Ok(&thread.handle);
        }
        let thread = Thread::start().map_err(|error| {
            tracing::error!(target: "atlasent", %error, "a thread for reading cannot be started");
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
                // Ends when the other end is dropped. Tasks that are left go with the runtime.
                let _: Result<(), _> = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }
}

/// A task that ends when nobody waits for it any more.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The answer to an operation on the trail that the store failed at.
pub(super) fn unreadable(operation: &'static str) -> impl Fn(StoreError) -> Problem {
    move |error| match error {
        StoreError::Busy => busy(),
        error => Problem::from(unavailable(operation, error)),
    }
}

fn busy() -> Problem {
    let message = "too many reads of the audit trail at a time: try again";
    Problem::unavailable("OVERLOADED", message)
}

fn stopped() -> Problem {
    let message = "the server cannot read the audit trail now: try again";
    Problem::unavailable("STORE_UNAVAILABLE", message)
}

/// The next bytes of a reader. `None` at its end.
fn next(reader: &mut impl Read) -> io::Result<Option<Bytes>> {
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
