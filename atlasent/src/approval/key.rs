//! The key of a trusted issuer, and the forms of its signatures.

use base64ct::{Base64Url, Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key that an issuer signs with. The configuration determines its algorithm, never the
/// artifact.
#[derive(Clone)]
pub(super) enum Key {
    /// HMAC with SHA-256 (RFC 2104).
    Hs256(Hmac<Sha256>),
    /// A public key of Ed25519 (RFC 8032).
    Ed25519(VerifyingKey),
}

impl Key {
    /// Reads a key from its algorithm and its bytes in hex. The error continues a sentence that
    /// names the key, and repeats nothing of it.
    pub(super) fn parse(algorithm: &str, hex: &str) -> Result<Self, &'static str> {
        let is_ed25519 = match algorithm {
            "HS256" => false,
            "Ed25519" => true,
            _ => return Err("has an `alg` that is neither `HS256` nor `Ed25519`"),
        };
        let bytes =
            base16ct::mixed::decode_vec(hex).map_err(|_| "has a `key` that is not hexadecimal")?;
        if is_ed25519 {
            let bytes = <[u8; 32]>::try_from(bytes)
                .map_err(|_| "has a `key` of Ed25519 that is not 32 bytes long")?;
            let key = VerifyingKey::from_bytes(&bytes)
                .map_err(|_| "has a `key` that is not a public key of Ed25519")?;
            // Under a key of small order, one signature is valid for many texts.
            return match key.is_weak() {
                true => Err("has a weak `key`: anyone can sign for it"),
                false => Ok(Self::Ed25519(key)),
            };
        }
        if bytes.is_empty() {
            return Err("has an empty `key`");
        }
        Hmac::new_from_slice(&bytes)
            .map(Self::Hs256)
            .map_err(|_| "has a `key` that is too long")
    }

    /// Whether the signature over this message is the key's.
    ///
    /// The forms of a signature are hex in either case and, of Ed25519, base64url with or without
    /// its padding. Nothing else decodes: no white space, no other alphabet, no bits beyond the
    /// last byte. The forms decode to the same bytes, and nothing is derived from the text of a
    /// signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        match self {
            Self::Hs256(key) => decode_hex::<32>(signature).is_some_and(|mac| {
                // Compares in constant time.
                key.clone().chain_update(message).verify_slice(&mac).is_ok()
            }),
            Self::Ed25519(key) => decode_hex::<64>(signature)
                .or_else(|| decode_base64(signature))
                .is_some_and(|bytes| {
                    (key.verify_strict(message, &Signature::from_bytes(&bytes))).is_ok()
                }),
        }
    }
}

fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let decoded = base16ct::mixed::decode(text, &mut bytes).ok()?.len();
    (decoded == N).then_some(bytes)
}

fn decode_base64(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    let decoded = match text.ends_with('=') {
        true => Base64Url::decode(text, &mut bytes).ok()?.len(),
        false => Base64UrlUnpadded::decode(text, &mut bytes).ok()?.len(),
    };
    (decoded == bytes.len()).then_some(bytes)
}
