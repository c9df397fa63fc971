//! The head of the audit chain: it gives each new event its place, its time and its hash.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use atlasent::Agent;
use atlasent::audit::{Event, GENESIS_HASH};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The end of a chain, onto which a store seals the next event. Stores keep it with their events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// An event in its place: what a store keeps. It is an [`Event`] before anyone has read it. All but
/// the two hashes is repeated in the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedEvent {
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// What happened (contract, part B, event types).
    pub kind: Cow<'static, str>,
    /// The agent.
    pub actor_id: Option<String>,
    /// When it happened (ISO 8601, in UTC, to the microsecond).
    pub occurred_at: String,
    /// The canonical JSON of everything that it says: what is hashed.
    pub payload: String,
    /// The hash of the event before.
    pub previous_hash: String,
    /// Its hash.
    pub hash: String,
}

impl SealedEvent {
    /// The event, to be read, exported and verified.
    ///
    /// # Errors
    ///
    /// When the payload is not the one that was sealed.
    pub fn to_event(&self) -> Result<Event, serde_json::Error> {
        Event::from_payload(&self.payload, self.previous_hash.clone(), self.hash.clone())
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
    pub actor_id: Option<Agent>,
    /// What it was done to.
    pub resource_id: Option<String>,
    /// What else there is to say.
    pub payload: BTreeMap<&'static str, Fact<'static>>,
}

/// What an event can say. There is nothing else, since encoders in different languages write
/// numbers other than integers differently (contract, part C).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Fact<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A text that others have too.
    Shared(Arc<str>),
    /// Several texts.
    List(Vec<Arc<str>>),
    /// Yes or no.
    Flag(bool),
    /// A count.
    Count(u64),
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
            payload: BTreeMap::new(),
        }
    }

    /// Adds to the payload. A second call with the same key replaces its value.
    #[must_use]
    pub fn with(mut self, key: &'static str, fact: impl Into<Fact<'static>>) -> Self {
        self.payload.insert(key, fact.into());
        self
    }

    /// Adds to the payload, if there is something to add.
    #[must_use]
    pub fn with_some(self, key: &'static str, fact: Option<impl Into<Fact<'static>>>) -> Self {
        match fact {
            Some(fact) => self.with(key, fact),
            None => self,
        }
    }

    /// The canonical JSON of the payload, in which everything that the event says elsewhere is
    /// repeated, so that it is hashed too.
    fn take_payload(&mut self, org_id: &str, sequence: u64, occurred_at: &str) -> String {
        let mut payload: BTreeMap<&str, Fact<'_>> = std::mem::take(&mut self.payload);
        let resource = self.resource_id.as_deref();
        let repeated = [
            ("id", Some(Fact::from(&*self.id))),
            ("org_id", Some(org_id.into())),
            ("sequence", Some(Fact::Count(sequence))),
            ("type", Some(self.kind.into())),
            ("decision", self.decision.map(Fact::from)),
            (
                "actor_id",
                self.actor_id.as_ref().map(|agent| agent.as_str().into()),
            ),
            ("resource_type", resource.map(|_| "Resource".into())),
            ("resource_id", resource.map(Fact::from)),
            ("occurred_at", Some(occurred_at.into())),
            ("created_at", Some(occurred_at.into())),
        ];
        payload.extend(
            repeated
                .into_iter()
                .filter_map(|(key, fact)| Some((key, fact?))),
        );
        canonical(&payload)
    }
}

/// Canonical JSON: the map has its keys in order, and no fact has keys in it.
#[expect(
    clippy::expect_used,
    reason = "texts, booleans and integers under texts, into memory: nothing here can fail"
)]
fn canonical(payload: &BTreeMap<&str, Fact<'_>>) -> String {
    // Longer than most. What leaves is a copy that fits: it is kept for long.
    let mut json = Vec::with_capacity(1000);
    serde_json::to_writer(&mut json, payload).expect("facts serialize to JSON");
    std::str::from_utf8(&json)
        .expect("JSON is UTF-8")
        .to_owned()
}

macro_rules! fact_from {
    ($($type:ty => $variant:ident),*) => {$(
        impl<'a> From<$type> for Fact<'a> {
            fn from(fact: $type) -> Self {
                Self::$variant(fact.into())
            }
        }
    )*};
}

fact_from!(&'a str => Text, String => Text, Arc<str> => Shared, Vec<Arc<str>> => List, bool => Flag, u64 => Count);

/// ISO 8601 in UTC, to the microsecond: what every SDK's parser takes.
pub(crate) fn format_time(time: Timestamp) -> String {
    format!("{time:.6}")
}
