//! Keeps the text of numbers in a context, where the parsed value would be written differently.
//!
//! `serde_json` reads a number with a fraction, an exponent or more than 64 bits as the nearest
//! float. A policy has to decide on the exact number that was sent. Reading
//! `{"a":1.50,"b":[7,1e400]}`:
//!
//! ```text
//! 1. find the respelled numbers     bytes 5..9 `1.50` and 17..22 `1e400`; `7` would be written the same
//! 2. blank them with zeros          {"a":0   ,"b":[7,0    ]}   same length, so errors keep their places
//! 3. parse that, repeated keys are errors
//! 4. walk the original text again   fields {"a":1.5,"b":[7,"1e400"]}, since 1e400 fits no float
//!    along the value                texts  a: `1.50`, b[1]: `1e400`
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::canonical::{Kind, Tape, python_spelling};
use crate::json::unique;

/// The texts of numbers in a JSON value. A [`Context`](crate::Context) keeps those that its fields
/// would write differently.
///
/// ```
/// let context = atlasent::Context::parse(r#"{"items": [{"price": 1.5}, {"price": 15e-1}]}"#)?;
/// let numbers = context.written_numbers().unwrap().member("items").unwrap();
/// assert!(numbers.item(0).is_none(), "the fields hold `1.5`");
/// assert_eq!(numbers.item(1).unwrap().member("price").unwrap().text(), Some("15e-1"));
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WrittenNumbers {
    text: Option<Box<str>>,
    members: BTreeMap<String, Self>,
    items: BTreeMap<usize, Self>,
}

impl WrittenNumbers {
    /// Returns the text of this value if it is a number, and `None` for an array or an object.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Returns the numbers within a member of this object.
    #[must_use]
    pub fn member(&self, key: &str) -> Option<&Self> {
        self.members.get(key)
    }

    /// Returns the numbers within an element of this array.
    #[must_use]
    pub fn item(&self, index: usize) -> Option<&Self> {
        self.items.get(&index)
    }

    pub(crate) fn forget(&mut self, key: &str) {
        self.members.remove(key);
    }

    /// Collects the texts of the respelled numbers in `value`, and sets each in `value` to its
    /// nearest float, or to a string of its text if it fits no float.
    fn take(tape: &Tape<'_>, node: usize, value: &mut Value) -> Option<Self> {
        let mut found = Self::default();
        match (tape.kind(node)?, value) {
            (Kind::Object, Value::Object(object)) => {
                for (key, member) in tape.members(node) {
                    let key = tape.string(key);
                    let value = object.get_mut(&*key);
                    if let Some(written) = value.and_then(|value| Self::take(tape, member, value)) {
                        found.members.insert(key.into_owned(), written);
                    }
                }
            }
            (Kind::Array, Value::Array(array)) => {
                for ((index, item), value) in tape.items(node).enumerate().zip(array) {
                    if let Some(written) = Self::take(tape, item, value) {
                        found.items.insert(index, written);
                    }
                }
            }
            (Kind::Number, value) if is_respelled(tape.text(node)) => {
                let text = tape.text(node);
                let nearest = serde_json::from_str::<Number>(text).ok();
                *value = nearest.map_or_else(|| text.into(), Value::Number);
                found.text = Some(text.into());
            }
            _ => {}
        }
        let is_empty = found.text.is_none() && found.members.is_empty() && found.items.is_empty();
        (!is_empty).then_some(found)
    }
}

/// Prints the names of members and omits the numbers, which may be secret.
impl fmt::Debug for WrittenNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrittenNumbers")?;
        f.debug_set().entries(self.members.keys()).finish()
    }
}

/// Reads the fields of an object, and the texts of the numbers that the fields would write
/// differently.
pub(crate) fn read(
    text: &str,
) -> Result<(Map<String, Value>, Option<WrittenNumbers>), serde_json::Error> {
    let spans = respelled_numbers(text);
    let numbers = spans.iter().filter_map(|span| text.get(span.clone()));
    if numbers.into_iter().any(is_beyond_all_formats) {
        return Err(ser::Error::custom(format_args!(
            "a number has an exponent of more than {MAX_EXPONENT_DIGITS} digits"
        )));
    }
    if spans.is_empty() {
        return parse::<Fields>(text).map(|Fields(fields)| (fields, None));
    }
    // `serde_json` rejects a number that is too large for a float, so each respelled number is
    // first replaced by a zero, padded to the same length. Lines and columns in errors stay
    // correct.
    let mut plain = String::with_capacity(text.len());
    let mut end = 0;
    for span in spans {
        plain.push_str(text.get(end..span.start).unwrap_or_default());
        plain.push('0');
        plain.extend(std::iter::repeat_n(' ', span.len().saturating_sub(1)));
        end = span.end;
    }
    plain.push_str(text.get(end..).unwrap_or_default());
    let Fields(fields) = parse(&plain)?;
    let mut value = Value::Object(fields);
    let written = WrittenNumbers::take(&Tape::parse(text), Tape::ROOT, &mut value);
    match value {
        Value::Object(fields) => Ok((fields, written)),
        _ => Err(ser::Error::custom("the context is not an object")),
    }
}

/// The widest formats of IEEE 754 hold less than 1e9999.
const MAX_EXPONENT_DIGITS: usize = 4;

fn is_beyond_all_formats(number: &str) -> bool {
    let exponent = number
        .split_once(['e', 'E'])
        .map_or("", |(_, exponent)| exponent);
    exponent.trim_start_matches(['+', '-', '0']).len() > MAX_EXPONENT_DIGITS
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

struct Fields(Map<String, Value>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        unique::object(deserializer).map(Self)
    }
}

/// Returns the byte ranges of respelled numbers in a text, which need not be valid JSON.
fn respelled_numbers(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        let length = match byte {
            b'"' => 1 + string_length(rest),
            b'-' | b'0'..=b'9' => 1 + rest.iter().take_while(|byte| is_of_number(**byte)).count(),
            _ => 1,
        };
        let span = at..at + length;
        if *byte != b'"' && text.get(span.clone()).is_some_and(is_respelled) {
            spans.push(span);
        }
        at += length;
    }
    spans
}

/// Returns the length of the rest of a string, including its closing quote.
fn string_length(rest: &[u8]) -> usize {
    let mut escaped = false;
    let end = rest.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 1)
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

/// Returns whether the text is a JSON number that would change if it were read and written again:
/// by `serde_json`, or as canonical JSON, which writes a float without a known text as Python does.
fn is_respelled(text: &str) -> bool {
    const SURE_DIGITS: usize = 18;
    let starts_as_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let is_plain = text.len() <= SURE_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain || !starts_as_number || parse::<IgnoredAny>(text).is_err() {
        return false;
    }
    let is_same = parse::<Number>(text).is_ok_and(|number| number.to_string() == text);
    !is_same || python_spelling(text).is_some()
}

/// A value that serializes its numbers with their kept texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact<'a> {
    value: &'a Value,
    written: Option<&'a WrittenNumbers>,
}

impl Exact<'_> {
    pub(crate) fn serialize_object<S: Serializer>(
        object: &Map<String, Value>,
        written: &WrittenNumbers,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(object.iter().map(|(key, value)| {
            let written = written.member(key);
            (key, Exact { value, written })
        }))
    }
}

impl Serialize for Exact<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(written) = self.written else {
            return self.value.serialize(serializer);
        };
        match (written.text(), self.value) {
            (Some(text), _) => {
                let raw = serde_json::from_str::<&RawValue>(text);
                raw.map_err(ser::Error::custom)?.serialize(serializer)
            }
            (None, Value::Object(object)) => Self::serialize_object(object, written, serializer),
            (None, Value::Array(array)) => {
                serializer.collect_seq(array.iter().enumerate().map(|(index, value)| {
                    let written = written.item(index);
                    Exact { value, written }
                }))
            }
            (None, value) => value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::Context;
    use crate::wire::{execution_hash, execution_hash_of_text};

    fn parsed(text: &str) -> Context {
        Context::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_number_is_kept_where_the_fields_hold_another_text() {
        let kept = |text: &str| {
            let context = parsed(&format!(r#"{{"a": [true, {text}]}}"#));
            let numbers = context.written_numbers()?.member("a")?.item(1)?;
            numbers.text().map(str::to_owned)
        };
        for text in ["0", "-7", "3.0", "19.99", "18446744073709551615", "-0.25"] {
            assert_eq!(kept(text), None, "{text}");
        }
        for text in [
            "3e0",
            "-0",
            "18446744073709551616",
            "9223372036854775807.0",
            "922337203685477.5807",
            "0.30000000000000000001",
            "1e9999",
            "-1E-0000000000000009999",
            // Python writes `1e-05` and `1e-07`.
            "0.00001",
            "1e-7",
        ] {
            assert_eq!(kept(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_context_is_written_and_hashed_with_the_numbers_that_were_read() {
        let text = r#"{"b":[1.0,{"c":9223372036854775807.0}],"a":1e400,"d":"1e9","e":1e16}"#;
        let context = parsed(text);
        assert_eq!(
            context.canonical_json(),
            r#"{"a":1e400,"b":[1.0,{"c":9223372036854775807.0}],"d":"1e9","e":1e16}"#
        );
        let json = serde_json::to_string(&context).unwrap();
        assert_eq!(parsed(&json), context);
        let hash = execution_hash_of_text("a", "b", text).unwrap();
        assert_eq!(execution_hash("a", "b", &context), hash);
        assert_ne!(parsed(&text.replace("807.0", "806.0")), context);
    }

    #[test]
    fn a_new_value_takes_the_place_of_a_kept_number() {
        let mut context = parsed(r#"{"a": 1e400, "b": 3e0}"#);
        assert_eq!(context.get("a"), Some(&json!("1e400")));
        context.insert("a", &1).unwrap();
        assert_eq!(context.canonical_json(), r#"{"a":1,"b":3e0}"#);
    }

    #[test]
    fn a_text_that_is_no_object_is_refused_with_its_place() {
        for (text, why) in [
            ("[1e400]", "line 1"),
            (r#"{"a": 1e400, "a": 2}"#, "the key `a` is repeated"),
            (
                r#"{"b": [{"a": 1, "a": 1e400}]}"#,
                "the key `a` is repeated",
            ),
            (r#"{"a": 01}"#, "line 1 column 8"),
            (r#"{"a": 1e400, "b": 1.}"#, "line 1 column 21"),
            (r#"{"a": 1e10000}"#, "an exponent of more than 4 digits"),
            (
                r#"{"a": [{"b": 0.1E-99999999999999999999}]}"#,
                "an exponent of more",
            ),
            (r#"{"a": 1e400 2}"#, "line 1 column 13"),
            (r#"{"a": "1e400}"#, "line 1"),
            ("1e400", "line 1"),
        ] {
            let error = Context::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = format!(
            "{{\"a\":{}1e400{}}}",
            "[".repeat(10_000),
            "]".repeat(10_000)
        );
        assert!(Context::parse(&deep).is_err());
    }

    #[test]
    fn nothing_of_a_number_is_printed() {
        let context = parsed(r#"{"a": 271828e400}"#);
        let printed = format!("{context:?} {:?}", context.written_numbers());
        assert!(!printed.contains("271828"), "{printed}");
    }

    proptest::proptest! {
        #[test]
        fn a_context_has_the_hash_of_its_text_however_its_numbers_are_spelled(
            numbers in proptest::collection::vec(
                "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?",
                1..5,
            ),
        ) {
            let text = format!(r#"{{"a":[{}]}}"#, numbers.join(","));
            let hash = execution_hash_of_text("a", "b", &text).unwrap();
            proptest::prop_assert_eq!(execution_hash("a", "b", &parsed(&text)), hash, "{}", text);
            proptest::prop_assert_eq!(parsed(&text).canonical_json(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_text_is_read_as_serde_json_reads_it(
            text in "\\{\"a\":[\\[\\]{},:\"ab0-9. eE\\\\u+-]{0,24}\\}"
        ) {
            let plain = serde_json::from_str::<Context>(&text).ok();
            let read = Context::parse(&text).ok();
            if let Some(plain) = plain {
                let read = read.map(|read| read.as_object().clone());
                proptest::prop_assert_eq!(read.as_ref(), Some(plain.as_object()));
            } else if read.is_some() {
                proptest::prop_assert!(text.contains(['e', 'E']), "{}", text);
            }
        }
    }
}
