//! The head of the audit chain: it gives each new event its place, its time and its hash.

use atlasent::audit::{Envelope, Event, GENESIS_HASH};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The end of a chain, onto which a store seals the next event. Stores keep it with their events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Whose chain it is.
    pub org_id: String,
    /// The sequence number of the last event; 0 before the first one.
    pub sequence: u64,
    /// The hash of the last event.
    pub hash: String,
    /// When the last event happened. The chain's time never runs backwards.
    pub time: Timestamp,
}

impl ChainHead {
    /// The head of a chain without events.
    #[must_use]
    pub fn genesis(org_id: impl Into<String>) -> Self {
        Self {
            org_id: org_id.into(),
            sequence: 0,
            hash: GENESIS_HASH.to_owned(),
            time: Timestamp::MIN,
        }
    }

    /// The chain's time: `now`, unless the clock was set back.
    #[must_use]
    pub fn time_at(&self, now: Timestamp) -> Timestamp {
        now.max(self.time)
    }

    /// Seals an event that happened at `time`, which must come from [`time_at`](Self::time_at).
    pub fn seal(&mut self, event: NewEvent, time: Timestamp) -> Event {
        let at = format_time(time);
        let envelope = Envelope {
            id: event.id,
            org_id: self.org_id.clone(),
            sequence: self.sequence + 1,
            kind: event.kind.to_owned(),
            decision: event.decision.map(str::to_owned),
            actor_id: event.actor_id,
            resource_type: event.resource_id.is_some().then(|| "Resource".to_owned()),
            resource_id: event.resource_id,
            occurred_at: at.clone(),
            created_at: at,
        };
        let event = Event::seal(envelope, event.payload, std::mem::take(&mut self.hash));
        self.sequence = event.envelope.sequence;
        self.hash.clone_from(&event.hash);
        self.time = time;
        event
    }
}

/// An event that has no place in the chain yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Its id.
    pub id: String,
    /// What happened (contract, part B, event types).
    pub kind: &'static str,
    /// What was decided.
    pub decision: Option<&'static str>,
    /// The agent.
    pub actor_id: Option<String>,
    /// What it was done to.
    pub resource_id: Option<String>,
    /// What else there is to say. Strings, booleans, integers and arrays of them only: encoders in different
    /// languages write other numbers differently.
    pub payload: Map<String, Value>,
}

impl NewEvent {
    /// An event of a kind, with a new id and nothing else.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            kind,
            decision: None,
            actor_id: None,
            resource_id: None,
            payload: Map::new(),
        }
    }

    /// Adds to the payload.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.payload.insert(key.to_owned(), value.into());
        self
    }

    /// Adds to the payload, if there is something to add.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }
}

/// ISO 8601 in UTC, to the microsecond: what every SDK's parser takes.
pub(crate) fn format_time(time: Timestamp) -> String {
    format!("{time:.6}")
}
