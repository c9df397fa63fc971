//! The id of a request.

use std::fmt;

use serde::{Serialize, Serializer};

/// The largest integer that every reader of JSON represents exactly: 2⁵³ − 1.
const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// The most bytes of an id that is a string.
const MAX_BYTES: usize = 256;

/// The id of a request: a string, or an integer that every reader represents exactly.
///
/// The string `"1"` and the number `1` are two ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestId {
    /// An integer.
    Number(i64),
    /// A string.
    Text(Box<str>),
}

impl RequestId {
    /// Reads the JSON text of an id. `None` for anything but a short string or a plain integer:
    /// `1.0` and `1e0` are one number to some readers and another to others.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        if json.starts_with('"') {
            let text: Box<str> = serde_json::from_str(json).ok()?;
            return (text.len() <= MAX_BYTES).then_some(Self::Text(text));
        }
        let number: i64 = json.parse().ok()?;
        let is_plain = (-MAX_INTEGER..=MAX_INTEGER).contains(&number) && number.to_string() == json;
        is_plain.then_some(Self::Number(number))
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// Displays the id as JSON, at most 64 characters of a string.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => {
                let shown: String = text.chars().take(64).collect();
                write!(f, "{shown:?}")
            }
        }
    }
}
