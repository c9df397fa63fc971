//! One event of the chain, and a stretch of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::canonical::{canonical_json, sha256_hex};

/// One event of an audit chain, with its names on the wire. Unknown fields are tolerated and not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// What the event says of itself outside the hash.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// What is hashed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub payload: Map<String, Value>,
    /// The hash of the event before; 64 zeros for the first one.
    pub previous_hash: String,
    /// The hash of this event: see [`chain_hash`].
    pub hash: String,
}

/// What an event says of itself outside the hash. Events sealed here repeat it in their payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The event's id.
    pub id: String,
    /// Whose chain it is.
    pub org_id: String,
    /// Its place in the chain, from 1.
    pub sequence: u64,
    /// What happened: `evaluate.allow`, `permit.verified` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was decided, where something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// What kind of thing it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// What it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// When it happened (ISO 8601).
    pub occurred_at: String,
    /// When it was stored (ISO 8601).
    pub created_at: String,
}

impl Event {
    /// The event whose payload this JSON text is. Its hash is the one given: [`ChainVerifier`] tells whether it
    /// is right.
    ///
    /// [`ChainVerifier`]: super::ChainVerifier
    ///
    /// # Errors
    ///
    /// When the text is not a JSON object, or does not repeat the envelope.
    ///
    /// ```
    /// use atlasent::audit::{Event, GENESIS_HASH, chain_hash};
    ///
    /// let payload = r#"{"created_at":"2026-01-01T00:00:00Z","id":"e1","occurred_at":"2026-01-01T00:00:00Z",
    ///     "org_id":"local","sequence":1,"type":"policy.loaded"}"#;
    /// let hash = chain_hash(GENESIS_HASH, &serde_json::from_str(payload)?);
    /// let event = Event::from_payload(payload, GENESIS_HASH.to_owned(), hash)?;
    /// assert_eq!(event.envelope.kind, "policy.loaded");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn from_payload(
        payload: &str,
        previous_hash: String,
        hash: String,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            envelope: serde_json::from_str(payload)?,
            payload: serde_json::from_str(payload)?,
            previous_hash,
            hash,
        })
    }
}

impl Envelope {
    /// The envelope's fields as they stand in a payload.
    pub(super) fn to_fields(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            // A struct of strings and an integer is an object.
            _ => Map::new(),
        }
    }
}

/// What the first event of a chain follows: 64 zeros.
pub const GENESIS_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of an event (contract, part C): lower-case hex SHA-256 of the previous hash, as text, followed by
/// the canonical JSON of the payload.
#[must_use]
pub fn chain_hash(previous_hash: &str, payload: &Map<String, Value>) -> String {
    sha256_hex(&[previous_hash.as_bytes(), canonical_json(payload).as_bytes()])
}

/// A stretch of a chain, as it is exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The hash of the last event. None when there is no event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_head_hash: Option<String>,
    /// How many events there are.
    pub event_count: u64,
    /// The events, oldest first.
    pub events: Vec<Event>,
}

impl Trail {
    /// The trail of `events`, which must be in order.
    #[must_use]
    pub fn new(events: Vec<Event>) -> Self {
        Self {
            chain_head_hash: events.last().map(|event| event.hash.clone()),
            event_count: u64::try_from(events.len()).unwrap_or(u64::MAX),
            events,
        }
    }

    /// Checks the whole trail.
    ///
    /// ```
    /// use atlasent::audit::{Event, GENESIS_HASH, Trail, chain_hash};
    ///
    /// let payload = r#"{"created_at":"2026-01-01T00:00:00Z","id":"e1","occurred_at":"2026-01-01T00:00:00Z",
    ///     "org_id":"local","sequence":1,"type":"policy.loaded"}"#;
    /// let hash = chain_hash(GENESIS_HASH, &serde_json::from_str(payload)?);
    /// let event = Event::from_payload(payload, GENESIS_HASH.to_owned(), hash)?;
    ///
    /// let mut trail = Trail::new(vec![event]);
    /// assert!(trail.verify().is_intact());
    /// trail.events[0].envelope.actor_id = Some("somebody-else".into());
    /// assert!(!trail.verify().is_intact());
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn verify(&self) -> super::ChainReport {
        let mut verifier = super::ChainVerifier::new();
        for event in &self.events {
            verifier.push(event);
        }
        verifier.finish(self.chain_head_hash.as_deref(), Some(self.event_count))
    }
}
