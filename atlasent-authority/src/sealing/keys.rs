//! The keys that seal and open what approvers see.

use std::fmt;
use std::io;
use std::path::Path;

use atlasent::Error;
use atlasent::error::{Code, Failure};
use base64ct::{Base64, Encoding};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::files;
use crate::ledger::approval::SealedText;
use crate::ledger::replay::random_bits;

/// The largest key file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The longest id of a key, in characters.
const MAX_ID: usize = 64;

/// The keys that seal and open what approvers see. The first key seals, and every key opens.
///
/// To rotate, put a new key on the first line, and keep the old ones for as long as decisions that
/// they sealed are kept: 30 days after a decision's time is over.
///
/// ```
/// use atlasent_authority::sealing::SealingKeys;
///
/// // In practice: `echo "2026-11 $(openssl rand -base64 32)" > sealing.keys`.
/// let keys = SealingKeys::parse(
///     "# id, then 32 random bytes in Base64
///      2026-11 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
/// )?;
/// assert_eq!(keys.active_key_id(), "2026-11");
///
/// let error = SealingKeys::parse("2026-11 MDEyMzQ1Njc4OWFiY2RlZg==").unwrap_err();
/// assert_eq!(error.to_string(), "line 1: the key has 16 bytes, and must have 32");
/// # Ok::<(), atlasent_authority::sealing::InvalidSealingKeys>(())
/// ```
pub struct SealingKeys {
    first: SealingKey,
    others: Vec<SealingKey>,
}

struct SealingKey {
    id: String,
    key: LessSafeKey,
}

/// Why a text holds no sealing keys. It names the line, and shows no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", line_prefix(*line))]
pub struct InvalidSealingKeys {
    /// The line, from 1. Unset if the text as a whole is invalid.
    line: Option<usize>,
    problem: String,
}

fn line_prefix(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: "))
        .unwrap_or_default()
}

impl SealingKeys {
    /// Parses keys: one on each line, an id and 32 bytes in Base64 with a space between. Empty
    /// lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    ///
    /// [`InvalidSealingKeys`] names the line that is invalid, or says that no key is there.
    pub fn parse(text: &str) -> Result<Self, InvalidSealingKeys> {
        let mut keys: Vec<SealingKey> = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let invalid = |problem: String| InvalidSealingKeys {
                line: Some(place + 1),
                problem,
            };
            let key = SealingKey::parse(line).map_err(invalid)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(invalid(format!("the id `{}` has a key already", key.id)));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| InvalidSealingKeys {
            line: None,
            problem: "it has no key: write an id and 32 random bytes in Base64 on a line".into(),
        })?;
        Ok(Self {
            first,
            others: keys.collect(),
        })
    }

    /// Reads keys from a file: see [`parse`](Self::parse).
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is larger than 64 KiB, or holds no valid keys.
    pub fn from_file(path: impl AsRef<Path>) -> io::Result<Self> {
        let (bytes, _) = files::read(path.as_ref(), MAX_FILE)?;
        let bytes = Zeroizing::new(bytes);
        let invalid = |error: InvalidSealingKeys| io::Error::new(io::ErrorKind::InvalidData, error);
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            invalid(InvalidSealingKeys {
                line: None,
                problem: "it is not UTF-8".to_owned(),
            })
        })?;
        Self::parse(text).map_err(invalid)
    }

    /// Returns the id of the key that seals.
    #[must_use]
    pub fn active_key_id(&self) -> &str {
        &self.first.id
    }

    /// Encrypts a text. It opens only with the same `bound_to`.
    pub(super) fn seal(&self, text: &str, bound_to: &str) -> Result<SealedText, Error> {
        let random = random_bits()?;
        let (nonce, _) = random
            .split_first_chunk::<NONCE_LEN>()
            .ok_or_else(cannot_seal)?;
        let mut sealed = text.as_bytes().to_vec();
        let tag = (self.first.key)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(bound_to),
                &mut sealed,
            )
            .map_err(|_| cannot_seal())?;
        let whole = [nonce.as_slice(), sealed.as_slice(), tag.as_ref()].concat();
        Ok(SealedText {
            key_id: self.first.id.clone(),
            sealed: Base64::encode_string(&whole),
        })
    }

    /// Decrypts a text. `None` if its key is not here, if the text was changed, or if it is bound
    /// to something else.
    pub(super) fn open(&self, sealed: &SealedText, bound_to: &str) -> Option<String> {
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        let key = keys.find(|key| key.id == sealed.key_id)?;
        let mut whole = Base64::decode_vec(&sealed.sealed).ok()?;
        let (nonce, text) = whole.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.key.open_in_place(nonce, Aad::from(bound_to), text);
        String::from_utf8(opened.ok()?.to_vec()).ok()
    }
}

fn cannot_seal() -> Error {
    Failure::new(Code::ServerError, "what approvers see cannot be sealed").into()
}

impl SealingKey {
    fn parse(line: &str) -> Result<Self, String> {
        let (id, encoded) = line
            .split_once(char::is_whitespace)
            .ok_or("write an id and a key in Base64, with a space between")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if id.len() > MAX_ID || !id.chars().all(is_plain) {
            let allowed = "letters, digits, `-`, `_` and `.`";
            return Err(format!(
                "the id must have at most {MAX_ID} characters: {allowed}"
            ));
        }
        let bytes = Base64::decode_vec(encoded.trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| "the key is not Base64")?;
        let length = bytes.len();
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| format!("the key has {length} bytes, and must have 32"))?;
        Ok(Self {
            id: id.to_owned(),
            key: LessSafeKey::new(key),
        })
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKeys")
            .field("active_key_id", &self.active_key_id())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: &str = "a MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const SECOND: &str = "b QUJDREVGR0hJSktMTU5PUEFCQ0RFRkdISUpLTE1OT1A=";

    fn keys(lines: &[&str]) -> SealingKeys {
        SealingKeys::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn a_sealed_text_opens_with_its_key_after_a_rotation() {
        let sealed = keys(&[FIRST]).seal("secret", "row").unwrap();
        assert_eq!(
            keys(&[SECOND, FIRST]).open(&sealed, "row").as_deref(),
            Some("secret")
        );
        assert_eq!(keys(&[SECOND]).open(&sealed, "row"), None);
        // Another key of the same id.
        let other = SECOND.replace("b ", "a ");
        assert_eq!(keys(&[&other]).open(&sealed, "row"), None);
    }

    #[test]
    fn the_same_text_is_never_sealed_alike() {
        let keys = keys(&[FIRST]);
        let first = keys.seal("secret", "row").unwrap();
        assert_ne!(first, keys.seal("secret", "row").unwrap());
    }

    #[test]
    fn an_invalid_line_is_named_without_its_key() {
        let long = "x".repeat(65);
        for (text, expected) in [
            (
                String::new(),
                "it has no key: write an id and 32 random bytes in Base64 on a line",
            ),
            (
                "# none".into(),
                "it has no key: write an id and 32 random bytes in Base64 on a line",
            ),
            (
                format!("\n{FIRST}\nb"),
                "line 3: write an id and a key in Base64, with a space between",
            ),
            ("a hunter2!".into(), "line 1: the key is not Base64"),
            (
                "a aGVsbG8=".into(),
                "line 1: the key has 5 bytes, and must have 32",
            ),
            (
                format!("{FIRST}\n{FIRST}"),
                "line 2: the id `a` has a key already",
            ),
            (
                FIRST.replacen('a', &long, 1),
                "line 1: the id must have at most 64 characters: letters, digits, `-`, `_` and `.`",
            ),
        ] {
            assert_eq!(SealingKeys::parse(&text).unwrap_err().to_string(), expected);
        }
        let debug = format!("{:?}", keys(&[FIRST]));
        assert_eq!(debug, r#"SealingKeys { active_key_id: "a", .. }"#);
    }

    proptest! {
        #[test]
        fn a_sealed_text_opens_unchanged_and_never_changed(
            text in any::<String>(),
            bound_to in "[a-z]{0,20}",
            place in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let keys = keys(&[FIRST, SECOND]);
            let sealed = keys.seal(&text, &bound_to).unwrap();
            prop_assert_eq!(keys.open(&sealed, &bound_to), Some(text));
            prop_assert_eq!(keys.open(&sealed, &format!("{bound_to}x")), None);
            let mut bytes = Base64::decode_vec(&sealed.sealed).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            let changed = SealedText { sealed: Base64::encode_string(&bytes), ..sealed.clone() };
            prop_assert_eq!(keys.open(&changed, &bound_to), None);
            for length in [0, NONCE_LEN - 1, NONCE_LEN, bytes.len() - 1] {
                let cut = SealedText {
                    sealed: Base64::encode_string(&bytes[..length]),
                    ..sealed.clone()
                };
                prop_assert_eq!(keys.open(&cut, &bound_to), None);
            }
        }
    }
}
