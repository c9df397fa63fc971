//! The queues of all organizations, which take turns.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, Semaphore};

use super::{Job, OrgJobs};
use crate::store::OrgId;

/// How many changes one transaction takes at most, and how many organizations.
const MOST: usize = 512;

/// How many changes of an organization are queued at most. Further callers wait until its queue has
/// room.
pub(super) const WAITING: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Queues {
    state: Mutex<State>,
    /// Tells one waiting writer that an organization is ready.
    pub(super) ready: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queues: HashMap<OrgId, VecDeque<Job>>,
    /// The organizations with queued changes that no writer has, in the order of their turns.
    pub(super) ready: VecDeque<OrgId>,
    /// The organizations whose changes a writer has.
    pub(super) busy: HashSet<OrgId>,
    pub(super) rooms: HashMap<OrgId, Weak<Semaphore>>,
    /// How many writers wait for changes.
    pub(super) idle: usize,
    /// Whether every [`Group`](super::Group) is dropped.
    pub(super) has_no_senders: bool,
    /// Whether every [`Jobs`](super::Jobs) is dropped.
    pub(super) has_no_writers: bool,
}

impl Queues {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // No call under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the places in an organization's queue, which all its groups share.
    pub(super) fn room(&self, org: &OrgId) -> Arc<Semaphore> {
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
    pub(super) fn push(&self, org: &OrgId, job: Job) -> bool {
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
    pub(super) fn take(&mut self, writers: usize) -> Vec<OrgJobs> {
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
pub(super) struct Idle<'a>(&'a Queues);

impl<'a> Idle<'a> {
    pub(super) fn new(queues: &'a Queues) -> Self {
        queues.lock().idle += 1;
        Self(queues)
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.lock().idle -= 1;
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("ready", &self.ready)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}
