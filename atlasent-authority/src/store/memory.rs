//! The store in memory: for development, for tests, and for a process that outlives its permits.
//!
//! It is bounded. When there is no room for a permit, none is issued. When there is no room for an event, the
//! oldest one is dropped: the rest of the chain still verifies, and shows by its sequence numbers that it
//! does not begin at the beginning.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::calls::Calls;
use super::event_list::EventList;
use super::filter::Found;
use super::{Batch, Cell, CellKey, Draft, EventFilter, Store, StoreError, StoreStatus};
use crate::chain::{ChainHead, SealedEvent};

/// Permits and events in memory.
#[derive(Debug)]
pub struct MemoryStore {
    cell_limit: usize,
    event_limit: usize,
    inner: Mutex<Inner>,
    calls: Calls,
}

#[derive(Debug)]
struct Inner {
    cells: HashMap<CellKey, Cell>,
    /// The cells in the order in which they came, which is near enough that in which they expire.
    oldest: VecDeque<CellKey>,
    /// Those of them that may go when room is needed.
    spent: VecDeque<CellKey>,
    events: EventList,
    head: ChainHead,
    dropped: u64,
}

impl MemoryStore {
    /// Room for 100,000 permits and the newest 100,000 events.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(100_000, 100_000)
    }

    /// Room for `permits` permits, counting first answers to requests with an id as well, and the newest `events`
    /// events.
    #[must_use]
    pub fn with_limits(permits: usize, events: usize) -> Self {
        Self {
            cell_limit: permits,
            event_limit: events.max(1),
            inner: Mutex::new(Inner {
                cells: HashMap::new(),
                oldest: VecDeque::new(),
                spent: VecDeque::new(),
                events: EventList::default(),
                head: ChainHead::genesis("local"),
                dropped: 0,
            }),
            calls: Calls::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing is written before the last thing that can panic, so a poisoned state is a whole one.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut inner = self.lock();
        let read = (reads.iter()).filter_map(|key| Some((*key, inner.cells.get(key)?.clone())));
        let mut batch = Batch::new(inner.head.clone(), read);
        let result = change(&mut batch.draft(now));
        inner.make_room(&batch, self.cell_limit)?;
        inner.keep(batch, self.event_limit);
        inner.tidy(self.cell_limit);
        Ok(result)
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let mut found = Found::new(limit, filter);
        self.lock().events.find(after, &mut found, filter);
        Ok(found.into_events())
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        Ok(self.lock().events.count(filter) as u64)
    }

    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        Ok(self.calls.count(counter, minute))
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        let inner = self.lock();
        Ok(StoreStatus {
            head: inner.head.clone(),
            dropped: inner.dropped,
            cells: inner.cells.len() as u64,
        })
    }
}

impl Inner {
    /// Forgets what may be forgotten until the new cells of a batch have room.
    fn make_room(&mut self, batch: &Batch, limit: usize) -> Result<(), StoreError> {
        let new = batch
            .cells()
            .filter(|(key, _)| !self.cells.contains_key(key))
            .count();
        while new > 0 && self.cells.len() + new > limit {
            if !self.forget_one(batch) {
                return Err(StoreError::Full {
                    permits: self.cells.len(),
                });
            }
        }
        Ok(())
    }

    /// Forgets the oldest cell if its time is over, else the oldest one that is spent.
    fn forget_one(&mut self, batch: &Batch) -> bool {
        let time = batch.head().time;
        let is_over = |key: &CellKey| {
            self.cells
                .get(key)
                .is_none_or(|cell| cell.expires_at() <= time)
        };
        if self.oldest.front().is_some_and(is_over) {
            let gone = self.oldest.pop_front();
            gone.map(|key| self.cells.remove(&key));
            return true;
        }
        let spent = self.spent.pop_front();
        spent.map(|key| self.cells.remove(&key)).is_some()
    }

    fn keep(&mut self, batch: Batch, event_limit: usize) {
        for (key, cell) in batch.cells() {
            if cell.is_spent() {
                self.spent.push_back(key);
            }
            if self.cells.insert(key, cell.clone()).is_none() {
                self.oldest.push_back(key);
            }
        }
        for event in batch.events() {
            self.append(Arc::clone(event), event_limit);
        }
        if let Some(through) = batch.dropped() {
            while self.events.first().is_some_and(|first| first <= through) {
                self.drop_oldest();
            }
        }
        self.head = batch.into_head();
    }

    /// Cells that went by one queue still stand in the other.
    fn tidy(&mut self, limit: usize) {
        for queue in [&mut self.oldest, &mut self.spent] {
            if queue.len() > limit.saturating_mul(2).saturating_add(1_000) {
                queue.retain(|key| self.cells.contains_key(key));
            }
        }
    }

    fn append(&mut self, event: Arc<SealedEvent>, limit: usize) {
        if self.events.len() == limit {
            if self.dropped == 0 {
                tracing::warn!(
                    target: "atlasent",
                    limit,
                    "the audit trail in memory is full: from now on the oldest events are dropped"
                );
            }
            self.drop_oldest();
        }
        self.events.push(event);
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop() {
            self.dropped = event.sequence;
        }
    }
}

#[cfg(test)]
mod tests {
    use atlasent::{Agent, AnyAction, EvaluateRequest, PermitToken};
    use futures_executor::block_on;

    use super::*;
    use crate::chain::NewEvent;
    use crate::ledger::{Grant, PermitEntry, PermitKey, PermitState};

    fn key(name: &str) -> PermitKey {
        PermitKey::of(&PermitToken::new(name).unwrap())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Keeps a permit that expires 10 seconds after `now`.
    fn keep(
        store: &MemoryStore,
        name: &str,
        now: i64,
        state: PermitState,
    ) -> Result<(), StoreError> {
        let agent = Agent::new("bot").unwrap();
        let request = EvaluateRequest::new(agent, &AnyAction::new("a").unwrap()).unwrap();
        let key = key(name);
        let change = move |draft: &mut Draft<'_>| {
            let expires_at = draft.time() + jiff::SignedDuration::from_secs(10);
            let mut entry = PermitEntry::issue(Grant::of(&request, None), expires_at);
            entry.state = state;
            draft.keep_permit(key, entry);
            draft.record(NewEvent::new("evaluate.allow"));
        };
        block_on(store.commit(at(now), vec![CellKey::Permit(key)], change))
    }

    fn issue(store: &MemoryStore, name: &str, now: i64) -> Result<(), StoreError> {
        keep(store, name, now, PermitState::Issued)
    }

    fn knows(store: &MemoryStore, name: &str) -> bool {
        let key = key(name);
        let change = move |draft: &mut Draft<'_>| draft.permit(key).is_some();
        block_on(store.commit(at(0), vec![CellKey::Permit(key)], change)).unwrap()
    }

    #[test]
    fn a_full_ledger_issues_nothing_until_a_permit_expires() {
        let store = MemoryStore::with_limits(2, 100);
        issue(&store, "first", 0).unwrap();
        issue(&store, "second", 1).unwrap();
        let head = store.lock().head.clone();
        assert!(matches!(
            issue(&store, "third", 2),
            Err(StoreError::Full { permits: 2 })
        ));
        assert_eq!(store.lock().head, head, "a refused change leaves no event");
        issue(&store, "third", 10).unwrap();
        assert!(!knows(&store, "first"));
        assert!(knows(&store, "second") && knows(&store, "third"));
    }

    #[test]
    fn a_full_ledger_forgets_what_is_used_up_before_it_refuses() {
        let store = MemoryStore::with_limits(3, 100);
        issue(&store, "waits", 0).unwrap();
        keep(&store, "used", 0, PermitState::Consumed).unwrap();
        keep(&store, "revoked", 0, PermitState::Revoked).unwrap();
        issue(&store, "a", 1).unwrap();
        assert!(knows(&store, "waits") && !knows(&store, "used") && knows(&store, "revoked"));
        issue(&store, "b", 1).unwrap();
        assert!(issue(&store, "c", 1).is_err());
    }

    #[test]
    fn what_is_remembered_of_forgotten_permits_is_bounded() {
        let store = MemoryStore::with_limits(10, 10);
        issue(&store, "waits", 0).unwrap();
        for n in 0..5_000 {
            keep(&store, &n.to_string(), 0, PermitState::Consumed).unwrap();
        }
        let inner = store.lock();
        assert!(inner.oldest.len() <= 1_021 && inner.spent.len() <= 1_021);
        assert_eq!(inner.cells.len(), 10);
    }

    #[test]
    fn a_full_trail_drops_its_oldest_events() {
        let store = MemoryStore::with_limits(100, 3);
        for n in 0..5 {
            issue(&store, &n.to_string(), n).unwrap();
        }
        let events = block_on(store.events(0, usize::MAX, &EventFilter::default())).unwrap();
        let places: Vec<_> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(places, [3, 4, 5]);
        assert_eq!(block_on(store.status()).unwrap().dropped, 2);
    }
}
