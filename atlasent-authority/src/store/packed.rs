//! JSON texts in few bytes, for what a store keeps in memory.
//!
//! Compact JSON contains no byte below 0x20, so these bytes are free to stand for the strings that
//! events repeat: names, hashes, ids and times. Everything else stays as it is.
//!
//! ```text
//! text    {"context_hash":"44136fa3…8a","created_at":"2026-11-01T09:00:00.000000Z","n":7,…
//! packed  { KEY 5 DIGEST <32 bytes> , KEY 6 TIME <10 bytes> ,"n":7,…
//! ```
//!
//! A time is kept as its 20 digits, two to a byte, and a time that was the last one before as
//! `SAME_TIME`. `unpack` returns exactly the text that was packed.

use std::sync::Arc;

use base16ct::lower;
use memchr::{memchr, memchr2};

/// A string of [`WORDS`], by its place there.
const WORD: u8 = 1;
/// A string of [`WORDS`] and the colon after it.
const KEY: u8 = 2;
/// A string of 64 lower-case hex digits.
const DIGEST: u8 = 3;
/// A string of a UUID in lower case.
const UUID: u8 = 4;
/// A string of a time to the microsecond, in UTC.
const TIME: u8 = 5;
/// A string of the same time as the last one before.
const SAME_TIME: u8 = 6;
/// The first byte of a text that is kept as it is, since it is not compact JSON.
const RAW: u8 = 7;

/// The keys of events and permits, and their most frequent values, the shortest first.
const WORDS: [&str; 58] = [
    "at",
    "id",
    "end",
    "code",
    "deny",
    "live",
    "type",
    "agent",
    "allow",
    "error",
    "grant",
    "local",
    "action",
    "actors",
    "client",
    "failed",
    "issued",
    "key_id",
    "org_id",
    "policy",
    "reason",
    "outcome",
    "Resource",
    "actor_id",
    "consumed",
    "decision",
    "policies",
    "sequence",
    "completed",
    "issued_at",
    "audit_hash",
    "created_at",
    "expires_at",
    "receipt_id",
    "request_id",
    "action_type",
    "consumed_at",
    "duration_ms",
    "environment",
    "occurred_at",
    "permit_hash",
    "resource_id",
    "context_hash",
    "presented_by",
    "evaluate.deny",
    "evaluate.hold",
    "evaluation_id",
    "permit.failed",
    "presented_for",
    "resource_type",
    "evaluate.allow",
    "execution_hash",
    "policy_version",
    "key_environment",
    "permit.verified",
    "permit.cancelled",
    "permit.completed",
    "permit.verify_failed",
];

/// The form of a time: `0` stands for any digit.
const TIME_FORM: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";

/// The form of a UUID: `0` stands for any digit.
const UUID_FORM: &[u8; 36] = b"00000000-0000-0000-0000-000000000000";

/// A JSON text in few bytes. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Arc<[u8]>,
    text_len: usize,
}

impl Packed {
    /// Packs a text. `packed` is scratch space.
    pub(super) fn new(text: &str, packed: &mut Vec<u8>) -> Self {
        packed.clear();
        // The fold has no early exit, so that the compiler can vectorize it.
        let is_control = |found, byte: &u8| found | (*byte < b' ');
        if text.as_bytes().iter().fold(false, is_control) {
            packed.push(RAW);
            packed.extend_from_slice(text.as_bytes());
            return Self::of(packed, text);
        }
        let mut last_time = None;
        let mut rest = text.as_bytes();
        while let Some((before, from)) = split_at_quote(rest) {
            packed.extend_from_slice(before);
            let (string, after) = split_string(from);
            rest = push_string(packed, string, after, &mut last_time);
        }
        packed.extend_from_slice(rest);
        Self::of(packed, text)
    }

    fn of(packed: &[u8], text: &str) -> Self {
        Self {
            bytes: packed.into(),
            text_len: text.len(),
        }
    }

    /// Returns the length of the text in bytes.
    pub(super) fn text_len(&self) -> usize {
        self.text_len
    }

    /// Returns the text.
    #[expect(clippy::expect_used, reason = "the parts of a text are UTF-8")]
    pub(super) fn unpack(&self) -> String {
        String::from_utf8(self.text()).expect("UTF-8")
    }

    fn text(&self) -> Vec<u8> {
        let mut rest = &*self.bytes;
        if let Some((&RAW, text)) = rest.split_first() {
            return text.to_vec();
        }
        let mut text = Vec::with_capacity(self.text_len);
        let mut last_time = TIME_FORM.to_vec();
        while let Some(at) = rest.iter().position(|byte| *byte < b' ') {
            let (plain, from) = rest.split_at(at);
            text.extend_from_slice(plain);
            let (code, from) = from
                .split_first()
                .map_or((0, from), |(code, from)| (*code, from));
            text.push(b'"');
            rest = match code {
                WORD | KEY => {
                    let (place, after) = from.split_first().unwrap_or((&0, from));
                    let word = WORDS.get(usize::from(*place)).copied().unwrap_or_default();
                    text.extend_from_slice(word.as_bytes());
                    after
                }
                DIGEST => {
                    let (digest, after) = from.split_at_checked(32).unwrap_or_default();
                    text.extend_from_slice(lower::encode_string(digest).as_bytes());
                    after
                }
                UUID => {
                    let (id, after) = from.split_at_checked(16).unwrap_or_default();
                    text.extend(fill(UUID_FORM, lower::encode_string(id).bytes()));
                    after
                }
                TIME => {
                    let (digits, after) = from.split_at_checked(10).unwrap_or_default();
                    last_time = fill(TIME_FORM, lower::encode_string(digits).bytes()).collect();
                    text.extend_from_slice(&last_time);
                    after
                }
                _ => {
                    text.extend_from_slice(&last_time);
                    from
                }
            };
            text.push(b'"');
            if code == KEY {
                text.push(b':');
            }
        }
        text.extend_from_slice(rest);
        text
    }
}

/// Splits a text at its first quote. Neither part includes the quote.
fn split_at_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, from) = text.split_at_checked(memchr(b'"', text)?)?;
    Some((before, from.get(1..)?))
}

/// Splits the text after an opening quote at the closing one. Without a closing quote, the string
/// is the whole text.
fn split_string(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut end = 0;
    while let Some(at) = text.get(end..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        end += at;
        if text.get(end) == Some(&b'"') {
            let after = text.get(end + 1..);
            return (text.get(..end).unwrap_or(text), after);
        }
        // Skip a backslash and the character that it escapes.
        end += 2;
    }
    (text, None)
}

/// Returns the place of a string in [`WORDS`].
fn place_of_word(string: &[u8]) -> Option<u8> {
    let order = |word: &&str| {
        let by_length = word.len().cmp(&string.len());
        by_length.then_with(|| word.as_bytes().cmp(string))
    };
    u8::try_from(WORDS.binary_search_by(order).ok()?).ok()
}

/// Adds a string, and returns the text that is left after it.
fn push_string<'t>(
    packed: &mut Vec<u8>,
    string: &'t [u8],
    after: Option<&'t [u8]>,
    last_time: &mut Option<[u8; 10]>,
) -> &'t [u8] {
    let Some(after) = after else {
        packed.push(b'"');
        packed.extend_from_slice(string);
        return b"";
    };
    if let Some(place) = place_of_word(string) {
        let value = after.strip_prefix(b":");
        packed.extend([if value.is_some() { KEY } else { WORD }, place]);
        return value.unwrap_or(after);
    }
    if let Some(digest) = (string.len() == 64).then(|| binary::<32>(string)).flatten() {
        packed.push(DIGEST);
        packed.extend_from_slice(&digest);
    } else if let Some(id) =
        digits(UUID_FORM, string).and_then(|digits: [u8; 32]| binary::<16>(&digits))
    {
        packed.push(UUID);
        packed.extend_from_slice(&id);
    } else if let Some(time) = digits(TIME_FORM, string)
        .filter(|digits: &[u8; 20]| digits.iter().all(u8::is_ascii_digit))
        .and_then(|digits| binary::<10>(&digits))
    {
        match *last_time == Some(time) {
            true => packed.push(SAME_TIME),
            false => {
                packed.push(TIME);
                packed.extend_from_slice(&time);
                *last_time = Some(time);
            }
        }
    } else {
        packed.push(b'"');
        packed.extend_from_slice(string);
        packed.push(b'"');
    }
    after
}

/// Returns the bytes that `N` pairs of lower-case hex digits stand for.
fn binary<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let read = lower::decode(digits, &mut bytes).ok()?;
    (read.len() == N).then_some(bytes)
}

/// Returns the `N` digits of a text that has this form.
fn digits<const N: usize>(form: &[u8], text: &[u8]) -> Option<[u8; N]> {
    if form.len() != text.len() {
        return None;
    }
    let mut digits = [0; N];
    let mut places = digits.iter_mut();
    for (expected, byte) in form.iter().zip(text) {
        match expected {
            b'0' => *places.next()? = *byte,
            expected if expected == byte => {}
            _ => return None,
        }
    }
    Some(digits)
}

/// Returns a text of this form with these digits.
fn fill(form: &[u8], mut digits: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
    form.iter().map(move |byte| match byte {
        b'0' => digits.next().unwrap_or(b'0'),
        other => *other,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_word_is_found() {
        let places = WORDS.map(|word| place_of_word(word.as_bytes()).map(usize::from));
        assert!(places.into_iter().eq((0..WORDS.len()).map(Some)));
    }

    #[test]
    fn an_event_takes_less_than_half_of_its_text() {
        let text = r#"{"action_type":"task.7","actor_id":"billing-bot","context_hash":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","created_at":"2026-11-01T09:00:00.123456Z","decision":"allow","expires_at":"2026-11-01T10:00:00.123456Z","id":"0b1c2d3e-4f50-4617-8293-a4b5c6d7e8f9","occurred_at":"2026-11-01T09:00:00.123456Z","org_id":"local","permit_hash":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","policies":["task.7-0"],"policy_version":"494db7d7ba0b473840927d1febf48edd770e831178d2bd1ff7a3b80afbeddd7a","reason":"allowed by policy `task.7-0`","resource_id":"account-12","resource_type":"Resource","sequence":8,"type":"evaluate.allow"}"#;
        let packed = Packed::new(text, &mut Vec::new());
        assert_eq!(packed.unpack(), text);
        let length = packed.bytes.len();
        assert!(length * 2 < text.len(), "{length} of {}", text.len());
    }

    /// Strings that look like what is packed, and some that nearly do.
    fn string() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
            "[0-9a-f]{64}",
            "[0-9a-fA-F]{63,65}",
            "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
            "[0-9a-fG]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f-]{4}-[0-9a-f]{12}",
            "[0-9]{4}(-[0-9]{2}){2}T([0-9]{2}:){2}[0-9]{2}\\.[0-9]{6}Z",
            "[0-9]{4}(-[0-9a]{2}){2}T([0-9]{2}:){2}[0-9]{2}\\.[0-9]{6}[Zz]",
            Just("2026-11-01T09:00:00.000000Z".to_owned()),
            ".{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn an_object_comes_out_as_it_went_in(
            members in prop::collection::vec((string(), string(), prop::collection::vec(string(), 0..3)), 0..8),
        ) {
            let members = members.iter().map(|(key, text, list)| {
                format!("{}:{}", serde_json::json!(key), match list.len() {
                    0 => serde_json::json!(text),
                    1 => serde_json::json!({ text.clone(): list }),
                    _ => serde_json::json!(list),
                })
            });
            let text = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
            prop_assert_eq!(Packed::new(&text, &mut b"before".to_vec()).unpack(), text);
        }

        #[test]
        fn any_text_comes_out_as_it_went_in(
            parts in prop::collection::vec(prop_oneof![string(), r#"["\\:,{}\n\u{1}-\u{8}]{0,3}"#], 0..9),
        ) {
            let text = parts.concat();
            prop_assert_eq!(Packed::new(&text, &mut b"before".to_vec()).unpack(), text);
        }
    }
}
