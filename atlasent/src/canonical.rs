//! Canonical JSON and the hashes over it.
//!
//! The form is the contract's: compact, keys sorted by code point at every depth, non-ASCII raw. `serde_json`
//! maps may or may not keep insertion order, depending on what else is in the build, so the sorting is ours.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::Context;

/// Lower-case hex SHA-256 of the canonical JSON of exactly `{action_type, actor_id, context}`: what a
/// permit is bound to, sent as `execution_hash`.
///
/// ```
/// let mut context = atlasent::Context::new();
/// context.insert("environment", "production")?;
/// context.insert("approved", &true)?;
/// assert_eq!(
///     atlasent::execution_hash("deploy.production", "deploy-bot", &context),
///     "494db7d7ba0b473840927d1febf48edd770e831178d2bd1ff7a3b80afbeddd7a",
/// );
/// # Ok::<(), atlasent::Error>(())
/// ```
#[must_use]
pub fn execution_hash(action: &str, agent: &str, context: &Context) -> String {
    // The fields stand in the order of their names, which makes the whole canonical.
    #[derive(Serialize)]
    struct Execution<'a> {
        action_type: &'a str,
        actor_id: &'a str,
        context: Sorted<'a>,
    }
    sha256_hex(&[to_string(&Execution {
        action_type: action,
        actor_id: agent,
        context: Sorted(context.as_object()),
    })
    .as_bytes()])
}

/// The canonical JSON of an object.
pub(crate) fn canonical_json(fields: &Map<String, Value>) -> String {
    to_string(&Sorted(fields))
}

/// Lower-case hex SHA-256 over the concatenation of `parts`.
pub(crate) fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    base16ct::lower::encode_string(&hasher.finalize())
}

#[expect(
    clippy::expect_used,
    reason = "strings as keys, finite numbers and a `String` as the sink: nothing here can fail"
)]
fn to_string(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("JSON values serialize to JSON")
}

/// An object that serializes with its keys in order, at every depth.
struct Sorted<'a>(&'a Map<String, Value>);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<_> = self.0.iter().collect();
        // UTF-8 sorts as its code points do.
        entries.sort_unstable_by_key(|(key, _)| *key);
        serializer.collect_map(
            entries
                .into_iter()
                .map(|(key, value)| (key, SortedValue(value))),
        )
    }
}

struct SortedValue<'a>(&'a Value);

impl Serialize for SortedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => Sorted(fields).serialize(serializer),
            Value::Array(items) => serializer.collect_seq(items.iter().map(SortedValue)),
            scalar => scalar.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        to_string(&SortedValue(&serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn keys_are_sorted_by_code_point_at_every_depth() {
        assert_eq!(
            canonical(r#"{"b":[{"z":1,"a":2}],"é":0,"Z":{"y":null,"x":true},"🦀":1,"a":-3}"#),
            r#"{"Z":{"x":true,"y":null},"a":-3,"b":[{"a":2,"z":1}],"é":0,"🦀":1}"#
        );
    }

    #[test]
    fn strings_escape_what_json_demands_and_nothing_else() {
        assert_eq!(
            canonical(r#""\u0000\u001f\b\f\n\r\t\"\\\/\u007f\u2028é""#),
            "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\/\u{7f}\u{2028}é\""
        );
    }

    #[test]
    fn the_hash_is_lower_case_hex_over_all_parts() {
        assert_eq!(
            sha256_hex(&[b"a", b"bc"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
