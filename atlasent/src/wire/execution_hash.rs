//! The hash that binds a permit to its action, agent and context.

use std::fmt;

use base16ct::lower;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize, Serializer};

use crate::canonical::{
    Spelling, Tape, canonical, canonical_digest, digest_as_written, sha256_hex, to_string,
};
use crate::{Context, Error};

/// The hash in a verification: the result of [`execution_hash`](fn@execution_hash), or any other
/// text that a caller sent.
///
/// It can be compared with the text of a hash, and serializes and prints as this text.
///
/// ```
/// use atlasent::wire::{EvaluateRequest, ExecutionHash, execution_hash};
/// use atlasent::{Agent, AnyAction, Context};
///
/// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
/// let text = execution_hash("deploy", "bot", &Context::new());
/// assert_eq!(request.execution_hash(), *text);
/// assert_eq!(request.execution_hash(), ExecutionHash::from(text));
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct ExecutionHash(Form);

/// Each text has exactly one form, so that equal texts are equal hashes.
#[derive(Clone, PartialEq, Eq)]
enum Form {
    /// The bytes of 64 lower-case hex digits.
    Digest([u8; 32]),
    /// Any other text.
    Text(Box<str>),
}

impl ExecutionHash {
    pub(crate) fn from_digest(digest: [u8; 32]) -> Self {
        Self(Form::Digest(digest))
    }

    /// Calls `read` with the text of the hash.
    fn with_text<R>(&self, read: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Form::Digest(digest) => {
                let mut digits = [0; 64];
                // Encoding cannot fail, because the 64 digits fit exactly.
                read(lower::encode_str(digest, &mut digits).unwrap_or_default())
            }
            Form::Text(text) => read(text),
        }
    }
}

/// Returns the bytes of a text of 64 lower-case hex digits.
fn digest_of_text(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let is_whole = lower::decode(text, &mut digest).is_ok_and(|bytes| bytes.len() == 32);
    is_whole.then_some(digest)
}

impl From<&str> for ExecutionHash {
    fn from(text: &str) -> Self {
        Self(match digest_of_text(text) {
            Some(digest) => Form::Digest(digest),
            None => Form::Text(text.into()),
        })
    }
}

impl From<String> for ExecutionHash {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl PartialEq<str> for ExecutionHash {
    fn eq(&self, text: &str) -> bool {
        match &self.0 {
            Form::Digest(digest) => digest_of_text(text).as_ref() == Some(digest),
            Form::Text(own) => **own == *text,
        }
    }
}

impl Serialize for ExecutionHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl fmt::Display for ExecutionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for ExecutionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| fmt::Debug::fmt(text, f))
    }
}

/// Returns the hash that binds a permit to its action, agent and context, sent as `execution_hash`:
/// lower-case hex SHA-256 of the canonical JSON of `{action_type, actor_id, context}`.
///
/// The hash equals the Python SDK's hash of the same values: floats are spelled as Python's `repr`
/// spells them (`1e-05`, `1e+16`), and [`Client`](crate::Client) sends them in that spelling.
/// Integers beyond 64 bits are the exception: Python keeps them, and a [`Context`] that is read
/// from JSON text holds the nearest float.
///
/// ```
/// let mut context = atlasent::Context::new();
/// context.insert("environment", "production")?;
/// context.insert("approved", &true)?;
/// assert_eq!(
///     atlasent::wire::execution_hash("deploy.production", "deploy-bot", &context),
///     "494db7d7ba0b473840927d1febf48edd770e831178d2bd1ff7a3b80afbeddd7a",
/// );
/// # Ok::<(), atlasent::Error>(())
/// ```
#[must_use]
pub fn execution_hash(action: &str, agent: &str, context: &Context) -> String {
    lower::encode_string(&execution_digest(action, agent, context))
}

/// Returns the bytes of the [`execution_hash`].
pub(crate) fn execution_digest(action: &str, agent: &str, context: &Context) -> [u8; 32] {
    #[derive(Serialize)]
    struct Execution<'a> {
        action_type: &'a str,
        actor_id: &'a str,
        context: &'a Context,
    }
    let execution = Execution {
        action_type: action,
        actor_id: agent,
        context,
    };
    // The three keys are in order, so the text is canonical where that of the context is.
    match context.is_written_canonically() {
        true => digest_as_written(&execution),
        false => canonical_digest(&execution, context.spelling()),
    }
}

/// Returns the [`execution_hash`] over a context's JSON text, with numbers as they were written.
///
/// Authorities use it: programs in different languages spell numbers differently, and the hash is
/// over the spelling of the client.
///
/// # Errors
///
/// [`Error::Invalid`] when the text is not a JSON object, or repeats a key; the error names the
/// key.
///
/// ```
/// let hash = |context| atlasent::wire::execution_hash_of_text("deploy.production", "deploy-bot", context);
/// assert_ne!(hash(r#"{"load": 1e+16}"#)?, hash(r#"{"load": 1e16}"#)?);
/// assert_eq!(hash(r#"{"load": 1e+16}"#)?, hash(r#"{"load":1e+16}"#)?);
/// assert!(hash(r#"{"load": 1, "load": 2}"#).is_err());
/// # Ok::<(), atlasent::Error>(())
/// ```
pub fn execution_hash_of_text(action: &str, agent: &str, context: &str) -> Result<String, Error> {
    let unreadable = |error| Error::invalid(format!("the context cannot be read: {error}"));
    // `IgnoredAny` checks the syntax without recursion, so any depth is accepted.
    serde_json::from_str::<IgnoredAny>(context).map_err(unreadable)?;
    if !context.trim_start().starts_with('{') {
        return Err(Error::invalid("the context is not a JSON object"));
    }
    let (action, agent) = (to_string(action), to_string(agent));
    let execution = format!(r#"{{"action_type":{action},"actor_id":{agent},"context":{context}}}"#);
    let tape = Tape::parse(&execution);
    if tape.has_repeated_keys() {
        let read = Context::parse(context).err();
        return Err(read.unwrap_or_else(|| Error::invalid("a key is repeated")));
    }
    Ok(sha256_hex(&[
        canonical(&tape, Spelling::AsWritten).as_bytes()
    ]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    proptest::proptest! {
        #[test]
        fn a_hash_made_without_a_text_is_that_of_the_text(
            action in proptest::arbitrary::any::<String>(),
            agent in proptest::arbitrary::any::<String>(),
            members in proptest::collection::vec((".{0,3}", proptest::arbitrary::any::<i64>()), 0..4),
        ) {
            let context: Map<String, Value> =
                members.into_iter().map(|(key, number)| (key, number.into())).collect();
            let fields = [("action_type", action.as_str()), ("actor_id", agent.as_str())];
            let mut object: Map<String, Value> =
                fields.map(|(key, text)| (key.to_owned(), text.into())).into_iter().collect();
            object.insert("context".to_owned(), Value::Object(context.clone()));
            let text = to_string(&object);
            let hash = sha256_hex(&[canonical(&Tape::parse(&text), Spelling::Python).as_bytes()]);
            proptest::prop_assert_eq!(execution_hash(&action, &agent, &context.into()), hash);
        }
    }

    proptest::proptest! {
        #[test]
        fn the_text_of_a_context_has_the_hash_of_the_context(
            floats in proptest::collection::vec(proptest::num::f64::NORMAL, 1..5),
            text in ".{0,8}",
        ) {
            let mut context = Context::new();
            context.insert("floats", &floats).unwrap();
            context.insert(text.clone(), &text).unwrap();
            let hash = execution_hash_of_text("a", "b", &context.canonical_json()).unwrap();
            proptest::prop_assert_eq!(execution_hash("a", "b", &context), hash);
        }
    }

    proptest::proptest! {
        /// The second text is often that of a hash, or nearly.
        #[test]
        fn a_hash_is_compared_and_written_as_its_text(
            one in "[0-9a-f]{64}|[0-9a-fA-F]{62,66}|.{0,4}",
            other in "[0-9a-f]{64}|[0-9a-fA-F]{62,66}|.{0,4}",
        ) {
            let hash = ExecutionHash::from(&*one);
            proptest::prop_assert!(hash == *one && hash == ExecutionHash::from(one.clone()));
            proptest::prop_assert_eq!(hash == *other, one == other);
            let another = ExecutionHash::from(&*other);
            proptest::prop_assert_eq!(hash == another, one == other);
            proptest::prop_assert_eq!(hash.to_string(), &*one);
            proptest::prop_assert_eq!(format!("{hash:?}"), format!("{one:?}"));
            let json = serde_json::to_string(&hash).unwrap();
            proptest::prop_assert_eq!(&json, &to_string(&*one));
            proptest::prop_assert_eq!(serde_json::from_str::<ExecutionHash>(&json).unwrap(), hash);
        }

        #[test]
        fn a_computed_hash_equals_its_text_and_no_other(
            digest in proptest::array::uniform32(proptest::arbitrary::any::<u8>()),
            place in 0..64_usize,
        ) {
            let hash = ExecutionHash::from_digest(digest);
            let text = lower::encode_string(&digest);
            let read = ExecutionHash::from(&*text);
            proptest::prop_assert!(hash == *text && hash == read);
            let upper = text.to_uppercase();
            proptest::prop_assert_eq!(hash == *upper, text == upper);
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            proptest::prop_assert!(hash != *changed && hash != ExecutionHash::from(changed));
            let (longer, shorter) = (format!("{text}0"), text.split_at(1).1);
            proptest::prop_assert!(hash != *shorter && hash != *longer);
        }
    }

    #[test]
    fn the_hash_is_the_one_of_the_python_sdk() {
        // `_compute_execution_hash` of `atlasent` 2.18.0.
        let mut context = Context::new();
        let floats = [
            1e-5,
            0.00012,
            1.0,
            -0.0,
            1e16,
            1.5e-7,
            123456789.125,
            5e-324,
        ];
        context.insert("load", &floats).unwrap();
        assert_eq!(
            context.canonical_json(),
            r#"{"load":[1e-05,0.00012,1.0,-0.0,1e+16,1.5e-07,123456789.125,5e-324]}"#
        );
        assert_eq!(
            execution_hash("deploy.production", "deploy-bot", &context),
            "0867241a2abfbd8c5a415c6bbbaeca0676dd869d3092dd9ac1919fa1a608d0ff"
        );
    }

    #[test]
    fn a_text_that_is_no_context_has_no_hash() {
        for (text, why) in [
            (
                r#"{"a":{"amount":1,"amount":1}}"#,
                "the key `amount` is repeated",
            ),
            (r#"[{"amount":1}]"#, "not a JSON object"),
            ("{} {}", "trailing characters"),
            ("", "EOF"),
            (r#"{"a":1},"context":{"b":2}"#, "trailing characters"),
        ] {
            let error = execution_hash_of_text("a", "b", text)
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
        assert!(execution_hash_of_text("a", "b", &deep).is_ok());
    }

    #[test]
    fn an_object_is_sorted_whatever_order_its_map_keeps() {
        let fields: Map<String, Value> =
            serde_json::from_str(r#"{"b":[{"z":1,"a":2}],"Z":{"y":null,"x":true},"a":-3}"#)
                .unwrap();
        assert_eq!(
            Context::from(fields).canonical_json(),
            r#"{"Z":{"x":true,"y":null},"a":-3,"b":[{"a":2,"z":1}]}"#
        );
    }
}
