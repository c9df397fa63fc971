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
//! ([`Round::answer`]). [`Group::commit`] reads the return value only after a good result, so a
//! caller never learns of a change that was rolled back. If C panics, neither B nor C is kept:
//! their batch is dropped as a whole.
//!
//! # Organizations
//!
//! Each organization has a queue of its own, and a batch of its own within a transaction. The
//! organizations with queued changes take turns, so that many changes of one delay those of another
//! by one transaction at most. While a writer has changes of an organization, no other writer gets
//! any: its changes stay in their order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Batch, CellKey, Changeset, OrgId, StoreError};

/// How many changes one transaction takes at most, and how many organizations.
const MOST: usize = 512;

/// How many changes of an organization are queued at most. Further callers wait until its queue has
/// room.
const WAITING: usize = 4_096;

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

type Change = Box<dyn FnOnce(&mut Changeset<'_>) + Send>;

/// A queued change, with the channel for the result of its transaction.
struct Job {
    now: Timestamp,
    reads: Vec<CellKey>,
    change: Option<Change>,
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
}

#[derive(Debug)]
struct Queues {
    state: Mutex<State>,
    /// Tells one waiting writer that an organization is ready.
    ready: Notify,
}

#[derive(Default)]
struct State {
    queues: HashMap<OrgId, VecDeque<Job>>,
    /// The organizations with queued changes that no writer has, in the order of their turns.
    ready: VecDeque<OrgId>,
    /// The organizations whose changes a writer has.
    busy: HashSet<OrgId>,
    rooms: HashMap<OrgId, Weak<Semaphore>>,
    /// How many writers wait for changes.
    idle: usize,
    /// Whether every [`Group`] is dropped.
    has_no_senders: bool,
    /// Whether every [`Jobs`] is dropped.
    has_no_writers: bool,
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
    let queues = Arc::new(Queues {
        state: Mutex::default(),
        ready: Notify::new(),
    });
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
        change: impl FnOnce(&mut Changeset<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::failed("the store was closed");
        let (result, mut results) = oneshot::channel();
        let (done, kept) = oneshot::channel();
        let room = Arc::clone(&self.room).acquire_owned();
        let job = Job {
            now,
            reads,
            change: Some(Box::new(move |changeset| {
                // The caller may have dropped its future. The change is kept all the same.
                let _ = result.send(change(changeset));
            })),
            done,
            place: Some(room.await.map_err(|_| closed())?),
        };
        if !self.queues.push(&self.org, job) {
            return Err(closed());
        }
        kept.await.map_err(|_| panicked())??;
        results.try_recv().map_err(|_| panicked())
    }
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No call under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the places in an organization's queue, which all its groups share.
    fn room(&self, org: &OrgId) -> Arc<Semaphore> {
        let mut state = self.lock();
        if let Some(room) = state.rooms.get(org).and_then(Weak::upgrade) {
            return room;
        }
        // The list is tidied as it grows, so that organizations that are gone take no memory.
        if state.rooms.len() == state.rooms.capacity() {
            state.rooms.retain(|_, room| room.strong_count() > 0);
        }
        let room = Arc::new(Semaphore::new(WAITING));
        state.rooms.insert(org.clone(), Arc::downgrade(&room));
        room
    }

    /// Queues a change. Returns `false` if the queues are closed.
    fn push(&self, org: &OrgId, job: Job) -> bool {
        let mut state = self.lock();
        if state.has_no_writers {
            return false;
        }
        let queue = state.queues.entry(org.clone()).or_default();
        queue.push_back(job);
        let is_first = queue.len() == 1;
        if is_first && !state.busy.contains(org) {
            state.ready.push_back(org.clone());
            drop(state);
            self.ready.notify_one();
        }
        true
    }
}

impl State {
    /// Takes the changes of the next transaction. The organizations are shared out among the
    /// writers that wait, and the changes among the organizations.
    fn take(&mut self, writers: usize) -> Vec<OrgJobs> {
        let share = self.ready.len().div_ceil(writers.max(1)).min(MOST);
        let orgs: Vec<OrgId> = self.ready.drain(..share).collect();
        let each = MOST / share.max(1);
        let mut taken = Vec::with_capacity(share);
        for org in orgs {
            let Some(queue) = self.queues.get_mut(&org) else {
                continue;
            };
            let mut jobs: Vec<Job> = queue.drain(..queue.len().min(each)).collect();
            for job in &mut jobs {
                job.place = None;
            }
            self.busy.insert(org.clone());
            taken.push(OrgJobs { org, jobs });
        }
        taken
    }
}

/// A writer that waits for changes.
struct Idle<'a>(&'a Queues);

impl<'a> Idle<'a> {
    fn new(queues: &'a Queues) -> Self {
        queues.lock().idle += 1;
        Self(queues)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.lock().idle -= 1;
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
        (!orgs.is_empty()).then_some(Round { queues, orgs })
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
    /// Returns the changes, by organization.
    pub(super) fn orgs(&mut self) -> &mut [OrgJobs] {
        &mut self.orgs
    }

    /// Returns how many changes there are.
    pub(super) fn len(&self) -> usize {
        self.orgs.iter().map(OrgJobs::len).sum()
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
        for OrgJobs { org, .. } in self.orgs.drain(..) {
            state.busy.remove(&org);
            match state.queues.get(&org).map(VecDeque::is_empty) {
                Some(false) => state.ready.push_back(org),
                Some(true) => drop(state.queues.remove(&org)),
                None => {}
            }
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
    pub(super) fn run(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        for job in &mut self.jobs {
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

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("ready", &self.ready)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn org(id: &str) -> OrgId {
        id.parse().unwrap()
    }

    /// Queues so many changes of an organization, whose callers do not wait.
    fn send(group: &Group, id: &str, changes: usize) {
        let group = group.organization(&org(id));
        for _ in 0..changes {
            let commit = pin!(group.commit(Timestamp::UNIX_EPOCH, Vec::new(), |_| ()));
            let polled = commit.poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
    }

    fn sizes(round: &mut Round) -> Vec<(String, usize)> {
        let orgs = round.orgs().iter();
        orgs.map(|org| (org.org.to_string(), org.len())).collect()
    }

    fn of(pairs: &[(&str, usize)]) -> Vec<(String, usize)> {
        pairs.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect()
    }

    #[test]
    fn many_changes_of_one_organization_delay_another_by_one_transaction() {
        let (group, jobs) = queue();
        send(&group, "flood", 2_000);
        let mut first = jobs.try_next().unwrap();
        assert_eq!(sizes(&mut first), of(&[("flood", 512)]));
        send(&group, "calm", 3);
        first.answer(&Ok(()));
        let mut second = jobs.try_next().unwrap();
        assert_eq!(sizes(&mut second), of(&[("calm", 3), ("flood", 256)]));
    }

    #[test]
    fn a_second_writer_gets_no_changes_of_an_organization_that_the_first_one_has() {
        let (group, jobs) = queue();
        send(&group, "a", 1);
        let first = jobs.try_next().unwrap();
        send(&group, "a", 1);
        send(&group, "b", 1);
        let mut second = jobs.try_next().unwrap();
        assert_eq!(sizes(&mut second), of(&[("b", 1)]));
        assert!(jobs.try_next().is_none());
        drop(first);
        assert_eq!(sizes(&mut jobs.try_next().unwrap()), of(&[("a", 1)]));
    }

    #[test]
    fn waiting_writers_share_the_organizations() {
        let (group, jobs) = queue();
        let _others = [Idle::new(&jobs.queues), Idle::new(&jobs.queues)];
        for id in ["a", "b", "c", "d"] {
            send(&group, id, 1);
        }
        assert_eq!(
            sizes(&mut jobs.try_next().unwrap()),
            of(&[("a", 1), ("b", 1)])
        );
    }

    #[test]
    fn a_full_queue_makes_its_own_organization_wait_and_no_other() {
        let (group, jobs) = queue();
        send(&group, "full", WAITING);
        let full = group.organization(&org("full"));
        let mut context = Context::from_waker(Waker::noop());
        let mut next = pin!(full.commit(Timestamp::UNIX_EPOCH, Vec::new(), |_| ()));
        assert!(next.as_mut().poll(&mut context).is_pending());
        assert_eq!(full.room.available_permits(), 0);
        send(&group, "other", 1);
        assert_eq!(jobs.queues.lock().ready.len(), 2);
        let refused = Err(StoreError::failed("refused"));
        jobs.try_next().unwrap().answer(&refused);
        // The change that waited is queued now, and those before it have left.
        assert!(next.as_mut().poll(&mut context).is_pending());
        drop(jobs);
        assert!(matches!(
            next.as_mut().poll(&mut context),
            Poll::Ready(Err(_))
        ));
    }

    #[test]
    fn organizations_without_changes_and_groups_take_no_memory() {
        let (group, jobs) = queue();
        for number in 0..10_000 {
            send(&group, &format!("org-{number}"), 1);
            jobs.try_next().unwrap().answer(&Ok(()));
        }
        let state = jobs.queues.lock();
        assert!(state.queues.is_empty() && state.busy.is_empty() && state.ready.is_empty());
        assert!(state.rooms.len() < 100, "{}", state.rooms.len());
    }

    #[tokio::test]
    async fn a_writer_ends_when_all_groups_are_dropped_and_all_changes_are_taken() {
        let (group, jobs) = queue();
        send(&group, "a", 1);
        drop(group);
        assert!(jobs.next().await.is_some());
        assert!(jobs.next().await.is_none());
    }
}
