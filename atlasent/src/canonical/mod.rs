//! Canonical JSON and SHA-256. [`execution_hash`](crate::wire::execution_hash) and the audit chain
//! hash it.
//!
//! The contract defines the form: compact, keys sorted by code point at every depth, strings with
//! only the escapes that JSON requires, numbers as they were written. It is made from JSON text and
//! not from parsed values, because parsing recurses and loses how numbers were written. Values that
//! are already parsed, such as a [`Context`](crate::Context), have their floats written as the
//! Python SDK writes them, in the hash and on the wire.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use sha2::{Digest, Sha256};

mod number;
mod tape;
mod write;

pub(crate) use number::{PythonFloats, python_spelling};
pub(crate) use tape::{Kind, Tape};
pub(crate) use write::{Form, KeyOrder, Spelling};

/// Returns the canonical JSON of a parsed value.
///
/// With [`Spelling::Python`], floats are spelled as Python spells them. With
/// [`Spelling::AsWritten`], so are floats that serialize as floats, and numbers that serialize as
/// their kept text stay as that text.
pub(crate) fn canonical_json(value: &impl Serialize, spelling: Spelling) -> String {
    let json = written(value, spelling);
    canonical(&Tape::parse(&json), spelling).into_owned()
}

/// Returns the SHA-256 of [`canonical_json`].
pub(crate) fn canonical_digest(value: &impl Serialize, spelling: Spelling) -> [u8; 32] {
    let json = written(value, spelling);
    Sha256::digest(&*canonical(&Tape::parse(&json), spelling)).into()
}

/// Returns the SHA-256 of the compact JSON of a value, keys in the order of its fields. The text is
/// hashed as it is written.
#[expect(
    clippy::expect_used,
    reason = "string keys, finite numbers and a hash as the sink: serializing cannot fail"
)]
pub(crate) fn digest_as_written(value: &(impl Serialize + ?Sized)) -> [u8; 32] {
    let mut writer = HashWriter(Sha256::new());
    serde_json::to_writer(&mut writer, value).expect("JSON values serialize to JSON");
    writer.0.finalize().into()
}

/// Hashes what is written to it.
struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(value: &impl Serialize, spelling: Spelling) -> String {
    match spelling {
        Spelling::Python => to_string(value),
        Spelling::AsWritten => with_python_floats(value),
    }
}

/// Returns the lower-case hex SHA-256 of the concatenation of `parts`.
pub(crate) fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    base16ct::lower::encode_string(&hasher.finalize())
}

/// Returns the canonical form of a JSON text, without a copy if the text already has it.
pub(crate) fn canonical<'a>(tape: &Tape<'a>, spelling: Spelling) -> Cow<'a, str> {
    let form = Form {
        order: KeyOrder::Sorted,
        spelling,
    };
    match tape.text_in(form, Tape::ROOT) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(tape.to_string_in(form, Tape::ROOT)),
    }
}

#[expect(
    clippy::expect_used,
    reason = "string keys, finite numbers and a `Vec` as the sink: serializing cannot fail"
)]
fn with_python_floats(value: &impl Serialize) -> String {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, PythonFloats);
    (value.serialize(&mut serializer)).expect("JSON values serialize to JSON");
    String::from_utf8(json).expect("JSON is UTF-8")
}

/// Returns the compact JSON of a value, keys in the order of its fields.
#[expect(
    clippy::expect_used,
    reason = "string keys, finite numbers and a `String` as the sink: serializing cannot fail"
)]
pub(crate) fn to_string(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("JSON values serialize to JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_lower_case_hex_over_all_parts() {
        assert_eq!(
            sha256_hex(&[b"a", b"bc"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
