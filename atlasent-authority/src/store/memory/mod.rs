//! [`MemoryStore`]: for development, for tests, and for a process that outlives its permits.
//!
//! It is bounded. When the ledger has no room, no permit is issued. When the trail has no room, the
//! oldest event is dropped: the rest of the chain still verifies, and its sequence numbers show
//! that the beginning is missing.

mod ledger;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;

use self::ledger::Ledger;
use super::approvals::PAGE_BYTES;
use super::calls::Calls;
use super::event_list::{EventList, FoundEvent, PackedEvent};
use super::{
    ApprovalEntry, ApprovalKey, ApprovalList, Batch, CellKey, Changeset, OrgId, Organizations,
    RateCounter, Store, StoreError, StoreStatus,
};
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::trail::EventFilter;
use crate::trail::chain::{ChainHead, SealedEvent};
use crate::trail::filter::EventCollector;

/// A store in memory, whose permits and events end with the process.
///
/// A store is that of one organization: `local`, unless [`organization`](Organizations::organization)
/// returned it. Clones share the store.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    org: OrgId,
    memory: Arc<Memory>,
}

/// What all organizations share.
#[derive(Debug)]
struct Memory {
    cell_limit: usize,
    event_limit: usize,
    local: OrgMemory,
    others: RwLock<BTreeMap<OrgId, Arc<OrgMemory>>>,
}

/// The permits, events and counters of one organization.
#[derive(Debug)]
struct OrgMemory {
    inner: Mutex<Inner>,
    calls: Calls,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    events: EventList,
    head: ChainHead,
    dropped: u64,
}

impl MemoryStore {
    /// Creates a store with room for 100,000 permits and the newest 100,000 events.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(100_000, 100_000)
    }

    /// Creates a store with room for `permits` permits and replays of requests with an id, and for
    /// the newest `events` events.
    #[must_use]
    pub fn with_limits(permits: usize, events: usize) -> Self {
        let memory = Memory {
            cell_limit: permits,
            event_limit: events.max(1),
            local: OrgMemory::new(&OrgId::local()),
            others: RwLock::default(),
        };
        Self {
            org: OrgId::local(),
            memory: Arc::new(memory),
        }
    }

    /// Runs `look` on the permits, events and counters of the organization.
    fn look<T>(&self, look: impl FnOnce(&OrgMemory) -> T) -> Result<T, StoreError> {
        if self.org.is_local() {
            return Ok(look(&self.memory.local));
        }
        let others = self.memory.others.read();
        let found = others
            .unwrap_or_else(PoisonError::into_inner)
            .get(&self.org)
            .map(Arc::clone);
        let found = found.ok_or_else(|| StoreError::UnknownOrganization(self.org.clone()))?;
        Ok(look(&found))
    }
}

impl OrgMemory {
    fn new(org: &OrgId) -> Self {
        Self {
            inner: Mutex::new(Inner {
                ledger: Ledger::default(),
                events: EventList::default(),
                head: ChainHead::genesis(org.as_str()),
                dropped: 0,
            }),
            calls: Calls::default(),
        }
    }

    /// Packs events of the list.
    fn pack(&self, events: &[Arc<SealedEvent>]) {
        if !events.is_empty() {
            let mut buffer = Vec::new();
            let packed = (events.iter()).map_while(|event| PackedEvent::new(event, &mut buffer));
            let packed: Vec<_> = packed.collect();
            self.lock().events.put_packed(packed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No state is written before the last call that can panic, so a poisoned lock guards a
        // consistent state.
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
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let (cells, events) = (self.memory.cell_limit, self.memory.event_limit);
        self.look(|org| {
            let mut inner = org.lock();
            let read =
                (reads.iter()).filter_map(|key| Some((*key, inner.ledger.get(*key)?.clone())));
            let mut batch = Batch::new(inner.head.clone(), read).after_dropped(inner.dropped);
            let result = change(&mut batch.changeset(now));
            inner.ledger.make_room(&batch, cells)?;
            inner.ledger.keep(&mut batch, cells);
            inner.append_all(batch, events);
            let to_pack = inner.events.next_to_pack();
            drop(inner);
            org.pack(&to_pack);
            Ok(result)
        })?
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        let mut found = EventCollector::new(limit, filter);
        self.look(|org| org.lock().events.find(after, &mut found, filter))?;
        let found = found.into_events().into_iter();
        Ok(found.map(FoundEvent::unpack).collect())
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        self.look(|org| org.lock().events.count(filter) as u64)
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        self.look(|org| {
            let inner = org.lock();
            let older = inner.ledger.permits(before).take(limit);
            older.map(|(key, entry)| (key, entry.clone())).collect()
        })
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        self.look(|org| org.lock().ledger.key_of(id))
    }

    async fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ApprovalEntry>, StoreError> {
        self.look(|org| {
            let inner = org.lock();
            let (mut found, mut bytes) = (Vec::new(), 0);
            for entry in inner.ledger.approvals(list, before).take(limit) {
                found.push(entry.clone());
                bytes += entry.shown.len();
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
            found
        })
    }

    async fn approval(&self, key: ApprovalKey) -> Result<Option<ApprovalEntry>, StoreError> {
        self.look(|org| org.lock().ledger.approval(key).cloned())
    }

    async fn backup_has_others(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.look(|org| {
            let inner = org.lock();
            StoreStatus {
                head: inner.head.clone(),
                dropped: inner.dropped,
                cells: inner.ledger.cells() as u64,
            }
        })
    }
}

impl RateCounter for MemoryStore {
    async fn count_call(&self, counter: &str, minute: i64) -> Result<u64, StoreError> {
        self.look(|org| org.calls.count(counter, minute))
    }
}

impl Organizations for MemoryStore {
    type Store = Self;

    fn organization(&self, id: &OrgId) -> Self {
        Self {
            org: id.clone(),
            memory: Arc::clone(&self.memory),
        }
    }

    async fn create_organization(&self, id: &OrgId) -> Result<bool, StoreError> {
        let mut others = self
            .memory
            .others
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if id.is_local() || others.contains_key(id) {
            return Ok(false);
        }
        others.insert(id.clone(), Arc::new(OrgMemory::new(id)));
        Ok(true)
    }

    async fn organizations(
        &self,
        after: Option<&OrgId>,
        limit: usize,
    ) -> Result<Vec<OrgId>, StoreError> {
        let others = self
            .memory
            .others
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = others
            .range::<OrgId, _>((after, Bound::Unbounded))
            .take(limit);
        Ok(ids.map(|(id, _)| id.clone()).collect())
    }
}

impl Inner {
    fn append_all(&mut self, batch: Batch, event_limit: usize) {
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
        if let Some(sequence) = self.events.pop() {
            self.dropped = sequence;
        }
    }
}

#[cfg(test)]
mod tests {
    use atlasent::wire::{EvaluateRequest, PermitToken, RequestOptions, VerifyRequest};
    use atlasent::{Agent, AnyAction, Authority};
    use futures_executor::block_on;

    use super::*;
    use crate::ledger::{ApprovalState, PermitGrant, PermitState};
    use crate::store::approvals::example;
    use crate::trail::chain::NewEvent;
    use crate::{LocalAuthority, Policies};

    fn key(name: &str) -> PermitKey {
        PermitKey::from_token(&PermitToken::new(name).unwrap())
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
        let change = move |changeset: &mut Changeset<'_>| {
            let expires_at = changeset.time() + jiff::SignedDuration::from_secs(10);
            let grant = PermitGrant::new(&request, None, "digest");
            let event = ("event", changeset.head().sequence + 1);
            let mut entry = PermitEntry::issue(grant, event, changeset.time(), expires_at);
            entry.state = state;
            changeset.keep_permit(key, entry);
            changeset.record(NewEvent::new("evaluate.allow"));
        };
        block_on(store.commit(at(now), vec![CellKey::Permit(key)], change))
    }

    fn issue(store: &MemoryStore, name: &str, now: i64) -> Result<(), StoreError> {
        keep(store, name, now, PermitState::Issued)
    }

    fn knows(store: &MemoryStore, name: &str) -> bool {
        let key = key(name);
        let change = move |changeset: &mut Changeset<'_>| changeset.permit(key).is_some();
        block_on(store.commit(at(0), vec![CellKey::Permit(key)], change)).unwrap()
    }

    #[test]
    fn a_full_ledger_issues_nothing_until_a_permit_expires() {
        let store = MemoryStore::with_limits(2, 100);
        issue(&store, "first", 0).unwrap();
        issue(&store, "second", 1).unwrap();
        let head = store.memory.local.lock().head.clone();
        assert!(matches!(
            issue(&store, "third", 2),
            Err(StoreError::Full { permits: 2 })
        ));
        assert_eq!(
            store.memory.local.lock().head,
            head,
            "a refused change leaves no event"
        );
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
        let inner = store.memory.local.lock();
        assert!(inner.ledger.remembered() <= 1_021);
        assert_eq!(inner.ledger.cells(), 10);
    }

    #[test]
    fn answers_go_with_their_permits_and_agents_take_no_room() {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let authority = LocalAuthority::builder(policies).store(MemoryStore::with_limits(4, 100));
        let authority = block_on(authority.build()).unwrap();
        let action = AnyAction::new("deploy").unwrap();
        // Each of many agents repeats a request once, and uses its permit.
        for number in 0..50 {
            let agent = Agent::new(format!("bot {number}")).unwrap();
            let options = RequestOptions::default().request_id(number.to_string());
            let request = EvaluateRequest::new(agent, &action).unwrap();
            let request = request.with_options(options);
            let [first, again] = [(); 2].map(|()| block_on(authority.evaluate(&request)).unwrap());
            assert_eq!(first.permit_token, again.permit_token, "{number}");
            let question = VerifyRequest::restating(&request, first.permit_token.unwrap());
            assert!(
                block_on(authority.verify(&question)).unwrap().valid,
                "{number}"
            );
        }
        // Four of them, and the stops.
        assert_eq!(authority.store().memory.local.lock().ledger.cells(), 4 + 1);
    }

    #[test]
    fn more_than_10_000_closed_decisions_are_not_kept_and_open_ones_are() {
        let store = MemoryStore::with_limits(10, 10);
        let (mut first, mut last) = (None, None);
        for number in 1..=20_010 {
            let mut entry = example(number);
            if number % 2 == 0 {
                entry.state = ApprovalState::Approved;
            }
            first.get_or_insert(entry.id);
            last = Some(entry.id);
            let reads = entry.id.cells().to_vec();
            let change = move |changeset: &mut Changeset<'_>| changeset.keep_approval(entry);
            assert!(block_on(store.commit(at(0), reads, change)).unwrap());
        }
        let count = |list| {
            block_on(store.approvals(list, u64::MAX, usize::MAX))
                .unwrap()
                .len()
        };
        assert_eq!(count(ApprovalList::Closed), 10_000);
        assert_eq!(count(ApprovalList::Open), 10_005);
        for id in [first, last] {
            assert!(
                block_on(store.approval(id.unwrap().key()))
                    .unwrap()
                    .is_some()
            );
        }
        let ledger = &store.memory.local.lock().ledger;
        assert_eq!(ledger.cells(), 20_005 + 1);
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
