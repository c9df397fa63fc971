//! The head of the audit chain, which gives each new event its sequence number, its time and its
//! hash.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use atlasent::Agent;
use atlasent::audit::{Event, GENESIS_HASH};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The end of a chain, to which the next event is appended. Stores keep it with their events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// The organization that the chain belongs to.
    pub org_id: String,
    /// The sequence number of the last event; 0 before the first one.
    pub sequence: u64,
    /// The hash of the last event.
    pub hash: String,
    /// When the last event happened. The chain's time never runs backwards.
    pub time: Timestamp,
}

impl ChainHead {
    /// Returns the head of a chain without events.
    #[must_use]
    pub fn genesis(org_id: impl Into<String>) -> Self {
        Self {
            org_id: org_id.into(),
            sequence: 0,
            hash: GENESIS_HASH.to_owned(),
            time: Timestamp::MIN,
        }
    }

    /// Returns the chain's time: `now`, or the time of the last event if the clock was set back.
    #[must_use]
    pub fn time_at(&self, now: Timestamp) -> Timestamp {
        now.max(self.time)
    }

    /// Appends an event that happened at `time`, which must come from [`time_at`](Self::time_at).
    pub fn seal(&mut self, mut event: NewEvent, time: Timestamp) -> SealedEvent {
        let sequence = self.sequence + 1;
        let occurred_at = format_time(time);
        let payload = event.take_payload(&self.org_id, sequence, &occurred_at);
        let digest = Sha256::new()
            .chain_update(&self.hash)
            .chain_update(&payload)
            .finalize();
        let hash = base16ct::lower::encode_string(&digest);
        self.sequence = sequence;
        self.time = time;
        SealedEvent {
            sequence,
            kind: event.kind.into(),
            actor_id: event.actor_id.map(|agent| agent.as_str().into()),
            occurred_at,
            payload,
            previous_hash: std::mem::replace(&mut self.hash, hash.clone()),
            hash,
        }
    }
}

/// An event of the chain, as a store keeps it. [`to_event`](Self::to_event) parses it. The payload
/// repeats every field but the two hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEvent {
    /// The sequence number of the event, from 1.
    pub sequence: u64,
    /// The type of the event (contract, part B, event types).
    pub kind: Cow<'static, str>,
    /// The agent. Unset for an event without one.
    pub actor_id: Option<String>,
    /// When it happened (ISO 8601, in UTC, to the microsecond).
    pub occurred_at: String,
    /// The canonical JSON of the event, which is hashed.
    pub payload: String,
    /// The hash of the event before.
    pub previous_hash: String,
    /// The hash of the event.
    pub hash: String,
}

impl SealedEvent {
    /// Parses the event, to be read, exported and verified.
    ///
    /// # Errors
    ///
    /// When the payload is not that of an event.
    pub fn to_event(&self) -> Result<Event, serde_json::Error> {
        Event::from_payload(&self.payload, self.previous_hash.clone(), self.hash.clone())
    }
}

/// An event that is not in the chain yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The id of the event.
    pub id: String,
    /// The type of the event (contract, part B, event types).
    pub kind: &'static str,
    /// The decision. Unset for an event that records none.
    pub decision: Option<&'static str>,
    /// The agent. Unset for an event without one.
    pub actor_id: Option<Agent>,
    /// The resource. Unset for an event without one.
    pub resource_id: Option<String>,
    /// The further fields of the event.
    pub payload: BTreeMap<&'static str, EventValue<'static>>,
}

/// A value in an event. Numbers are integers only, since encoders in different languages write
/// others differently (contract, part C).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum EventValue<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A text that is shared with other values.
    Shared(Arc<str>),
    /// A list of texts.
    List(Vec<Arc<str>>),
    /// A boolean.
    Flag(bool),
    /// An integer.
    Count(u64),
}

impl NewEvent {
    /// Creates an event of a type, with a new id and no further fields.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            kind,
            decision: None,
            actor_id: None,
            resource_id: None,
            payload: BTreeMap::new(),
        }
    }

    /// Sets a field of the payload. A second call with the same key replaces its value.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<EventValue<'static>>) -> Self {
        self.payload.insert(key, value.into());
        self
    }

    /// Sets a field of the payload, if `value` is set.
    #[must_use]
    pub fn with_some(
        self,
        key: &'static str,
        value: Option<impl Into<EventValue<'static>>>,
    ) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Returns the canonical JSON of the payload. It repeats the event's other fields, so that they
    /// are hashed, too.
    fn take_payload(&mut self, org_id: &str, sequence: u64, occurred_at: &str) -> String {
        let mut payload: BTreeMap<&str, EventValue<'_>> = std::mem::take(&mut self.payload);
        let resource = self.resource_id.as_deref();
        let repeated = [
            ("id", Some(EventValue::from(&*self.id))),
            ("org_id", Some(org_id.into())),
            ("sequence", Some(EventValue::Count(sequence))),
            ("type", Some(self.kind.into())),
            ("decision", self.decision.map(EventValue::from)),
            (
                "actor_id",
                self.actor_id.as_ref().map(|agent| agent.as_str().into()),
            ),
            ("resource_type", resource.map(|_| "Resource".into())),
            ("resource_id", resource.map(EventValue::from)),
            ("occurred_at", Some(occurred_at.into())),
            ("created_at", Some(occurred_at.into())),
        ];
        payload.extend(
            repeated
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        canonical(&payload)
    }
}

/// Writes canonical JSON: the map's keys are in order, and no value contains keys.
#[expect(
    clippy::expect_used,
    reason = "texts, booleans and integers under texts, into memory: nothing here can fail"
)]
fn canonical(payload: &BTreeMap<&str, EventValue<'_>>) -> String {
    // Longer than most payloads. What is returned has the exact size, since it is kept for long.
    let mut json = Vec::with_capacity(1000);
    serde_json::to_writer(&mut json, payload).expect("facts serialize to JSON");
    json.shrink_to_fit();
    String::from_utf8(json).expect("JSON is UTF-8")
}

macro_rules! value_from {
    ($($type:ty => $variant:ident),*) => {$(
        impl<'a> From<$type> for EventValue<'a> {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

value_from!(&'a str => Text, String => Text, Arc<str> => Shared, Vec<Arc<str>> => List, bool => Flag, u64 => Count);

/// Formats a time as ISO 8601 in UTC, to the microsecond, which the parser of every SDK accepts.
pub(crate) fn format_time(time: Timestamp) -> String {
    format!("{time:.6}")
}
