//! The keys of permits: a digest of the token for stores, a public id for people.

use std::fmt;
use std::str::FromStr;

use atlasent::wire::PermitToken;
use base16ct::lower;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The key of a permit in stores: a digest of its token, so that a stolen store contains no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PermitKey([u8; 32]);

impl PermitKey {
    /// Returns the key of a token.
    #[must_use]
    pub fn from_token(token: &PermitToken) -> Self {
        Self(Sha256::digest(token.expose()).into())
    }

    /// Parses the key from a permit's hash, as [`to_hex`](Self::to_hex) writes it.
    #[must_use]
    pub fn from_hex(hash: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let read = lower::decode(hash, &mut digest).ok()?;
        (read.len() == digest.len()).then_some(Self(digest))
    }

    /// Wraps a digest.
    #[must_use]
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the permit's hash as answers and audit events have it: the digest in lower-case hex.
    #[must_use]
    pub fn to_hex(self) -> String {
        lower::encode_string(&self.0)
    }

    /// Returns the public id of the permit.
    #[must_use]
    pub fn id(&self) -> PermitId {
        let [half, ..] = self.0.as_chunks().0 else {
            return PermitId([0; 16]);
        };
        PermitId(*half)
    }
}

impl Serialize for PermitKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for PermitKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hash = String::deserialize(deserializer)?;
        let expected = "the hash of a permit: 64 lower-case hex digits";
        Self::from_hex(&hash).ok_or_else(|| D::Error::custom(expected))
    }
}

/// The public id of a permit: `pt_` and the first 32 hex digits of its hash. It is not a token and
/// cannot be verified (contract, part D).
///
/// ```
/// use atlasent::wire::PermitToken;
/// use atlasent_authority::permits::PermitId;
/// use atlasent_authority::store::PermitKey;
///
/// let key = PermitKey::from_token(&PermitToken::new("abc")?);
/// assert_eq!(key.id().to_string(), "pt_ba7816bf8f01cfea414140de5dae2223");
/// assert_eq!("pt_ba7816bf8f01cfea414140de5dae2223".parse(), Ok(key.id()));
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PermitId([u8; 16]);

impl PermitId {
    /// Returns the lowest and the highest key that have this id.
    #[must_use]
    pub fn keys(&self) -> (PermitKey, PermitKey) {
        let key = |rest: u8| {
            let mut key = [rest; 32];
            for (byte, given) in key.iter_mut().zip(self.0) {
                *byte = given;
            }
            PermitKey(key)
        };
        (key(0), key(u8::MAX))
    }
}

impl fmt::Display for PermitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        let digits = lower::encode_str(&self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str("pt_")?;
        f.write_str(digits)
    }
}

impl FromStr for PermitId {
    type Err = InvalidPermitId;

    fn from_str(text: &str) -> Result<Self, InvalidPermitId> {
        let hex = text.strip_prefix("pt_").ok_or(InvalidPermitId)?;
        let mut id = [0; 16];
        let read = lower::decode(hex, &mut id).map_err(|_| InvalidPermitId)?;
        if read.len() == id.len() {
            Ok(Self(id))
        } else {
            Err(InvalidPermitId)
        }
    }
}

/// The error for a text that is not the public id of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permit's id is `pt_` and 32 lower-case hex digits")]
pub struct InvalidPermitId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_the_hash_that_it_writes_and_from_nothing_else() {
        let key = PermitKey::from_token(&PermitToken::new("abc").unwrap());
        assert_eq!(PermitKey::from_hex(&key.to_hex()), Some(key));
        for hash in [
            "",
            "abc",
            &"0".repeat(62),
            &key.to_hex().to_uppercase(),
            &"00".repeat(33),
        ] {
            assert_eq!(PermitKey::from_hex(hash), None, "{hash}");
        }
    }

    #[test]
    fn a_key_does_not_show_the_token() {
        let key = PermitKey::from_token(&PermitToken::new("abc").unwrap());
        assert_eq!(
            key.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn an_id_names_its_key_and_nothing_else_is_an_id() {
        let key = PermitKey::from_token(&PermitToken::new("abc").unwrap());
        let (first, last) = key.id().keys();
        assert!(first <= key && key <= last);
        let id = key.id().to_string();
        for text in [
            "",
            "pt_",
            id.strip_suffix('3').unwrap(),
            &format!("{id}0"),
            &id.to_uppercase(),
            id.strip_prefix("pt_").unwrap(),
        ] {
            assert_eq!(text.parse::<PermitId>(), Err(InvalidPermitId), "{text}");
        }
    }
}
