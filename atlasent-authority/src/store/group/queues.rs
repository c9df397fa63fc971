//! The queues of all organizations, which take turns.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};

use super::pace::Pace;
use super::{Job, OrgJobs};
use crate::recent_orgs::{MANY, RecentOrgs};
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
    pub(super) ready: Ready,
    /// The organizations whose changes a writer has.
    pub(super) busy: HashSet<OrgId>,
    pub(super) rooms: HashMap<OrgId, Weak<Semaphore>>,
    /// The organizations that had few changes when a writer took them last.
    light: RecentOrgs,
    pub(super) pace: Pace,
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
            // A single change crowds nobody.
            state.ready.push(org.clone(), false);
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
        let orgs = self.ready.take(writers);
        let each = (MOST / orgs.len().max(1)).max(1);
        let now = Instant::now();
        let orgs: Vec<_> = orgs
            .into_iter()
            .map(|org| (self.crowds_others(&org, now), org))
            .collect();
        let crowding = orgs
            .iter()
            .filter(|(crowds_others, _)| *crowds_others)
            .count();
        let each_crowding = (self.pace.most(MOST) / crowding.max(1)).clamp(1, each);
        let mut taken = Vec::with_capacity(orgs.len());
        for (crowds_others, org) in orgs {
            let Some(queue) = self.queues.get_mut(&org) else {
                continue;
            };
            let most = match crowds_others {
                true => each_crowding,
                false => each,
            };
            match queue.len() > MANY {
                true => self.light.forget(&org),
                false => self.light.note(&org, now),
            }
            let mut jobs: Vec<Job> = queue.drain(..queue.len().min(most)).collect();
            for job in &mut jobs {
                job.place = None;
            }
            self.busy.insert(org.clone());
            taken.push(OrgJobs { org, jobs });
        }
        taken
    }

    /// Makes an organization ready if changes of it are left when a writer gives it back.
    pub(super) fn give_back(&mut self, org: OrgId) {
        self.busy.remove(&org);
        match self.queues.get(&org).map(VecDeque::is_empty) {
            Some(false) => {
                let crowds_others = self.crowds_others(&org, Instant::now());
                self.ready.push(org, crowds_others);
            }
            Some(true) => drop(self.queues.remove(&org)),
            None => {}
        }
    }

    /// Returns whether an organization has many changes queued, while another one that has few is
    /// active.
    fn crowds_others(&self, org: &OrgId, now: Instant) -> bool {
        let queued = self.queues.get(org).map_or(0, VecDeque::len);
        queued > MANY && self.light.has_other_than(org, now)
    }
}

/// The organizations with queued changes that no writer has, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Those that crowded others when they became ready.
    crowding: VecDeque<OrgId>,
    others: VecDeque<OrgId>,
    /// Whether the last transaction left out those that crowd others.
    left_out: bool,
}

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.crowding.is_empty() && self.others.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, org: OrgId, crowds_others: bool) {
        match crowds_others {
            true => self.crowding.push_back(org),
            false => self.others.push_back(org),
        }
    }

    /// Takes the organizations of the next transaction. Every other one leaves out those that crowd
    /// others.
    fn take(&mut self, writers: usize) -> Vec<OrgId> {
        self.left_out = !self.left_out && !self.crowding.is_empty() && !self.others.is_empty();
        let crowding = match self.left_out {
            true => 0,
            false => self.crowding.len(),
        };
        let all = crowding + self.others.len();
        let share = all.div_ceil(writers.max(1)).min(MOST);
        let crowding = crowding.min(share);
        let mut taken: Vec<_> = self.crowding.drain(..crowding).collect();
        taken.extend(self.others.drain(..share - crowding));
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
