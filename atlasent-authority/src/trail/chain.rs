//! The head of the audit chain, which gives each new event its sequence number, its time and its
//! hash.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use atlasent::Agent;
use atlasent::audit::{Event, GENESIS_HASH};
use atlasent::wire::MAX_INTEGER;
use base16ct::lower;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The end of a chain, to which the next event is appended. Stores keep it with their events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// The organization that the chain belongs to.
    pub org_id: Arc<str>,
    /// The sequence number of the last event; 0 before the first one.
    pub sequence: u64,
    /// The hash of the last event.
    pub hash: Arc<str>,
    /// When the last event happened. The chain's time never runs backwards.
    pub time: Timestamp,
}

impl ChainHead {
    /// Returns the head of a chain without events.
    #[must_use]
    pub fn genesis(org_id: impl Into<Arc<str>>) -> Self {
        Self {
            org_id: org_id.into(),
            sequence: 0,
            hash: GENESIS_HASH.into(),
            time: Timestamp::MIN,
        }
    }

    /// Returns the chain's time: `now`, or the time of the last event if the clock was set back.
    #[must_use]
    pub fn time_at(&self, now: Timestamp) -> Timestamp {
        now.max(self.time)
    }

    /// Appends an event that happened at `time`, which must come from [`time_at`](Self::time_at).
    pub fn seal(&mut self, event: NewEvent, time: Timestamp) -> SealedEvent {
        let sequence = self.sequence + 1;
        let occurred_at = format_time(time);
        let payload = event.payload_text(&self.org_id, sequence, &occurred_at);
        let digest = Sha256::new()
            .chain_update(&*self.hash)
            .chain_update(&payload)
            .finalize();
        let hash: Arc<str> = hex(&digest.into()).as_str().into();
        self.sequence = sequence;
        self.time = time;
        SealedEvent {
            sequence,
            kind: event.kind.into(),
            actor_id: event.actor_id.map(Arc::from),
            occurred_at,
            payload,
            previous_hash: std::mem::replace(&mut self.hash, Arc::clone(&hash)),
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
    pub actor_id: Option<Arc<str>>,
    /// When it happened (ISO 8601, in UTC, to the microsecond).
    pub occurred_at: String,
    /// The canonical JSON of the event, which is hashed.
    pub payload: String,
    /// The hash of the event before.
    pub previous_hash: Arc<str>,
    /// The hash of the event.
    pub hash: Arc<str>,
}

impl SealedEvent {
    /// Parses the event, to be read, exported and verified.
    ///
    /// # Errors
    ///
    /// When the payload is not that of an event.
    pub fn to_event(&self) -> Result<Event, serde_json::Error> {
        let [previous_hash, hash] = [&self.previous_hash, &self.hash].map(|hash| (**hash).into());
        Event::from_payload(&self.payload, previous_hash, hash)
    }
}

/// An event that is not in the chain yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The id of the event.
    pub id: Arc<str>,
    /// The type of the event (contract, part B, event types).
    pub kind: &'static str,
    /// The decision. Unset for an event that records none.
    pub decision: Option<&'static str>,
    /// The agent. Unset for an event without one.
    pub actor_id: Option<Agent>,
    /// The resource. Unset for an event without one.
    pub resource_id: Option<Arc<str>>,
    /// The further fields of the event.
    pub payload: BTreeMap<&'static str, EventValue<'static>>,
}

/// A value in an event. Numbers are integers only, since encoders in different languages write
/// others differently (contract, part C).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventValue<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A text that is shared with other values.
    Shared(Arc<str>),
    /// A SHA-256, written as 64 lower-case hex digits.
    Digest([u8; 32]),
    /// A list of texts.
    List(Vec<Arc<str>>),
    /// A boolean.
    Flag(bool),
    /// An integer. Above [`MAX_INTEGER`], it is written as a string, since some verifiers round it.
    Count(u64),
}

impl NewEvent {
    /// Creates an event of a type, with a new id and no further fields.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self {
            id: (&*Uuid::new_v4()
                .hyphenated()
                .encode_lower(&mut Uuid::encode_buffer()))
                .into(),
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
    /// are hashed, too. Where both have a key, the event's own field counts.
    fn payload_text(&self, org_id: &str, sequence: u64, occurred_at: &str) -> String {
        let actor = self.actor_id.as_ref().map(Agent::as_str);
        let resource = self.resource_id.as_deref();
        // In the order of their keys.
        let own = [
            ("actor_id", actor.map(EventValue::from)),
            ("created_at", Some(occurred_at.into())),
            ("decision", self.decision.map(EventValue::from)),
            ("id", Some((&*self.id).into())),
            ("occurred_at", Some(occurred_at.into())),
            ("org_id", Some(org_id.into())),
            ("resource_id", resource.map(EventValue::from)),
            ("resource_type", resource.map(|_| "Resource".into())),
            ("sequence", Some(EventValue::Count(sequence))),
            ("type", Some(self.kind.into())),
        ];
        // Longer than most payloads. What is returned has the exact size, since it is kept for
        // long.
        let mut json = JsonObject(Vec::with_capacity(1000));
        let mut further = self.payload.iter().peekable();
        for (key, value) in own {
            let Some(value) = value else { continue };
            while let Some((name, value)) = further.next_if(|(name, _)| **name < key) {
                json.member(name, value);
            }
            further.next_if(|(name, _)| **name == key);
            json.member(key, &value);
        }
        further.for_each(|(name, value)| json.member(name, value));
        json.finish()
    }
}

/// The text of an object that is being written, member by member, in the order of the keys.
struct JsonObject(Vec<u8>);

impl JsonObject {
    fn member(&mut self, key: &str, value: &EventValue<'_>) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.text(key);
        self.0.push(b':');
        match value {
            EventValue::Text(text) => self.text(text),
            EventValue::Shared(text) => self.text(text),
            EventValue::Digest(digest) => {
                self.0.push(b'"');
                self.0.extend_from_slice(hex(digest).as_str().as_bytes());
                self.0.push(b'"');
            }
            EventValue::List(texts) => {
                self.0.push(b'[');
                for (place, text) in texts.iter().enumerate() {
                    if place > 0 {
                        self.0.push(b',');
                    }
                    self.text(text);
                }
                self.0.push(b']');
            }
            EventValue::Flag(flag) => {
                self.0
                    .extend_from_slice(if *flag { b"true" } else { b"false" });
            }
            EventValue::Count(count) if *count > MAX_INTEGER => self.text(&count.to_string()),
            EventValue::Count(count) => self.value(count),
        }
    }

    fn text(&mut self, text: &str) {
        self.value(text);
    }

    #[expect(
        clippy::expect_used,
        reason = "a text or an integer, into memory: nothing here can fail"
    )]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut self.0, value).expect("texts serialize to JSON");
    }

    #[expect(clippy::expect_used, reason = "`serde_json` writes UTF-8")]
    fn finish(mut self) -> String {
        self.0.push(b'}');
        self.0.shrink_to_fit();
        String::from_utf8(self.0).expect("JSON is UTF-8")
    }
}

/// The 64 lower-case hex digits of a digest.
pub(crate) struct Hex([u8; 64]);

impl Hex {
    pub(crate) fn as_str(&self) -> &str {
        // Hex digits are ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Returns the hex digits of a digest, without an allocation.
pub(crate) fn hex(digest: &[u8; 32]) -> Hex {
    let mut digits = [0; 64];
    // The digits fit exactly.
    let _ = lower::encode(digest, &mut digits);
    Hex(digits)
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

value_from!(&'a str => Text, String => Text, Cow<'a, str> => Text, Arc<str> => Shared, [u8; 32] => Digest, Vec<Arc<str>> => List, bool => Flag, u64 => Count);

/// Formats a time as ISO 8601 in UTC, to the microsecond, which the parser of every SDK accepts.
pub(crate) fn format_time(time: Timestamp) -> String {
    let mut text = String::with_capacity("2026-11-01T00:00:00.000000Z".len());
    // Writing into memory cannot fail.
    let _ = write!(text, "{time:.6}");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    const KEYS: [&str; 9] = [
        "action_type",
        "actor_id",
        "context_hash",
        "e\"\n",
        "org_id",
        "reason",
        "sequence",
        "type",
        "ü",
    ];

    fn value() -> impl Strategy<Value = (EventValue<'static>, Value)> {
        let texts = prop::collection::vec(".{0,5}", 0..3);
        prop_oneof![
            ".{0,9}".prop_map(|text| (text.clone().into(), json!(text))),
            ".{0,9}".prop_map(|text| (Arc::<str>::from(&*text).into(), json!(text))),
            any::<[u8; 32]>().prop_map(|bytes| (bytes.into(), json!(lower::encode_string(&bytes)))),
            texts.prop_map(|texts| {
                let list: Vec<Arc<str>> = texts.iter().map(|text| (&**text).into()).collect();
                (list.into(), json!(texts))
            }),
            any::<bool>().prop_map(|flag| (flag.into(), json!(flag))),
            (0..=MAX_INTEGER).prop_map(|count| (count.into(), json!(count))),
            (MAX_INTEGER + 1..=u64::MAX).prop_map(|count| (count.into(), json!(count.to_string()))),
        ]
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_its_formatter_writes_it(
            seconds in Timestamp::MIN.as_second()..Timestamp::MAX.as_second(),
            nanoseconds in 0..1_000_000_000,
        ) {
            let time = Timestamp::new(seconds, nanoseconds).unwrap();
            prop_assert_eq!(format_time(time), format!("{time:.6}"));
        }

        #[test]
        fn a_payload_is_the_canonical_json_of_all_fields_and_the_event_s_own_count(
            fields in prop::collection::vec((prop::sample::select(&KEYS[..]), value()), 0..9),
            actor in prop::option::of(".{1,5}"),
            resource in prop::option::of(".{0,5}"),
            decision in prop::option::of(Just("allow")),
            seconds in 0..4_000_000_000_i64,
        ) {
            let mut event = NewEvent::new("evaluate.allow");
            let mut expected: Map<String, Value> = Map::new();
            for (key, (value, json)) in fields {
                event.payload.insert(key, value);
                expected.insert(key.to_owned(), json);
            }
            event.actor_id = actor.as_deref().map(|name| Agent::new(name).unwrap());
            event.resource_id = resource.as_deref().map(Arc::from);
            event.decision = decision;
            let time = Timestamp::from_second(seconds).unwrap();
            let own = json!({
                "id": event.id, "org_id": "o\"1", "sequence": 8, "type": "evaluate.allow",
                "decision": decision, "actor_id": actor, "resource_id": resource,
                "resource_type": resource.as_ref().map(|_| "Resource"),
                "occurred_at": format!("{time:.6}"), "created_at": format!("{time:.6}"),
            });
            let own = own.as_object().unwrap().clone();
            expected.extend(own.into_iter().filter(|(_, value)| !value.is_null()));
            let expected = atlasent::Context::from(expected).canonical_json();

            let mut head = ChainHead { sequence: 7, ..ChainHead::genesis("o\"1") };
            let sealed = head.seal(event, time);
            prop_assert_eq!(&sealed.payload, &expected);
            prop_assert_eq!(sealed.payload.capacity(), sealed.payload.len());
            let hash = Sha256::digest([GENESIS_HASH, &expected].concat());
            prop_assert_eq!(&*head.hash, lower::encode_string(&hash));
        }
    }
}
