//! Changes on their way into a store: what they read, and what they leave to be kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[cfg(feature = "server")]
use crate::keys::RecordedKeys;
use crate::ledger::outstanding::{AgentKey, Outstanding};
use crate::ledger::permit_key::PermitKey;
use crate::ledger::replay::{Replay, ReplayKey};
use crate::ledger::stops::Stops;
use crate::ledger::{PermitEntry, PermitState};
use crate::trail::chain::{ChainHead, NewEvent, SealedEvent};

/// Names a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CellKey {
    /// The cell of a permit.
    Permit(PermitKey),
    /// The cell of the answer to a request with an id.
    Replay(ReplayKey),
    /// The cell that counts the permits of an agent that wait to be used.
    Agent(AgentKey),
    /// The one cell of all stops.
    Stops,
    /// The one cell of the API keys that the chain has events of.
    #[cfg(feature = "server")]
    ApiKeys,
}

/// What a store keeps under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cell {
    /// A permit.
    Permit(Box<PermitEntry>),
    /// The answer to a request with an id.
    Replay(Box<Replay>),
    /// How many permits of an agent wait to be used.
    Agent(Outstanding),
    /// All stops.
    Stops(Stops),
    /// The API keys that the chain has events of.
    #[cfg(feature = "server")]
    ApiKeys(RecordedKeys),
}

impl CellKey {
    /// The key in 33 bytes: the kind, then the digest.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 33] {
        let (kind, digest) = match self {
            Self::Permit(key) => (b'p', key.as_bytes()),
            Self::Replay(key) => (b'r', key.as_bytes()),
            Self::Agent(key) => (b'a', key.as_bytes()),
            Self::Stops => (b's', &[0; 32]),
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
    /// When the cell means nothing any more. Stores may forget it some time after that.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::Permit(entry) => entry.expires_at,
            Self::Replay(replay) => replay.expires_at,
            Self::Agent(outstanding) => outstanding.expires_at(),
            Self::Stops(_) => Timestamp::MAX,
            #[cfg(feature = "server")]
            Self::ApiKeys(_) => Timestamp::MAX,
        }
    }

    /// The permit in the cell, if it holds one.
    #[must_use]
    pub fn permit(&self) -> Option<&PermitEntry> {
        match self {
            Self::Permit(entry) => Some(entry),
            _ => None,
        }
    }
}

/// Changes that are kept together or not at all, each seeing what those before it left.
///
/// A store makes one from the head of its chain and the cells that the changes name, runs each
/// change on a [`changeset`](Self::changeset), and keeps what the batch then holds.
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
    cells: BTreeMap<CellKey, Loaded>,
    events: Vec<Arc<SealedEvent>>,
    dropped: Option<u64>,
}

/// A cell, and whether a change has left it to be kept.
#[derive(Debug)]
struct Loaded {
    cell: Cell,
    changed: bool,
}

impl Batch {
    /// No change yet. `cells` are those, of all that the changes name, that there are.
    pub fn new(head: ChainHead, cells: impl IntoIterator<Item = (CellKey, Cell)>) -> Self {
        let unchanged = |(key, cell)| {
            let changed = false;
            (key, Loaded { cell, changed })
        };
        Self {
            head,
            cells: cells.into_iter().map(unchanged).collect(),
            events: Vec::new(),
            dropped: None,
        }
    }

    /// What the next change works on, at the time `now`, or at the chain's own if the clock was set
    /// back.
    pub fn changeset(&mut self, now: Timestamp) -> Changeset<'_> {
        Changeset {
            time: self.head.time_at(now),
            batch: self,
        }
    }

    /// The head of the chain with the events of the batch.
    #[must_use]
    pub fn head(&self) -> &ChainHead {
        &self.head
    }

    /// The head alone, once everything else is kept.
    #[must_use]
    pub fn into_head(self) -> ChainHead {
        self.head
    }

    /// The events to append, in their order.
    #[must_use]
    pub fn events(&self) -> &[Arc<SealedEvent>] {
        &self.events
    }

    /// The cells to keep, in the order of their keys.
    pub fn cells(&self) -> impl Iterator<Item = (CellKey, &Cell)> {
        let changed = self.cells.iter().filter(|(_, loaded)| loaded.changed);
        changed.map(|(key, loaded)| (*key, &loaded.cell))
    }

    /// The sequence number up to which events are to be dropped, if any are.
    #[must_use]
    pub fn dropped(&self) -> Option<u64> {
        self.dropped
    }

    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.cells().next().is_none() && self.dropped.is_none()
    }
}

/// What one change works on.
#[derive(Debug)]
pub struct Changeset<'a> {
    time: Timestamp,
    batch: &'a mut Batch,
}

impl Changeset<'_> {
    /// The time of the change. It never runs backwards from one change to the next.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The head of the chain as it is now.
    #[must_use]
    pub fn head(&self) -> &ChainHead {
        &self.batch.head
    }

    /// Says whose chain it is. Once it has an event, that stays.
    pub fn set_org_id(&mut self, org_id: &str) {
        if self.batch.head.sequence == 0 {
            org_id.clone_into(&mut self.batch.head.org_id);
        }
    }

    /// A permit, if it is among what the change reads, and known.
    #[must_use]
    pub fn permit(&self, key: PermitKey) -> Option<&PermitEntry> {
        self.cell(CellKey::Permit(key)).and_then(Cell::permit)
    }

    /// The answer to a request with an id, if it is among what the change reads, and known.
    #[must_use]
    pub fn replay(&self, key: ReplayKey) -> Option<&Replay> {
        match self.cell(CellKey::Replay(key))? {
            Cell::Replay(replay) => Some(replay),
            _ => None,
        }
    }

    /// How many permits of an agent wait to be used. The change has to read the agent's cell.
    #[must_use]
    pub fn outstanding(&self, key: AgentKey) -> Outstanding {
        match self.cell(CellKey::Agent(key)) {
            Some(Cell::Agent(outstanding)) => outstanding.clone(),
            _ => Outstanding::default(),
        }
    }

    /// All stops. The change has to read their cell.
    #[must_use]
    pub fn stops(&self) -> Stops {
        match self.cell(CellKey::Stops) {
            Some(Cell::Stops(stops)) => stops.clone(),
            _ => Stops::default(),
        }
    }

    /// The API keys that the chain has events of. The change has to read their cell.
    #[cfg(feature = "server")]
    pub(crate) fn recorded_keys(&self) -> RecordedKeys {
        match self.cell(CellKey::ApiKeys) {
            Some(Cell::ApiKeys(known)) => known.clone(),
            _ => RecordedKeys::default(),
        }
    }

    /// Keeps which API keys the chain has events of.
    #[cfg(feature = "server")]
    pub(crate) fn keep_recorded_keys(&mut self, known: RecordedKeys) {
        self.keep(CellKey::ApiKeys, Cell::ApiKeys(known));
    }

    /// Keeps a permit as it is now.
    pub fn keep_permit(&mut self, key: PermitKey, entry: PermitEntry) {
        self.keep(CellKey::Permit(key), Cell::Permit(Box::new(entry)));
    }

    /// Keeps a permit that was in the state `before`, and counts it no longer if it waited to be
    /// used. The change has to read the cell of its agent.
    pub(crate) fn keep_ended(
        &mut self,
        key: PermitKey,
        entry: PermitEntry,
        before: Option<PermitState>,
    ) {
        if before == Some(PermitState::Issued) {
            let agent = AgentKey::of_grant(&entry.grant);
            let mut outstanding = self.outstanding(agent);
            outstanding.remove(&entry);
            self.keep_outstanding(agent, outstanding);
        }
        self.keep_permit(key, entry);
    }

    /// Keeps the answer to a request with an id.
    pub fn keep_replay(&mut self, key: ReplayKey, replay: Replay) {
        self.keep(CellKey::Replay(key), Cell::Replay(Box::new(replay)));
    }

    /// Keeps the count of an agent's permits that wait to be used.
    pub fn keep_outstanding(&mut self, key: AgentKey, outstanding: Outstanding) {
        self.keep(CellKey::Agent(key), Cell::Agent(outstanding));
    }

    /// Keeps the stops as they are now.
    pub fn keep_stops(&mut self, stops: Stops) {
        self.keep(CellKey::Stops, Cell::Stops(stops));
    }

    /// Appends an event to the chain.
    pub fn record(&mut self, event: NewEvent) -> Arc<SealedEvent> {
        let event = Arc::new(self.batch.head.seal(event, self.time));
        self.batch.events.push(Arc::clone(&event));
        event
    }

    /// Drops the events up to a sequence number from the beginning of the chain.
    pub fn drop_events(&mut self, through: u64) {
        self.batch.dropped = self.batch.dropped.max(Some(through));
    }

    fn cell(&self, key: CellKey) -> Option<&Cell> {
        self.batch.cells.get(&key).map(|loaded| &loaded.cell)
    }

    fn keep(&mut self, key: CellKey, cell: Cell) {
        let changed = true;
        self.batch.cells.insert(key, Loaded { cell, changed });
    }
}
