//! The context of an action: the JSON object that policies read and the permit is bound to.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::Error;
use crate::canonical::{Spelling, canonical_digest, canonical_json, digest_as_written, to_string};
use crate::json::unique;
use crate::json::value::to_value;
use crate::text::json_error;
use crate::text::redact::excerpt;
use crate::written::{self, Exact, WrittenNumbers};

/// The context of an action: a JSON object that policies decide on.
///
/// The permit is bound to the context: requests with different contexts never share a permit.
///
/// A repeated key is an error at every depth, in JSON text and in values such as a struct whose
/// `#[serde(flatten)]` map repeats the name of a field. Otherwise one program could decide on the
/// first value, and another could execute the second.
///
/// ```
/// use atlasent::Context;
///
/// let mut context = Context::new();
/// context.insert("environment", "production")?;
/// context.insert("replicas", &3)?;
/// assert_eq!(context.canonical_json(), r#"{"environment":"production","replicas":3}"#);
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// Clones share the fields until one of them changes.
#[derive(Clone, Default)]
pub struct Context {
    /// Unset for a context that never had a field.
    contents: Option<Arc<Contents>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Contents {
    fields: Map<String, Value>,
    /// The texts of numbers whose value in `fields` has another text.
    written: Option<Box<WrittenNumbers>>,
}

impl Context {
    /// Creates an empty context.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the context that `value` serializes to.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `value` does not serialize to a JSON object, contains a number that
    /// JSON cannot express, or repeats a key. The message names the key and its path.
    ///
    /// ```
    /// #[derive(serde::Serialize)]
    /// struct Deploy { commit: &'static str }
    ///
    /// let context = atlasent::Context::from_serialize(&Deploy { commit: "4f2a" })?;
    /// assert_eq!(context.canonical_json(), r#"{"commit":"4f2a"}"#);
    /// assert!(atlasent::Context::from_serialize("4f2a").is_err());
    /// # Ok::<(), atlasent::Error>(())
    /// ```
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let json = to_value(value).map_err(|why| {
            Error::invalid(format!("the context cannot be written as JSON: {why}"))
        })?;
        match json {
            Value::Object(fields) => Ok(fields.into()),
            other => Err(Error::invalid(format!(
                "the context is {}, not an object: give it fields",
                kind_of(&other)
            ))),
        }
    }

    /// Reads a context from JSON text and keeps the text of each number.
    ///
    /// Other ways to deserialize turn a number with a fraction, or beyond 64 bits, into the nearest
    /// float. This one keeps the text of the number beside the float: policies decide on the exact
    /// value, and the context is sent and hashed with it. In [`as_object`](Self::as_object), a
    /// number too large for a float is a string with the number's text.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the text is not a JSON object, repeats a key, nests deeper than 127
    /// levels, or contains a number with an exponent of more than four digits. The message names
    /// the key and its line and column.
    ///
    /// ```
    /// let context = atlasent::Context::parse(r#"{"cents": 9223372036854775807.0}"#)?;
    /// let cents = context.written_numbers().and_then(|numbers| numbers.member("cents"));
    /// assert_eq!(cents.and_then(|number| number.text()), Some("9223372036854775807.0"));
    /// assert_eq!(context.canonical_json(), r#"{"cents":9223372036854775807.0}"#);
    /// # Ok::<(), atlasent::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (fields, written) = written::read(text).map_err(|error| {
            let why = json_error(&error);
            Error::invalid(format!("the context cannot be read: {why}"))
        })?;
        let written = written.map(Box::new);
        Ok(Contents { fields, written }.into())
    }

    /// Sets the value of `key`. A second call with the same key replaces its value.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `value` does not serialize to JSON, contains a number that JSON
    /// cannot express, or repeats a key. `serde_json` would write NaN and the infinities as `null`,
    /// which policies read as an absent field.
    pub fn insert<T: Serialize + ?Sized>(
        &mut self,
        key: impl Into<String>,
        value: &T,
    ) -> Result<(), Error> {
        let key = key.into();
        let json = to_value(value).map_err(|why| {
            let key = excerpt(&key);
            Error::invalid(format!(
                "context field `{key}` cannot be written as JSON: {why}"
            ))
        })?;
        let contents = Arc::make_mut(self.contents.get_or_insert_default());
        if let Some(written) = &mut contents.written {
            written.forget(&key);
        }
        contents.fields.insert(key, json);
        Ok(())
    }

    /// Returns the value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object().get(key)
    }

    /// Returns the numbers of a [parsed](Self::parse) context whose text differs from that of their
    /// value in [`as_object`](Self::as_object) or in canonical JSON, or `None` if all texts are the
    /// same.
    #[must_use]
    pub fn written_numbers(&self) -> Option<&WrittenNumbers> {
        self.contents().written.as_deref()
    }

    /// Returns the fields as a JSON object.
    #[must_use]
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.contents().fields
    }

    /// Returns the number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_object().len()
    }

    /// Returns whether the context has no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_object().is_empty()
    }

    /// Returns the context in canonical JSON: compact, keys sorted by code point at every depth,
    /// raw UTF-8, floats as Python spells them (see
    /// [`execution_hash`](crate::wire::execution_hash)), and numbers with a
    /// [kept text](Self::written_numbers) as that text.
    #[must_use]
    pub fn canonical_json(&self) -> String {
        match self.is_written_canonically() {
            true => to_string(self),
            false => canonical_json(self, self.spelling()),
        }
    }

    /// Returns the SHA-256 of the [canonical JSON](Self::canonical_json).
    ///
    /// ```
    /// # use atlasent::Context;
    /// let digest = Context::new().canonical_digest();
    /// assert_eq!(digest[..4], [0x44, 0x13, 0x6f, 0xa3], "the SHA-256 of `{{}}`");
    /// ```
    #[must_use]
    pub fn canonical_digest(&self) -> [u8; 32] {
        match self.is_written_canonically() {
            true => digest_as_written(self),
            false => canonical_digest(self, self.spelling()),
        }
    }

    /// Returns whether `serde_json` writes the context as canonical JSON: every key is in its
    /// place, and no number is a fraction or spelled in its own way.
    #[doc(hidden)]
    #[must_use]
    pub fn is_written_canonically(&self) -> bool {
        self.written_numbers().is_none() && is_canonical_object(self.as_object())
    }

    /// Returns how the numbers of the context are spelled in its canonical JSON.
    pub(crate) fn spelling(&self) -> Spelling {
        match self.written_numbers() {
            None => Spelling::Python,
            Some(_) => Spelling::AsWritten,
        }
    }

    fn contents(&self) -> &Contents {
        static EMPTY: LazyLock<Contents> = LazyLock::new(Contents::default);
        self.contents.as_deref().unwrap_or_else(|| &EMPTY)
    }
}

/// Contexts compare by their contents.
impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        match (&self.contents, &other.contents) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            _ => self.contents() == other.contents(),
        }
    }
}

impl Eq for Context {}

impl From<Contents> for Context {
    fn from(contents: Contents) -> Self {
        Self {
            contents: Some(Arc::new(contents)),
        }
    }
}

impl From<Map<String, Value>> for Context {
    fn from(fields: Map<String, Value>) -> Self {
        let written = None;
        Contents { fields, written }.into()
    }
}

/// Returns whether `serde_json` writes an object as canonical JSON. Its maps keep the order of
/// insertion if any crate of the program asks for that.
fn is_canonical_object(object: &Map<String, Value>) -> bool {
    object.keys().is_sorted() && object.values().all(is_canonical)
}

fn is_canonical(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        // The canonical spelling of floats is that of Python.
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Array(values) => values.iter().all(is_canonical),
        Value::Object(object) => is_canonical_object(object),
    }
}

impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.written_numbers() {
            None => self.as_object().serialize(serializer),
            Some(written) => Exact::serialize_object(self.as_object(), written, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        unique::object(deserializer).map(Self::from)
    }
}

/// Prints the names of the fields and omits their values, which may be secret or personal data.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")?;
        f.debug_set().entries(self.as_object().keys()).finish()
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_that_json_cannot_hold_is_an_error_and_not_a_null() {
        let mut context = Context::new();
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(context.insert("amount", &number).is_err());
            assert!(context.insert("deep", &vec![Some((1, number))]).is_err());
            assert!(context.insert("single", &(number as f32)).is_err());
        }
        assert!(context.insert("big", &u128::MAX).is_err());
        assert!(context.is_empty());
        context.insert("amount", &1.5).unwrap();
        assert_eq!(context.get("amount"), Some(&Value::from(1.5)));
    }

    #[test]
    fn a_text_that_is_no_object_is_not_repeated() {
        for text in [r#""hunter2""#, r#"["hunter2"]"#, r#"{"a":hunter2}"#] {
            let error = Context::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_error_names_the_field() {
        let error = Context::new().insert("amount", &f64::NAN).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the request cannot be made: context field `amount` cannot be written as JSON: \
             the number NaN is not finite"
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_however_the_context_comes_about() {
        #[derive(Serialize)]
        struct Transfer {
            amount: u64,
            #[serde(flatten)]
            details: Map<String, Value>,
        }
        let details = Map::from_iter([("amount".to_owned(), Value::from(1_000_000))]);
        let transfer = Transfer { amount: 5, details };
        let error = Context::from_serialize(&transfer).unwrap_err().to_string();
        assert!(error.ends_with("the key `amount` is repeated"), "{error}");
        let mut context = Context::new();
        let error = context.insert("transfers", &[&transfer]).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("context field `transfers`")
                && error.ends_with("the key `amount` is repeated, in `[0]`"),
            "{error}"
        );
        assert!(context.is_empty());
        for text in [
            r#"{"amount":5,"amount":1000000}"#,
            r#"{"a":[{"amount":5,"\u0061mount":5}]}"#,
        ] {
            let error = serde_json::from_str::<Context>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains("the key `amount` is repeated"), "{error}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,3}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The keys come in any order, which maps keep if a crate of the build asks for that.
        #[test]
        fn what_is_written_canonically_at_once_is_what_the_canonical_form_is(
            pairs in prop::collection::vec((".{0,3}", json()), 0..5),
        ) {
            let mut context = Context::new();
            for (key, value) in &pairs {
                context.insert(key.clone(), value).unwrap();
            }
            let canonical = canonical_json(&context, context.spelling());
            prop_assert_eq!(&context.canonical_json(), &canonical);
            prop_assert_eq!(context.canonical_digest(), digest_of(&canonical));
            let text = serde_json::to_string(&context).unwrap();
            let parsed = Context::parse(&text).unwrap();
            let canonical = canonical_json(&parsed, parsed.spelling());
            prop_assert_eq!(&parsed.canonical_json(), &canonical);
            prop_assert_eq!(parsed.canonical_digest(), digest_of(&canonical));
        }
    }

    fn digest_of(text: &str) -> [u8; 32] {
        use sha2::Digest;
        sha2::Sha256::digest(text).into()
    }

    #[test]
    fn a_clone_that_changes_leaves_the_other_context_as_it_was() {
        let mut one = Context::parse(r#"{"a": 1.50, "b": 2}"#).unwrap();
        let other = one.clone();
        one.insert("a", &3).unwrap();
        assert_eq!(one.canonical_json(), r#"{"a":3,"b":2}"#);
        assert_eq!(other.canonical_json(), r#"{"a":1.50,"b":2}"#);
        assert_ne!(one, other);
        assert_eq!(Context::new(), Context::from(Map::new()));
    }

    #[test]
    fn a_second_value_for_a_field_replaces_the_first() {
        let mut context = Context::new();
        context.insert("amount", &5).unwrap();
        context.insert("amount", "six").unwrap();
        assert_eq!(context.canonical_json(), r#"{"amount":"six"}"#);
    }

    #[test]
    fn debug_shows_no_value() {
        let mut context = Context::new();
        context.insert("patient", "Jane Doe").unwrap();
        assert_eq!(format!("{context:?}"), r#"Context{"patient"}"#);
    }
}
