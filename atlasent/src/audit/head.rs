//! The signed head of a chain. It is small enough to keep elsewhere, and reveals later whether
//! events were removed.

use ed25519_dalek::Signature;
use serde::{Deserialize, Deserializer, Serialize};

use super::event::GENESIS_HASH;
use super::keys::TrustedKeys;
use super::signature::decode;
use crate::json::object::Object;

/// Keeps a signature over a head from being valid for any other text that the same key signs.
const FORMAT: &str = "atlasent.audit-head.v1";

/// The maximum length of each text of a head, in characters.
const MAX_TEXT_CHARS: usize = 512;

/// The head of a chain at one moment, signed by the authority that keeps the chain.
///
/// Keep it where that authority cannot write. A later export has to contain or follow it:
/// [`BundleVerifier::expect_head`](super::BundleVerifier::expect_head) checks that. The signature
/// (Ed25519, base64url without padding) is over the compact JSON of `format`, `hash`, `org_id`,
/// `sequence`, `signed_at` and `signing_key_id`, in this order.
///
/// ```
/// use atlasent::audit::{SignedHead, TrustedKeys};
///
/// let head: SignedHead = serde_json::from_str(r#"{"format":"atlasent.audit-head.v1","org_id":"local","sequence":7,
///     "hash":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","signed_at":"2026-11-01T09:00:00Z",
///     "signing_key_id":"sig_0011223344556677","signature":"AAAA"}"#)?;
/// assert_eq!(head.sequence, 7);
/// assert!(head.verify(&TrustedKeys::new()).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedHead {
    /// The organization that owns the chain.
    pub org_id: String,
    /// The sequence number of the chain's last event; 0 for a chain without events.
    pub sequence: u64,
    /// The hash of the chain's last event; 64 zeros for a chain without events.
    pub hash: String,
    /// The time of the signature (ISO 8601).
    pub signed_at: String,
    /// The id of the key that made the signature.
    pub signing_key_id: String,
    /// The Ed25519 signature in base64url.
    pub signature: String,
    format: Format,
}

/// The name and version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[default]
    #[serde(rename = "atlasent.audit-head.v1")]
    V1,
}

/// The reason why a signed head was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The set of trusted keys is empty.
    #[error("the signed head cannot be checked without a trusted public key: add one")]
    NoKeys,
    /// The signature is not valid under any of this many trusted keys.
    #[error("the signature of the head is not valid under any of {0} trusted public key(s)")]
    NotSigned(usize),
}

impl SignedHead {
    /// Creates a head without a signature.
    #[must_use]
    pub fn unsigned(
        org_id: impl Into<String>,
        sequence: u64,
        hash: impl Into<String>,
        signed_at: impl Into<String>,
        signing_key_id: impl Into<String>,
    ) -> Self {
        Self {
            org_id: org_id.into(),
            sequence,
            hash: hash.into(),
            signed_at: signed_at.into(),
            signing_key_id: signing_key_id.into(),
            signature: String::new(),
            format: Format::V1,
        }
    }

    /// Returns the bytes that the signature covers.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Signed<'a> {
            format: &'a str,
            hash: &'a str,
            org_id: &'a str,
            sequence: u64,
            signed_at: &'a str,
            signing_key_id: &'a str,
        }
        let signed = Signed {
            format: FORMAT,
            hash: &self.hash,
            org_id: &self.org_id,
            sequence: self.sequence,
            signed_at: &self.signed_at,
            signing_key_id: &self.signing_key_id,
        };
        // Serializing texts and a number into memory cannot fail. If it did, `verify` would reject
        // the empty bytes.
        serde_json::to_vec(&signed).unwrap_or_default()
    }

    /// Checks the signature, and returns the id of the trusted key that made it.
    ///
    /// # Errors
    ///
    /// [`HeadError`] when no trusted key made the signature.
    pub fn verify<'a>(&self, keys: &'a TrustedKeys) -> Result<&'a str, HeadError> {
        if keys.is_empty() {
            return Err(HeadError::NoKeys);
        }
        let refused = HeadError::NotSigned(keys.len());
        let bytes = self.signed_bytes();
        let signature = decode(&self.signature).ok();
        let signature = signature.and_then(|signature| Signature::from_slice(&signature).ok());
        let (Some(signature), false) = (signature, bytes.is_empty()) else {
            return Err(refused);
        };
        let good =
            (keys.all().iter()).find(|key| key.key.verify_strict(&bytes, &signature).is_ok());
        good.map(|key| &*key.id).ok_or(refused)
    }
}

impl<'de> Deserialize<'de> for SignedHead {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        #[derive(Deserialize)]
        struct Wire {
            format: Format,
            org_id: String,
            sequence: u64,
            hash: String,
            signed_at: String,
            signing_key_id: String,
            signature: String,
        }
        let Object(wire) = Object::<Wire>::deserialize(deserializer)?;
        let is_hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if wire.hash.len() != GENESIS_HASH.len() || !wire.hash.bytes().all(is_hex) {
            return Err(D::Error::custom("`hash` is not 64 lower-case hex digits"));
        }
        let texts = [
            ("org_id", &wire.org_id),
            ("signed_at", &wire.signed_at),
            ("signing_key_id", &wire.signing_key_id),
            ("signature", &wire.signature),
        ];
        for (name, text) in texts {
            if text.chars().count() > MAX_TEXT_CHARS {
                return Err(D::Error::custom(format_args!(
                    "`{name}` is longer than {MAX_TEXT_CHARS} characters"
                )));
            }
        }
        Ok(Self {
            org_id: wire.org_id,
            sequence: wire.sequence,
            hash: wire.hash,
            signed_at: wire.signed_at,
            signing_key_id: wire.signing_key_id,
            signature: wire.signature,
            format: wire.format,
        })
    }
}
