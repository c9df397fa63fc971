//! Canonical JSON and the hashes over it.
//!
//! The form is the contract's: compact, keys sorted by code point at every depth, strings raw but for what JSON
//! must escape, numbers as they were written. It is made from JSON text and not from parsed values, since
//! parsing loses how numbers were written, and recurses.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::Context;

mod number;
mod tape;
mod write;

#[cfg(feature = "audit")]
pub(crate) use number::python_spelling;
#[cfg(feature = "audit")]
pub(crate) use tape::Kind;
pub(crate) use tape::Tape;
pub(crate) use write::{Form, Order, Spelling};

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
    #[derive(Serialize)]
    struct Execution<'a> {
        action_type: &'a str,
        actor_id: &'a str,
        context: &'a Map<String, Value>,
    }
    let execution = to_string(&Execution {
        action_type: action,
        actor_id: agent,
        context: context.as_object(),
    });
    // Without a context nothing can be out of order, so the text is canonical as it was written.
    let canonical = match context.is_empty() {
        true => execution,
        false => canonical_text(execution),
    };
    sha256_hex(&[canonical.as_bytes()])
}

/// The same over a context as it was written, which must be the JSON text of an object: for an authority, since programs in
/// different languages spell numbers differently, and the hash is over the spelling of the one who asks.
///
/// ```
/// let hash = atlasent::execution_hash_of_text("deploy.production", "deploy-bot", r#"{"load": 1e+16}"#);
/// assert_ne!(hash, atlasent::execution_hash_of_text("deploy.production", "deploy-bot", r#"{"load": 1e16}"#));
/// assert_eq!(hash, atlasent::execution_hash_of_text("deploy.production", "deploy-bot", r#"{"load":1e+16}"#));
/// ```
#[must_use]
pub fn execution_hash_of_text(action: &str, agent: &str, context: &str) -> String {
    let (action, agent) = (to_string(action), to_string(agent));
    let execution = format!(r#"{{"action_type":{action},"actor_id":{agent},"context":{context}}}"#);
    sha256_hex(&[canonical_text(execution).as_bytes()])
}

/// The canonical JSON of an object.
pub(crate) fn canonical_json(fields: &Map<String, Value>) -> String {
    canonical_text(to_string(fields))
}

/// Lower-case hex SHA-256 over the concatenation of `parts`.
pub(crate) fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    base16ct::lower::encode_string(&hasher.finalize())
}

/// The canonical form of JSON text that `serde_json` wrote.
fn canonical_text(json: String) -> String {
    let tape = Tape::of(&json);
    let form = Form {
        order: Order::Sorted,
        spelling: Spelling::AsWritten,
    };
    match tape.text_in(form, Tape::ROOT) {
        Some(_) => json,
        None => tape.to_string_in(form, Tape::ROOT),
    }
}

#[expect(
    clippy::expect_used,
    reason = "strings as keys, finite numbers and a `String` as the sink: nothing here can fail"
)]
fn to_string(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("JSON values serialize to JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_request_without_a_context_is_canonical_as_it_is_written(
            action in proptest::arbitrary::any::<String>(),
            agent in proptest::arbitrary::any::<String>(),
        ) {
            let fields = [("action_type", action.as_str()), ("actor_id", agent.as_str())];
            let mut object: Map<String, Value> =
                fields.map(|(key, text)| (key.to_owned(), text.into())).into_iter().collect();
            object.insert("context".to_owned(), Value::Object(Map::new()));
            let hash = sha256_hex(&[canonical_json(&object).as_bytes()]);
            proptest::prop_assert_eq!(execution_hash(&action, &agent, &Context::new()), hash);
        }
    }

    #[test]
    fn the_hash_is_lower_case_hex_over_all_parts() {
        assert_eq!(
            sha256_hex(&[b"a", b"bc"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn an_object_is_sorted_whatever_order_its_map_keeps() {
        let fields: Map<String, Value> =
            serde_json::from_str(r#"{"b":[{"z":1,"a":2}],"Z":{"y":null,"x":true},"a":-3}"#)
                .unwrap();
        assert_eq!(
            canonical_json(&fields),
            r#"{"Z":{"x":true,"y":null},"a":-3,"b":[{"a":2,"z":1}]}"#
        );
    }
}
