//! The event of an audit chain.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::payload::Payload;
use crate::canonical::sha256_hex;
use crate::json::object::Object;

/// An event of an audit chain, with its names on the wire. Unknown fields are ignored; `null` in an
/// optional field is the same as its absence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// The fields outside the hash.
    #[serde(flatten)]
    pub envelope: Envelope,
    /// The hashed content.
    #[serde(skip_serializing_if = "Payload::is_empty")]
    pub payload: Payload,
    /// The hash of the previous event; 64 zeros for the first event.
    pub previous_hash: String,
    /// The hash of this event: see [`chain_hash`].
    pub hash: String,
}

/// The fields of an event outside the hash. The embedded authority repeats them in the payload,
/// which is hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The event's id.
    pub id: String,
    /// The organization that owns the chain.
    pub org_id: String,
    /// The event's position in the chain, from 1.
    pub sequence: u64,
    /// The event's type: `evaluate.allow`, `permit.verified` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// The decision. `None` in events that are not about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The agent. `None` in events that are not about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// The type of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// The id of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// The time at which the event happened (ISO 8601).
    pub occurred_at: String,
    /// The time at which the event was stored (ISO 8601).
    pub created_at: String,
}

impl Event {
    /// Creates an event from the JSON text of its payload, which must repeat the envelope. The
    /// hashes are taken as given: [`ChainVerifier`] checks them.
    ///
    /// [`ChainVerifier`]: super::ChainVerifier
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`] when the text is not a JSON object, or does not repeat the envelope.
    ///
    /// ```
    /// use atlasent::audit::{Event, GENESIS_HASH, chain_hash};
    ///
    /// let payload = r#"{"created_at":"2026-01-01T00:00:00Z","id":"e1","occurred_at":"2026-01-01T00:00:00Z",
    ///     "org_id":"local","sequence":1,"type":"policy.loaded"}"#;
    /// let hash = chain_hash(GENESIS_HASH, &payload.parse()?);
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
            payload: payload.parse()?,
            envelope: serde_json::from_str(payload)?,
            previous_hash,
            hash,
        })
    }
}

impl<'de> Deserialize<'de> for Event {
    /// Reads the text of the event twice: once for the envelope, once for the rest. With
    /// `#[serde(flatten)]`, serde would parse the payload and lose its text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct HashedPayload {
            #[serde(default)]
            payload: Option<Payload>,
            previous_hash: String,
            hash: String,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let read = |text: &str| -> serde_json::Result<Self> {
            let Object(envelope) = serde_json::from_str(text)?;
            let Object(HashedPayload {
                payload,
                previous_hash,
                hash,
            }) = serde_json::from_str(text)?;
            Ok(Self {
                envelope,
                payload: payload.unwrap_or_default(),
                previous_hash,
                hash,
            })
        };
        read(text.get()).map_err(|error| D::Error::custom(format_args!("in an event, {error}")))
    }
}

/// The previous hash of the first event of a chain: 64 zeros.
pub const GENESIS_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Returns the hash of an event (contract, part C): lower-case hex SHA-256 of the previous hash, as
/// text, followed by the canonical JSON of the payload.
#[must_use]
pub fn chain_hash(previous_hash: &str, payload: &Payload) -> String {
    sha256_hex(&[
        previous_hash.as_bytes(),
        payload.canonical_json().as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Value {
        json!({
            "id": "e1", "org_id": "o", "sequence": 7, "type": "evaluate.deny", "decision": null, "actor_id": null,
            "resource_type": null, "resource_id": null, "payload": null, "hash": "h", "previous_hash": "p",
            "occurred_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z", "risk": { "score": 1 },
        })
    }

    #[test]
    fn null_is_absence_from_whatever_it_is_read() {
        let text = event().to_string();
        let events: [Event; 3] = [
            serde_json::from_str(&text).unwrap(),
            serde_json::from_reader(text.as_bytes()).unwrap(),
            serde_json::from_value(event()).unwrap(),
        ];
        for event in events {
            assert_eq!(event.envelope.decision, None);
            assert_eq!(event.payload, Payload::default());
            let mut absent: Value = serde_json::from_str(&text).unwrap();
            let fields = absent.as_object_mut().unwrap();
            fields.retain(|key, value| !value.is_null() && key != "risk");
            assert_eq!(serde_json::to_value(&event).unwrap(), absent);
        }
    }

    #[test]
    fn what_every_event_has_is_required() {
        for key in [
            "id",
            "org_id",
            "sequence",
            "type",
            "hash",
            "previous_hash",
            "occurred_at",
            "created_at",
        ] {
            let mut event = event();
            event[key] = Value::Null;
            assert!(serde_json::from_value::<Event>(event).is_err(), "{key}");
        }
        let array = r#"["e1","o",7,"t",null,null,null,null,"2026","2026"]"#;
        assert!(serde_json::from_str::<Event>(array).is_err());
    }
}
