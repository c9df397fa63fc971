//! The hashed content of an event, kept as text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::ser::{Serialize, Serializer};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};

use super::MAX_DEPTH;
use super::hash::CANONICAL;
use crate::canonical::{Kind, Tape};

/// The hashed content of an event: a JSON object, kept as it was written.
///
/// The text is kept because the hash is over it: another program may have written `1e2` or an
/// integer of forty digits, and a parsed number would be written differently. Two payloads are
/// equal when they have the same canonical JSON. The default is `{}`.
///
/// ```
/// use atlasent::audit::Payload;
///
/// let payload: Payload = r#"{"reason": "too big", "limit": 1e2}"#.parse()?;
/// assert_eq!(payload.text("reason").as_deref(), Some("too big"));
/// assert_eq!(payload.get("limit").map(|limit| limit.get()), Some("1e2"));
/// assert_eq!(payload, r#"{"limit":1e2,"reason":"too big"}"#.parse()?);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Payload(Option<Box<RawValue>>);

impl Payload {
    /// Creates a payload from a value that serializes to a JSON object.
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`] when `value` does not serialize, serializes to something other than an
    /// object, holds half a surrogate pair, or nests deeper than [`MAX_DEPTH`].
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        to_raw_value(value).and_then(Self::from_raw)
    }

    fn from_raw(text: Box<RawValue>) -> Result<Self, serde_json::Error> {
        let tape = Tape::parse(text.get());
        if tape.kind(Tape::ROOT) != Some(Kind::Object) {
            return Err(serde_json::Error::custom(
                "the payload is not a JSON object",
            ));
        }
        if tape.has_lone_surrogate() {
            return Err(serde_json::Error::custom(
                "a string of the payload contains half a surrogate pair",
            ));
        }
        if tape.depth() > MAX_DEPTH {
            return Err(serde_json::Error::custom(format_args!(
                "the payload is nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(Self(Some(text)))
    }

    /// Returns the JSON text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("{}", |text| text.get())
    }

    /// Returns the JSON text of the value of `key`, as it was written. If the key is repeated, its
    /// last value counts.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        let tape = Tape::parse(self.as_str());
        let value = find(&tape, key)?;
        serde_json::from_str(tape.text(value)).ok()
    }

    /// Returns the characters of the value of `key`. `None` if the key is missing, or its value is
    /// not a string.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let tape = Tape::parse(self.as_str());
        let value = find(&tape, key)?;
        (tape.kind(value) == Some(Kind::String)).then(|| tape.string(value))
    }

    /// Whether the payload has no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Tape::parse(self.as_str())
            .items(Tape::ROOT)
            .next()
            .is_none()
    }

    /// Deserializes the payload into a `T`, for instance a
    /// `serde_json::Map<String, serde_json::Value>`.
    ///
    /// # Errors
    ///
    /// [`serde_json::Error`] when the payload does not fit `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }

    /// Returns the canonical JSON, over which the hash is computed.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        Tape::parse(self.as_str()).to_string_in(CANONICAL, Tape::ROOT)
    }
}

fn find(tape: &Tape<'_>, key: &str) -> Option<usize> {
    let named = tape
        .members(Tape::ROOT)
        .filter(|(name, _)| tape.string(*name) == key);
    named.last().map(|(_, value)| value)
}

impl FromStr for Payload {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer)
            .and_then(|text| Self::from_raw(text).map_err(D::Error::custom))
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(text) => text.serialize(serializer),
            None => serializer.collect_map(std::iter::empty::<((), ())>()),
        }
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str() || self.canonical_json() == other.canonical_json()
    }
}

impl Eq for Payload {}

/// Prints only the names of the fields: a payload may hold a context, whose values are not printed
/// either.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = serde_json::from_str::<BTreeMap<Cow<'_, str>, IgnoredAny>>(self.as_str());
        f.write_str("Payload")?;
        f.debug_set()
            .entries(members.unwrap_or_default().keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn a_payload_is_an_object_and_nothing_else() {
        for text in ["null", "[]", "1", "\"{}\"", "{", "", "{} {}"] {
            assert!(text.parse::<Payload>().is_err(), "{text}");
        }
        assert!(Payload::new(&[1]).is_err());
        assert!(Payload::new(&json!({ "a": 1 })).is_ok());
        assert!(r#"{"a":"\ud800"}"#.parse::<Payload>().is_err());
    }

    #[test]
    fn a_payload_is_bounded_in_depth() {
        let nested = |depth: usize| {
            format!(
                "{{\"a\":{}{}}}",
                "[".repeat(depth - 1),
                "]".repeat(depth - 1)
            )
        };
        assert!(nested(MAX_DEPTH).parse::<Payload>().is_ok());
        assert!(nested(MAX_DEPTH + 1).parse::<Payload>().is_err());
    }

    #[test]
    fn the_last_of_a_repeated_key_counts() {
        let payload: Payload = r#"{"a":1,"\u0061":"two"}"#.parse().unwrap();
        assert_eq!(payload.text("a").as_deref(), Some("two"));
        assert_eq!(payload.canonical_json(), r#"{"a":"two"}"#);
        assert_eq!(payload.get("b").map(RawValue::get), None);
    }

    #[test]
    fn numbers_leave_as_they_came() {
        let text = r#"{"big":123456789012345678901234567890,"float":1e2}"#;
        let from_text: Payload = serde_json::from_str(text).unwrap();
        let from_reader: Payload = serde_json::from_reader(text.as_bytes()).unwrap();
        for payload in [from_text, from_reader] {
            assert_eq!(serde_json::to_string(&payload).unwrap(), text);
        }
    }

    #[test]
    fn it_is_read_from_a_value_too() {
        let value = json!({ "a": [1, null, "x"] });
        let payload: Payload = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&payload).unwrap(), value);
        assert_eq!(Value::Object(payload.parse::<Map<_, _>>().unwrap()), value);
    }

    #[test]
    fn equality_is_that_of_the_canonical_text() {
        let payload = |text: &str| text.parse::<Payload>().unwrap();
        assert_eq!(
            payload(r#"{"a":1,"b":2}"#),
            payload(r#" { "b":2, "a" : 1 } "#)
        );
        assert_eq!(Payload::default(), payload("{ }"));
        assert_ne!(payload(r#"{"a":1}"#), payload(r#"{"a":1.0}"#));
        assert!(Payload::default().is_empty() && !payload(r#"{"a":1}"#).is_empty());
    }
}
