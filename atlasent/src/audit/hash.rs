//! Hashes of payloads, as the SDKs compute them.

use std::borrow::Cow;

use super::MAX_DEPTH;
use super::error::BundleError;
use crate::canonical::{Form, KeyOrder, Kind, Spelling, Tape, sha256_hex};

/// The form of a payload over which its hash is computed.
pub(super) const CANONICAL: Form = Form {
    order: KeyOrder::Sorted,
    spelling: Spelling::AsWritten,
};

/// Whether `hash` is the hash of the payload after `previous`, with numbers either as they were
/// written or as Python spells them.
pub(super) fn has_hash(
    event: &Tape<'_>,
    payload: Option<usize>,
    previous: &str,
    hash: &str,
) -> bool {
    let Some(payload) = payload.filter(|payload| !is_falsy(event, *payload)) else {
        return sha256_hex(&[previous.as_bytes(), b"{}"]) == hash;
    };
    let is = |form: Form| {
        let text = match event.text_in(form, payload) {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(event.to_string_in(form, payload)),
        };
        sha256_hex(&[previous.as_bytes(), text.as_bytes()]) == hash
    };
    let python = Form {
        spelling: Spelling::Python,
        ..CANONICAL
    };
    is(CANONICAL) || (event.is_respelled(payload) && is(python))
}

/// Whether a value is false in Python, such as `0`, `""` and `[]`. The SDKs hash such a payload as
/// if it were `{}`.
fn is_falsy(tape: &Tape<'_>, value: usize) -> bool {
    match tape.kind(value) {
        None | Some(Kind::Null | Kind::False) => true,
        Some(Kind::True) => false,
        Some(Kind::Number) => tape.text(value).parse() == Ok(0.0),
        Some(Kind::String) => tape.text(value) == "\"\"",
        Some(Kind::Array | Kind::Object) => tape.items(value).next().is_none(),
    }
}

/// Rejects values over which no hash can be computed.
pub(super) fn check_value(tape: &Tape<'_>, at: u64, event: Option<u64>) -> Result<(), BundleError> {
    if tape.depth() > MAX_DEPTH {
        return Err(BundleError::TooLarge {
            at,
            event,
            why: format!("a value is nested deeper than {MAX_DEPTH} levels"),
        });
    }
    if tape.has_lone_surrogate() {
        return Err(BundleError::Malformed {
            at,
            event,
            why: "a string contains half a surrogate pair in the value".into(),
        });
    }
    Ok(())
}

/// Whether two values are equal, with numbers compared as they were written.
pub(super) fn is_same(tape: &Tape<'_>, one: usize, other: usize) -> bool {
    tape.text(one) == tape.text(other)
        || tape.to_string_in(CANONICAL, one) == tape.to_string_in(CANONICAL, other)
}
