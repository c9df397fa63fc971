//! Group commit: changes that come while another transaction is under way go into the next one
//! together, and share what makes it durable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{Batch, CellKey, Changeset, StoreError};

/// How many changes one transaction takes at most.
const MOST: usize = 512;

/// How many changes wait at most before those who bring more have to wait themselves.
const WAITING: usize = 4_096;

/// Where changes are handed in.
#[derive(Clone, Debug)]
pub(super) struct Group(mpsc::Sender<Job>);

/// The other end, for the one who commits.
#[derive(Debug)]
pub(super) struct Jobs(mpsc::Receiver<Job>);

type Change = Box<dyn FnOnce(&mut Changeset<'_>) + Send>;

/// One change and whoever waits for it.
pub(super) struct Job {
    now: Timestamp,
    reads: Vec<CellKey>,
    change: Option<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// A queue for changes.
pub(super) fn queue() -> (Group, Jobs) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Group(sender), Jobs(receiver))
}

impl Group {
    /// Hands a change in, and waits until it is kept. Whoever stops waiting takes nothing back.
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
                // Nobody waits any more, which is no reason to do half of it.
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
    /// Waits for a change, and takes all that wait with it. None when there will be no more.
    #[cfg(feature = "postgres")]
    pub(super) async fn next(&mut self) -> Option<Vec<Job>> {
        let first = self.0.recv().await?;
        Some(self.with_waiting(first))
    }

    /// Whether nothing waits.
    #[cfg(feature = "postgres")]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same as `next`, for a thread of its own.
    #[cfg(feature = "redb")]
    pub(super) fn blocking_next(&mut self) -> Option<Vec<Job>> {
        let first = self.0.blocking_recv()?;
        Some(self.with_waiting(first))
    }

    /// Takes all changes that wait. None when nothing waits.
    #[cfg(feature = "redb")]
    pub(super) fn try_next(&mut self) -> Option<Vec<Job>> {
        let first = self.0.try_recv().ok()?;
        Some(self.with_waiting(first))
    }

    /// Whether nothing waits, and nothing can be handed in any more.
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

/// What becomes of the changes that were under way when a writer panicked.
pub(super) fn panicked() -> StoreError {
    StoreError::failed(
        "writing the store panicked: whether the change was kept, the next one finds out",
    )
}

/// The cells that changes name.
pub(super) fn reads(jobs: &[Job]) -> impl Iterator<Item = CellKey> {
    jobs.iter().flat_map(|job| job.reads.iter().copied())
}

/// Runs changes one after the other.
pub(super) fn run(jobs: &mut [Job], batch: &mut Batch) -> Result<(), StoreError> {
    for job in jobs {
        let Some(change) = job.change.take() else {
            continue;
        };
        let mut changeset = batch.changeset(job.now);
        // What a change has half done is dropped with the whole batch.
        catch_unwind(AssertUnwindSafe(|| change(&mut changeset)))
            .map_err(|_| StoreError::failed("a change panicked, so nothing was kept"))?;
    }
    Ok(())
}

/// Tells everyone what became of the changes.
pub(super) fn answer(jobs: Vec<Job>, result: &Result<(), StoreError>) {
    for job in jobs {
        let _ = job.done.send(result.clone());
    }
}
