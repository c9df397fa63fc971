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
//! Each change leaves its return value in a slot as it runs. After the transaction, the writer
//! sends the transaction's result through a channel ([`Round::answer`]). [`Group::commit`] takes
//! the return value only after a good result, so a caller never learns of a change that was rolled
//! back. If C panics, neither B nor C is kept: their batch is dropped as a whole.
//!
//! # Organizations
//!
//! Each organization has a queue of its own, and a batch of its own within a transaction. The
//! organizations with queued changes take turns. While a writer has changes of an organization, no
//! other writer gets any: its changes stay in their order.
//!
//! An organization that has many changes queued, while one that has few is active, delays it
//! little: every other transaction is for such ones alone, and those between take twice as long as
//! these at most ([`pace`]). With a disk that takes 2 ms, and a flood by A:
//!
//! ```text
//! queued:        A1 … A64      A… B1              A…                A… B2
//! transactions:  A1 … A20      B1                 A21 … A40         B2
//!                4 ms          2 ms               4 ms              2 ms
//! ```

mod pace;
mod queues;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::queues::{Idle, Queues};
use super::{Batch, CellKey, Changeset, OrgId, StoreError};

/// The sending end of an organization's queue of changes.
#[derive(Clone, Debug)]
pub(super) struct Group {
    queues: Arc<Queues>,
    org: OrgId,
    room: Arc<Semaphore>,
    _open: Arc<Open>,
}

/// The receiving end of all queues, for the writers that commit. Dropping the last one closes the
/// queues.
#[derive(Debug)]
pub(super) struct Jobs {
    queues: Arc<Queues>,
}

type Change = Box<dyn FnMut(&mut Changeset<'_>, Runs) + Send>;

/// Whether a change may have to run again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Runs {
    /// This is the only run. It consumes the change.
    Once,
    /// A clone runs, since the transaction may fail and keep nothing.
    #[cfg(feature = "postgres")]
    Again,
}

/// A queued change, with the channel for the result of its transaction.
struct Job {
    now: Timestamp,
    reads: Vec<CellKey>,
    change: Change,
    done: oneshot::Sender<Result<(), StoreError>>,
    /// The place in its queue. It is free again when the change leaves the queue.
    place: Option<OwnedSemaphorePermit>,
}

/// The changes of one organization in a transaction.
pub(super) struct OrgJobs {
    pub(super) org: OrgId,
    jobs: Vec<Job>,
}

/// The changes that share a transaction. Until it is dropped, no other writer gets changes of its
/// organizations.
pub(super) struct Round {
    queues: Arc<Queues>,
    orgs: Vec<OrgJobs>,
    changes: usize,
    began: Instant,
}

/// Marks the queues when the last [`Group`] is dropped.
#[derive(Debug)]
struct Open(Arc<Queues>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().has_no_senders = true;
        self.0.ready.notify_one();
    }
}

/// Creates the queues. The group is that of the organization `local`.
pub(super) fn queue() -> (Group, Jobs) {
    let queues = Arc::new(Queues::default());
    let org = OrgId::local();
    let group = Group {
        room: queues.room(&org),
        org,
        _open: Arc::new(Open(Arc::clone(&queues))),
        queues: Arc::clone(&queues),
    };
    (group, Jobs { queues })
}

impl Group {
    /// Returns the group of another organization.
    pub(super) fn organization(&self, org: &OrgId) -> Self {
        Self {
            room: self.queues.room(org),
            org: org.clone(),
            ..self.clone()
        }
    }

    /// Returns the organization of the group.
    pub(super) fn org(&self) -> &OrgId {
        &self.org
    }

    /// Queues a change, and waits until it is kept. Dropping the future does not cancel a queued
    /// change.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::failed("the store was closed");
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let mut change = Some(change);
        let (done, kept) = oneshot::channel();
        let room = Arc::clone(&self.room).acquire_owned();
        let job = Job {
            now,
            reads,
            // The caller may have dropped its future. The change is kept all the same.
            change: Box::new(move |changeset, runs| {
                let change = match runs {
                    Runs::Once => change.take(),
                    #[cfg(feature = "postgres")]
                    Runs::Again => change.clone(),
                };
                if let Some(change) = change {
                    let value = change(changeset);
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                }
            }),
            done,
            place: Some(room.await.map_err(|_| closed())?),
        };
        if !self.queues.push(&self.org, job) {
            return Err(closed());
        }
        kept.await.map_err(|_| panicked())??;
        let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(panicked)
    }
}

impl Jobs {
    /// Waits for changes, and returns those of the next transaction. `None` when every [`Group`] is
    /// dropped and all queues are empty.
    pub(super) async fn next(&self) -> Option<Round> {
        let _idle = Idle::new(&self.queues);
        loop {
            if let Some(round) = self.try_next() {
                return Some(round);
            }
            if self.is_closed() {
                // For the next writer.
                self.queues.ready.notify_one();
                return None;
            }
            self.queues.ready.notified().await;
        }
    }

    /// Returns the changes of the next transaction without waiting. `None` when all queues are
    /// empty.
    pub(super) fn try_next(&self) -> Option<Round> {
        let mut state = self.queues.lock();
        let writers = state.idle;
        let orgs = state.take(writers);
        let is_more = !state.ready.is_empty();
        drop(state);
        if is_more {
            self.queues.ready.notify_one();
        }
        let queues = Arc::clone(&self.queues);
        (!orgs.is_empty()).then(|| Round::new(queues, orgs))
    }

    /// Returns whether no organization is ready.
    #[cfg(feature = "postgres")]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.lock().ready.is_empty()
    }

    /// As [`next`](Self::next), for a thread that may block.
    #[cfg(feature = "redb")]
    pub(super) fn blocking_next(&self) -> Option<Round> {
        pollster::block_on(self.next())
    }

    /// Returns whether all queues are empty and every [`Group`] is dropped.
    pub(super) fn is_closed(&self) -> bool {
        let state = self.queues.lock();
        state.has_no_senders && state.ready.is_empty()
    }
}

/// Callers of queued changes get an error when no writer is left.
impl Drop for Jobs {
    fn drop(&mut self) {
        let mut state = self.queues.lock();
        state.has_no_writers = true;
        state.ready.clear();
        let queues = std::mem::take(&mut state.queues);
        drop(state);
        drop(queues);
    }
}

impl Round {
    fn new(queues: Arc<Queues>, orgs: Vec<OrgJobs>) -> Self {
        Self {
            queues,
            changes: orgs.iter().map(OrgJobs::len).sum(),
            orgs,
            began: Instant::now(),
        }
    }

    /// Returns the changes, by organization.
    pub(super) fn orgs(&mut self) -> &mut [OrgJobs] {
        &mut self.orgs
    }

    /// Returns how many changes there are.
    pub(super) fn len(&self) -> usize {
        self.changes
    }

    /// Sends the result of the transaction to the callers of all changes that have none yet.
    pub(super) fn answer(mut self, result: &Result<(), StoreError>) {
        for org in &mut self.orgs {
            org.answer(result);
        }
    }
}

/// Gives the organizations back: their next changes are ready.
impl Drop for Round {
    fn drop(&mut self) {
        let mut state = self.queues.lock();
        state.pace.learn(self.changes, self.began.elapsed());
        for OrgJobs { org, .. } in self.orgs.drain(..) {
            state.give_back(org);
        }
        let is_ready = !state.ready.is_empty();
        drop(state);
        if is_ready {
            self.queues.ready.notify_one();
        }
    }
}

impl OrgJobs {
    /// Returns how many changes there are without an answer.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Returns the cells that the changes name.
    pub(super) fn reads(&self) -> impl Iterator<Item = CellKey> {
        self.jobs.iter().flat_map(|job| job.reads.iter().copied())
    }

    /// Runs the changes one after the other.
    pub(super) fn run(&mut self, batch: &mut Batch, runs: Runs) -> Result<(), StoreError> {
        for Job { now, change, .. } in &mut self.jobs {
            let mut changeset = batch.changeset(*now);
            // The writes of a change that panics are dropped with the whole batch.
            catch_unwind(AssertUnwindSafe(|| change(&mut changeset, runs)))
                .map_err(|_| StoreError::failed("a change panicked, so nothing was kept"))?;
        }
        Ok(())
    }

    /// Sends a result to the callers of the changes.
    pub(super) fn answer(&mut self, result: &Result<(), StoreError>) {
        for job in self.jobs.drain(..) {
            let _ = job.done.send(result.clone());
        }
    }
}

/// The result of the changes that were in progress when a writer panicked.
pub(super) fn panicked() -> StoreError {
    StoreError::failed(
        "writing the store panicked: the change may have been kept, so check before you repeat it",
    )
}
