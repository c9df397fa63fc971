//! Group commit: the changes that arrive during a transaction share the next one, and its `fsync`.
//!
//! A worked example, with a transaction that takes 5 ms to become durable:
//!
//! ```text
//! time   callers                      writer
//! 0 ms   A sends its change           next() returns [A]; begins a transaction
//! 2 ms   B and C send theirs          waits for the disk; B and C are queued
//! 5 ms   A gets its result            next() returns [B, C]; begins one transaction for both
//! 10 ms  B and C get their results    waits for the next change
//! ```
//!
//! Each change has two channels. The change sends its return value through the first one as it
//! runs. After the transaction, the writer sends the transaction's result through the second one
//! ([`answer`]). [`Group::commit`] reads the return value only after a good result, so a caller
//! never learns of a change that was rolled back. If C panics, neither B nor C is kept: their batch
//! is dropped as a whole.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{Batch, CellKey, Changeset, StoreError};

/// How many changes one transaction takes at most.
const MOST: usize = 512;

/// How many changes are queued at most. Further callers wait until the queue has room.
const WAITING: usize = 4_096;

/// The sending end of the queue of changes.
#[derive(Clone, Debug)]
pub(super) struct Group(mpsc::Sender<Job>);

/// The receiving end of the queue, for the writer that commits.
#[derive(Debug)]
pub(super) struct Jobs(mpsc::Receiver<Job>);

type Change = Box<dyn FnOnce(&mut Changeset<'_>) + Send>;

/// A queued change, with the channel for the result of its transaction.
pub(super) struct Job {
    now: Timestamp,
    reads: Vec<CellKey>,
    change: Option<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Creates a queue of changes.
pub(super) fn queue() -> (Group, Jobs) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Group(sender), Jobs(receiver))
}

impl Group {
    /// Queues a change, and waits until it is kept. Dropping the future does not cancel a queued
    /// change.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::failed("the store was closed");
        let (result, mut results) = oneshot::channel();
        let (done, kept) = oneshot::channel();
        let job = Job {
            now,
            reads,
            change: Some(Box::new(move |changeset| {
                // The caller may have dropped its future. The change is kept all the same.
                let _ = result.send(change(changeset));
            })),
            done,
        };
        self.0.send(job).await.map_err(|_| closed())?;
        kept.await.map_err(|_| panicked())??;
        results.try_recv().map_err(|_| panicked())
    }
}

impl Jobs {
    /// Waits for a change, and returns it with all that are queued behind it. `None` when every
    /// [`Group`] is dropped.
    #[cfg(feature = "postgres")]
    pub(super) async fn next(&mut self) -> Option<Vec<Job>> {
        let first = self.0.recv().await?;
        Some(self.with_waiting(first))
    }

    /// Returns whether the queue is empty.
    #[cfg(feature = "postgres")]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`next`](Self::next), for a thread that may block.
    #[cfg(feature = "redb")]
    pub(super) fn blocking_next(&mut self) -> Option<Vec<Job>> {
        let first = self.0.blocking_recv()?;
        Some(self.with_waiting(first))
    }

    /// Returns all queued changes without waiting. `None` when the queue is empty.
    #[cfg(feature = "redb")]
    pub(super) fn try_next(&mut self) -> Option<Vec<Job>> {
        let first = self.0.try_recv().ok()?;
        Some(self.with_waiting(first))
    }

    /// Returns whether the queue is empty and every [`Group`] is dropped.
    #[cfg(feature = "redb")]
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }

    fn with_waiting(&mut self, first: Job) -> Vec<Job> {
        let mut jobs = vec![first];
        while jobs.len() < MOST
            && let Ok(job) = self.0.try_recv()
        {
            jobs.push(job);
        }
        jobs
    }
}

/// The result of the changes that were in progress when a writer panicked.
pub(super) fn panicked() -> StoreError {
    StoreError::failed(
        "writing the store panicked: the change may have been kept, so check before you repeat it",
    )
}

/// Returns the cells that the changes name.
pub(super) fn reads(jobs: &[Job]) -> impl Iterator<Item = CellKey> {
    jobs.iter().flat_map(|job| job.reads.iter().copied())
}

/// Runs the changes one after the other.
pub(super) fn run(jobs: &mut [Job], batch: &mut Batch) -> Result<(), StoreError> {
    for job in jobs {
        let Some(change) = job.change.take() else {
            continue;
        };
        let mut changeset = batch.changeset(job.now);
        // The writes of a change that panics are dropped with the whole batch.
        catch_unwind(AssertUnwindSafe(|| change(&mut changeset)))
            .map_err(|_| StoreError::failed("a change panicked, so nothing was kept"))?;
    }
    Ok(())
}

/// Sends the result of the transaction to the callers of its changes.
pub(super) fn answer(jobs: Vec<Job>, result: &Result<(), StoreError>) {
    for job in jobs {
        let _ = job.done.send(result.clone());
    }
}
