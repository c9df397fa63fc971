//! The store in memory: for development, for tests, and for a process that outlives its permits.
//!
//! It is bounded. When there is no room for a permit, none is issued. When there is no room for an event, the
//! oldest one is dropped: the rest of the chain still verifies, and shows by its sequence numbers that it
//! does not begin at the beginning.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atlasent::audit::Event;
use jiff::Timestamp;

use crate::chain::{ChainHead, NewEvent, SealedEvent};
use crate::ledger::{PermitEntry, PermitKey};
use crate::store::{Store, StoreError};

/// Permits and events in memory.
#[derive(Debug)]
pub struct MemoryStore {
    permit_limit: usize,
    event_limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    permits: HashMap<PermitKey, PermitEntry>,
    /// The permits in the order in which they were issued, which is near enough that in which they expire.
    issued: VecDeque<PermitKey>,
    events: VecDeque<Arc<SealedEvent>>,
    head: ChainHead,
}

impl MemoryStore {
    /// Room for 100,000 permits and the newest 100,000 events.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(100_000, 100_000)
    }

    /// Room for `permits` permits and the newest `events` events.
    #[must_use]
    pub fn with_limits(permits: usize, events: usize) -> Self {
        Self {
            permit_limit: permits,
            event_limit: events.max(1),
            inner: Mutex::new(Inner {
                permits: HashMap::new(),
                issued: VecDeque::new(),
                events: VecDeque::new(),
                head: ChainHead::genesis("local"),
            }),
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
        permit: Option<PermitKey>,
        change: impl FnOnce(Timestamp, &mut Option<PermitEntry>) -> (NewEvent, T) + Send + 'static,
    ) -> Result<(Arc<SealedEvent>, T), StoreError> {
        let mut inner = self.lock();
        let time = inner.head.time_at(now);
        let mut entry = permit.and_then(|key| inner.permits.get(&key).cloned());
        let (event, result) = change(time, &mut entry);
        if let (Some(key), Some(entry)) = (permit, entry) {
            inner.keep(key, entry, time, self.permit_limit)?;
        }
        let event = Arc::new(inner.head.seal(event, time));
        inner.append(Arc::clone(&event), self.event_limit);
        Ok((event, result))
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let events: Vec<_> = {
            let inner = self.lock();
            let newer = inner
                .events
                .partition_point(|event| event.sequence <= after);
            inner.events.range(newer..).take(limit).cloned().collect()
        };
        let events = events.iter().map(|event| event.to_event());
        events
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::Failed(error.into()))
    }
}

impl Inner {
    fn keep(
        &mut self,
        key: PermitKey,
        entry: PermitEntry,
        time: Timestamp,
        limit: usize,
    ) -> Result<(), StoreError> {
        if let Some(known) = self.permits.get_mut(&key) {
            *known = entry;
            return Ok(());
        }
        if self.permits.len() >= limit && !self.forget_one_expired(time) {
            return Err(StoreError::Full {
                permits: self.permits.len(),
            });
        }
        self.issued.push_back(key);
        self.permits.insert(key, entry);
        Ok(())
    }

    /// Makes room for one permit, if the oldest one's time is over.
    fn forget_one_expired(&mut self, time: Timestamp) -> bool {
        let expired = self.issued.front().copied().filter(|key| {
            self.permits
                .get(key)
                .is_none_or(|entry| entry.expires_at <= time)
        });
        if let Some(key) = expired {
            self.permits.remove(&key);
            self.issued.pop_front();
        }
        expired.is_some()
    }

    fn append(&mut self, event: Arc<SealedEvent>, limit: usize) {
        if self.events.len() == limit {
            if self
                .events
                .front()
                .is_some_and(|oldest| oldest.sequence == 1)
            {
                tracing::warn!(
                    target: "atlasent",
                    limit,
                    "the audit trail in memory is full: from now on the oldest events are dropped"
                );
            }
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use atlasent::audit::{ChainVerifier, Problem};
    use atlasent::{Agent, AnyAction, EvaluateRequest, PermitToken};
    use futures_executor::block_on;

    use super::*;
    use crate::ledger::Grant;

    fn key(name: &str) -> PermitKey {
        PermitKey::of(&PermitToken::new(name).unwrap())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Issues a permit that expires 10 seconds after `now`.
    fn issue(store: &MemoryStore, name: &str, now: i64) -> Result<Arc<SealedEvent>, StoreError> {
        let request =
            EvaluateRequest::new(Agent::new("bot").unwrap(), &AnyAction::new("a").unwrap())
                .unwrap();
        let change = move |time: Timestamp, entry: &mut Option<PermitEntry>| {
            let expires_at = time + jiff::SignedDuration::from_secs(10);
            *entry = Some(PermitEntry::issue(Grant::of(&request), expires_at));
            (NewEvent::new("evaluate.allow"), ())
        };
        block_on(store.commit(at(now), Some(key(name)), change)).map(|(event, ())| event)
    }

    fn knows(store: &MemoryStore, name: &str) -> bool {
        let change = |_, entry: &mut Option<PermitEntry>| (NewEvent::new("x"), entry.is_some());
        block_on(store.commit(at(0), Some(key(name)), change))
            .unwrap()
            .1
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
    fn a_full_trail_drops_its_oldest_events_and_still_verifies() {
        let store = MemoryStore::with_limits(100, 3);
        for n in 0..5 {
            issue(&store, &n.to_string(), n).unwrap();
        }
        let events = block_on(store.events(0, usize::MAX)).unwrap();
        let places: Vec<_> = events.iter().map(|event| event.envelope.sequence).collect();
        assert_eq!(places, [3, 4, 5]);
        let mut verifier = ChainVerifier::new();
        events.iter().for_each(|event| verifier.push(event));
        let head = events.last().map(|event| &*event.hash);
        assert!(verifier.finish(head, Some(3)).is_intact());
    }

    #[test]
    fn events_are_paged() {
        let store = MemoryStore::new();
        for n in 0..5 {
            issue(&store, &n.to_string(), n).unwrap();
        }
        let page = block_on(store.events(2, 2)).unwrap();
        assert_eq!(page[0].envelope.sequence, 3);
        assert_eq!(page.len(), 2);
        assert!(block_on(store.events(5, 2)).unwrap().is_empty());
        assert!(block_on(store.events(99, 2)).unwrap().is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_turn_the_chain_back() {
        let store = MemoryStore::new();
        issue(&store, "a", 100).unwrap();
        let second = issue(&store, "b", 50).unwrap();
        assert_eq!(second.occurred_at, "1970-01-01T00:01:40.000000Z");
        let events = block_on(store.events(0, 9)).unwrap();
        let mut verifier = ChainVerifier::new();
        events.iter().for_each(|event| verifier.push(event));
        let report = verifier.finish(Some(&second.hash), None);
        assert!(
            !report
                .findings
                .iter()
                .any(|f| f.problem == Problem::TimeRunsBackwards)
        );
    }
}
