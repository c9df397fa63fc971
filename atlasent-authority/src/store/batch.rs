//! Batches of changes: the cells that they read, and the events and cells that the store has to
//! keep.
//!
//! A worked example. Two changes of one group use the same permit P, and their transaction loads P
//! as `Issued`:
//!
//! ```text
//! Batch::new(head 7, [P: Issued])       events: []       cells: P (loaded)
//! change 1: P is issued, use it up      events: [8]      cells: P: Consumed (changed)
//! change 2: P is consumed, refuse it    events: [8, 9]   cells: P: Consumed (changed)
//! ```
//!
//! The store then keeps events 8 and 9, P and the head 9 in one transaction. Change 2 saw what
//! change 1 left although the store kept neither yet, so no permit is used twice within a batch
//! either.

use std::collections::BTreeMap;
use std::sync::Arc;

#[cfg(any(feature = "redb", feature = "postgres"))]
use jiff::SignedDuration;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[cfg(feature = "server")]
use crate::keys::RecordedKeys;
use crate::ledger::budget::{BudgetKey, BudgetUse};
use crate::ledger::outstanding::{AgentKey, Outstanding, PermitCounts};
use crate::ledger::permit_key::PermitKey;
use crate::ledger::replay::{Replay, ReplayKey};
use crate::ledger::stops::Stops;
use crate::ledger::{
    ApprovalEntry, ApprovalKey, AskedQuestions, NonceKey, PermitEntry, PermitState,
};
use crate::store::webhooks::{WebhookKey, WebhookState};
use crate::trail::chain::{ChainHead, NewEvent, SealedEvent};

/// After so much time without an event, an organization has its expired cells deleted with the next
/// one, so that they do not stay until it has many.
#[cfg(any(feature = "redb", feature = "postgres"))]
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// The key of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CellKey {
    /// The cell of a permit.
    Permit(PermitKey),
    /// The cell of the replay of a request with an id.
    Replay(ReplayKey),
    /// The cell that counts the unused permits of an agent, or of all agents.
    Agent(AgentKey),
    /// The cell of what is used up of a budget.
    Budget(BudgetKey),
    /// The one cell of all stops.
    Stops,
    /// The cell of a pending decision.
    Approval(ApprovalKey),
    /// The cell of the questions of an agent that are held.
    Questions(AgentKey),
    /// The one cell that counts the open decisions.
    OpenApprovals,
    /// The cell of the nonce of a signed approval.
    Nonce(NonceKey),
    /// The cell of an endpoint of notifications.
    Webhook(WebhookKey),
    /// The one cell of the API keys that the chain has recorded.
    #[cfg(feature = "server")]
    ApiKeys,
}

/// A value that a store keeps under a [`CellKey`]. It is small, since a store in memory has one for
/// each permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cell {
    /// A permit.
    Permit(Arc<PermitEntry>),
    /// The replay of a request with an id.
    Replay(Box<Replay>),
    /// How many unused permits an agent holds, or all agents.
    Agent(Outstanding),
    /// What is used up of a budget.
    Budget(Box<BudgetUse>),
    /// All stops.
    Stops(Stops),
    /// A pending decision.
    Approval(Box<ApprovalEntry>),
    /// The questions of an agent that are held.
    Questions(AskedQuestions),
    /// How many decisions are open.
    OpenApprovals(u64),
    /// A claimed nonce, and when the approval that it is of expires.
    Nonce(Timestamp),
    /// How far the notifications of an endpoint are.
    Webhook(Box<WebhookState>),
    /// The API keys that the chain has recorded.
    #[cfg(feature = "server")]
    ApiKeys(RecordedKeys),
}

impl CellKey {
    /// Returns the key in 33 bytes: the kind, then the digest.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 33] {
        let (kind, digest) = match self {
            Self::Permit(key) => (b'p', key.as_bytes()),
            Self::Replay(key) => (b'r', key.as_bytes()),
            Self::Agent(key) => (b'a', key.as_bytes()),
            Self::Budget(key) => (b'b', key.as_bytes()),
            Self::Stops => (b's', &[0; 32]),
            Self::Approval(key) => (b'h', key.as_bytes()),
            Self::Questions(key) => (b'q', key.as_bytes()),
            Self::OpenApprovals => (b'o', &[0; 32]),
            Self::Nonce(key) => (b'n', key.as_bytes()),
            Self::Webhook(key) => (b'w', key.as_bytes()),
            #[cfg(feature = "server")]
            Self::ApiKeys => (b'k', &[0; 32]),
        };
        let mut bytes = [kind; 33];
        let [_, rest @ ..] = &mut bytes;
        rest.copy_from_slice(digest);
        bytes
    }
}

impl Cell {
    /// Returns when the cell expires. Stores may forget it some time after that.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::Permit(entry) => entry.expires_at,
            Self::Replay(replay) => replay.expires_at,
            Self::Agent(outstanding) => outstanding.expires_at(),
            Self::Budget(budget) => budget.expires_at(),
            // An open decision is forgotten only after it was closed, so the count of open ones
            // stays right.
            Self::Approval(entry) if entry.is_open() => Timestamp::MAX,
            Self::Approval(entry) => entry.forget_at(),
            Self::Questions(asked) => asked.expires_at(),
            Self::Nonce(expires_at) => *expires_at,
            Self::Stops(_) | Self::OpenApprovals(_) | Self::Webhook(_) => Timestamp::MAX,
            #[cfg(feature = "server")]
            Self::ApiKeys(_) => Timestamp::MAX,
        }
    }

    /// Returns the permit in the cell, if the cell holds one.
    #[must_use]
    pub fn permit(&self) -> Option<&PermitEntry> {
        match self {
            Self::Permit(entry) => Some(entry),
            _ => None,
        }
    }

    /// Returns the pending decision in the cell, if the cell holds one.
    #[must_use]
    pub fn approval(&self) -> Option<&ApprovalEntry> {
        match self {
            Self::Approval(entry) => Some(entry),
            _ => None,
        }
    }
}

/// Changes that are kept together or not at all. Each change sees the results of those before it.
///
/// A store creates a batch from the head of its chain and the cells that the changes name, runs
/// each change on a [`changeset`](Self::changeset), and then keeps the batch's
/// [`events`](Self::events), [`cells`](Self::cells) and [`head`](Self::head).
///
/// ```
/// use atlasent_authority::store::{Batch, ChainHead, NewEvent};
/// use jiff::Timestamp;
///
/// let mut batch = Batch::new(ChainHead::genesis("local"), []);
/// let event = batch.changeset(Timestamp::now()).record(NewEvent::new("policy.loaded"));
/// assert_eq!(batch.events(), [event]);
/// assert_eq!(batch.head().sequence, 1);
/// ```
#[derive(Debug)]
pub struct Batch {
    head: ChainHead,
    /// The time of the last event before the batch.
    #[cfg(any(feature = "redb", feature = "postgres"))]
    time_before: Timestamp,
    /// The last event that was dropped before the batch.
    dropped_before: u64,
    cells: BTreeMap<CellKey, Loaded>,
    events: Vec<Arc<SealedEvent>>,
    dropped: Option<u64>,
}

/// A cell, and whether a change has written it.
#[derive(Debug)]
struct Loaded {
    cell: Cell,
    changed: bool,
}

impl Batch {
    /// Creates a batch without changes, for a chain that holds all its events. `cells` holds the
    /// existing cells among those that the changes name.
    pub fn new(head: ChainHead, cells: impl IntoIterator<Item = (CellKey, Cell)>) -> Self {
        // One by one: collecting them allocates a list to sort first.
        let mut loaded = BTreeMap::new();
        for (key, cell) in cells {
            let changed = false;
            loaded.insert(key, Loaded { cell, changed });
        }
        Self {
            #[cfg(any(feature = "redb", feature = "postgres"))]
            time_before: head.time,
            head,
            dropped_before: 0,
            cells: loaded,
            events: Vec::new(),
            dropped: None,
        }
    }

    /// Sets the sequence number of the last event that the store has dropped from the beginning of
    /// the chain. Without it, dropped events still count against
    /// [`max_events`](crate::LocalAuthorityBuilder::max_events), and two processes that archive the
    /// same events both record it.
    #[must_use]
    pub fn after_dropped(mut self, sequence: u64) -> Self {
        self.dropped_before = sequence;
        self
    }

    /// Returns the changeset for the next change, at the time `now`, or at the time of the chain's
    /// last event if the clock was set back.
    pub fn changeset(&mut self, now: Timestamp) -> Changeset<'_> {
        Changeset {
            time: self.head.time_at(now),
            batch: self,
        }
    }

    /// Returns the head of the chain, with the events of the batch.
    #[must_use]
    pub fn head(&self) -> &ChainHead {
        &self.head
    }

    /// Returns the head, and drops everything else.
    #[must_use]
    pub fn into_head(self) -> ChainHead {
        self.head
    }

    /// Returns the events to append, in their order.
    #[must_use]
    pub fn events(&self) -> &[Arc<SealedEvent>] {
        &self.events
    }

    /// Returns the cells to keep, in the order of their keys.
    pub fn cells(&self) -> impl Iterator<Item = (CellKey, &Cell)> {
        let changed = self.cells.iter().filter(|(_, loaded)| loaded.changed);
        changed.map(|(key, loaded)| (*key, &loaded.cell))
    }

    /// Takes the cells to keep out of the batch, in the order of their keys.
    pub(super) fn take_cells(&mut self) -> impl Iterator<Item = (CellKey, Cell)> + use<> {
        let cells = std::mem::take(&mut self.cells).into_iter();
        cells.filter_map(|(key, loaded)| loaded.changed.then_some((key, loaded.cell)))
    }

    /// Returns the sequence number up to which events are to be dropped. `None` drops no event.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        self.dropped
    }

    /// Returns whether the batch has the first event of a multiple of `events`.
    #[cfg(feature = "postgres")]
    pub(super) fn passes(&self, events: u64) -> bool {
        let (last, new) = (self.head.sequence, self.events.len() as u64);
        last / events != (last - new) / events
    }

    /// Returns whether the chain had no event for [`PAUSE`] before the batch.
    #[cfg(any(feature = "redb", feature = "postgres"))]
    pub(super) fn is_after_pause(&self) -> bool {
        self.head.time.duration_since(self.time_before) >= PAUSE
    }

    /// Returns whether the batch leaves nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.cells().next().is_none() && self.dropped.is_none()
    }
}

/// The view of one change on its batch: it reads cells, writes cells and appends events.
#[derive(Debug)]
pub struct Changeset<'a> {
    time: Timestamp,
    batch: &'a mut Batch,
}

impl Changeset<'_> {
    /// Returns the time of the change. It never runs backwards from one change to the next.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Returns the head of the chain, with the events that the batch has appended.
    #[must_use]
    pub fn head(&self) -> &ChainHead {
        &self.batch.head
    }

    /// Returns how many events the store holds, with those that the batch has appended and without
    /// those that it has dropped.
    #[must_use]
    pub fn held_events(&self) -> u64 {
        self.batch
            .head
            .sequence
            .saturating_sub(self.dropped_through())
    }

    /// Returns the sequence number of the last event that was dropped from the beginning of the
    /// chain, by the batch or before it. Zero if the chain has all its events.
    #[must_use]
    pub fn dropped_through(&self) -> u64 {
        let dropped = self.batch.dropped.unwrap_or(0);
        dropped.max(self.batch.dropped_before)
    }

    /// Sets the organization of the chain. A chain that has events keeps its organization.
    pub fn set_org_id(&mut self, org_id: &str) {
        if self.batch.head.sequence == 0 {
            self.batch.head.org_id = org_id.into();
        }
    }

    /// Returns a permit. `None` for an unknown permit, and for one that the change did not name
    /// among its reads.
    #[must_use]
    pub fn permit(&self, key: PermitKey) -> Option<&PermitEntry> {
        self.cell(CellKey::Permit(key)).and_then(Cell::permit)
    }

    /// Returns the replay of a request with an id. `None` for an unknown one, and for one that the
    /// change did not name among its reads.
    #[must_use]
    pub fn replay(&self, key: ReplayKey) -> Option<&Replay> {
        match self.cell(CellKey::Replay(key))? {
            Cell::Replay(replay) => Some(replay),
            _ => None,
        }
    }

    /// Returns how many unused permits an agent holds, or all agents. The change must name the
    /// count's cell among its reads.
    #[must_use]
    pub fn outstanding(&self, key: AgentKey) -> Outstanding {
        match self.cell(CellKey::Agent(key)) {
            Some(Cell::Agent(outstanding)) => outstanding.clone(),
            _ => Outstanding::default(),
        }
    }

    /// Returns the number of unused permits of an agent, or of all agents. The change must name the
    /// count's cell among its reads.
    pub(crate) fn unused_permits(&self, key: AgentKey) -> u64 {
        match self.cell(CellKey::Agent(key)) {
            Some(Cell::Agent(outstanding)) => outstanding.count(self.time),
            _ => 0,
        }
    }

    /// Returns what is used up of a budget. The change must name its cell among its reads.
    #[must_use]
    pub fn budget(&self, key: BudgetKey) -> BudgetUse {
        match self.cell(CellKey::Budget(key)) {
            Some(Cell::Budget(budget)) => (**budget).clone(),
            _ => BudgetUse::default(),
        }
    }

    /// Returns all stops. The change must name their cell among its reads.
    #[must_use]
    pub fn stops(&self) -> Stops {
        match self.cell(CellKey::Stops) {
            Some(Cell::Stops(stops)) => stops.clone(),
            _ => Stops::default(),
        }
    }

    /// Returns the API keys that the chain has recorded. The change must name their cell among its
    /// reads.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn recorded_keys(&self) -> RecordedKeys {
        match self.cell(CellKey::ApiKeys) {
            Some(Cell::ApiKeys(known)) => known.clone(),
            _ => RecordedKeys::default(),
        }
    }

    /// Writes the API keys that the chain has recorded.
    #[cfg(feature = "server")]
    pub fn keep_recorded_keys(&mut self, known: RecordedKeys) {
        self.keep(CellKey::ApiKeys, Cell::ApiKeys(known));
    }

    /// Writes a permit.
    pub fn keep_permit(&mut self, key: PermitKey, entry: PermitEntry) {
        self.keep(CellKey::Permit(key), Cell::Permit(Arc::new(entry)));
    }

    /// Writes a permit that was in the state `before`. If it was unused before, it is removed from
    /// its [counts](PermitCounts), and its amounts are spent or given back. The change must name
    /// the cells of its counts and budgets among its reads.
    pub(crate) fn keep_ended(
        &mut self,
        key: PermitKey,
        entry: PermitEntry,
        before: Option<PermitState>,
    ) {
        if before == Some(PermitState::Issued) {
            for count in PermitCounts::from_entry(&entry).keys() {
                self.change_outstanding(count, |outstanding| outstanding.remove(&entry));
            }
            for charge in &entry.charges {
                let mut budget = self.budget(charge.key);
                budget.settle(charge, &entry, self.time);
                self.keep_budget(charge.key, budget);
            }
        }
        self.keep_permit(key, entry);
    }

    /// Writes the replay of a request with an id.
    pub fn keep_replay(&mut self, key: ReplayKey, replay: Replay) {
        self.keep(CellKey::Replay(key), Cell::Replay(Box::new(replay)));
    }

    /// Changes the count of an agent's unused permits, or of all agents'. The change must name the
    /// count's cell among its reads.
    pub(crate) fn change_outstanding(
        &mut self,
        key: AgentKey,
        change: impl FnOnce(&mut Outstanding),
    ) {
        let loaded = self.batch.cells.entry(CellKey::Agent(key));
        let loaded = loaded.or_insert_with(|| Loaded {
            cell: Cell::Agent(Outstanding::default()),
            changed: true,
        });
        if let Cell::Agent(outstanding) = &mut loaded.cell {
            change(outstanding);
            loaded.changed = true;
        }
    }

    /// Writes what is used up of a budget.
    pub fn keep_budget(&mut self, key: BudgetKey, budget: BudgetUse) {
        self.keep(CellKey::Budget(key), Cell::Budget(Box::new(budget)));
    }

    /// Writes the stops.
    pub fn keep_stops(&mut self, stops: Stops) {
        self.keep(CellKey::Stops, Cell::Stops(stops));
    }

    /// Appends an event to the chain, and returns it with its sequence number, time and hash.
    pub fn record(&mut self, event: NewEvent) -> Arc<SealedEvent> {
        let event = Arc::new(self.batch.head.seal(event, self.time));
        self.batch.events.push(Arc::clone(&event));
        event
    }

    /// Drops the events from the beginning of the chain up to a sequence number.
    pub fn drop_events(&mut self, through: u64) {
        self.batch.dropped = self.batch.dropped.max(Some(through));
    }

    pub(super) fn cell(&self, key: CellKey) -> Option<&Cell> {
        self.batch.cells.get(&key).map(|loaded| &loaded.cell)
    }

    pub(super) fn keep(&mut self, key: CellKey, cell: Cell) {
        let changed = true;
        self.batch.cells.insert(key, Loaded { cell, changed });
    }
}
