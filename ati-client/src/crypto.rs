//! HS256 and ES256: signing and verifying bytes.
//!
//! `jsonwebtoken` is not used here. Its `encode` and `decode` (11.1.0, `src/encoding.rs`,
//! `src/decoding.rs`) take the signer and the verifier from `CryptoProvider::get_default()`, which
//! is set once for the whole process, and no public function takes one as an argument. A library
//! that sets it decides for the whole program. A library that leaves it unset panics, as does a
//! build in which two crates enable different providers. The tests compare this crate with
//! `jsonwebtoken` in both directions.
//!
//! HMAC comes from the crates `hmac` and `sha2`, which wipe the prepared key when it is dropped.
//! ECDSA comes from `ring`, five times as fast as the implementation in pure Rust.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Error;

/// A key for HMAC with SHA-256 (RFC 7518 §3.2), which signs and verifies.
#[derive(Clone)]
pub(crate) struct Hs256(Hmac<Sha256>);

impl Hs256 {
    pub(crate) fn new(secret: &[u8]) -> Result<Self, Error> {
        // HMAC accepts keys of any length, so this never fails.
        Hmac::new_from_slice(secret)
            .map(Self)
            .map_err(|_| Error::BadSecret {
                reason: "it is too long",
            })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mac = self.0.clone().chain_update(message).finalize();
        mac.into_bytes().to_vec()
    }

    /// Compares in constant time. A truncated signature is invalid.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature).is_ok()
    }
}

/// An uncompressed point of P-256: `04`, x, y.
pub(crate) type Point = [u8; 65];

/// A private key for ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
#[derive(Clone)]
pub(crate) struct Es256Private {
    scalar: Zeroizing<[u8; 32]>,
    public: Es256Public,
}

impl Es256Private {
    pub(crate) fn new(scalar: Zeroizing<[u8; 32]>, public: Point) -> Result<Self, Error> {
        let key = Self {
            scalar,
            public: Es256Public(public),
        };
        key.key_pair(&SystemRandom::new()).ok_or(Error::BadKey {
            reason: "its private and public halves do not belong together",
        })?;
        Ok(key)
    }

    pub(crate) fn public(&self) -> &Es256Public {
        &self.public
    }

    /// Signs `message`. Returns `None` if the system's random number generator fails.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let signature = self.key_pair(&random)?.sign(&random, message).ok()?;
        Some(signature.as_ref().to_vec())
    }

    /// Creates `ring`'s form of the key. Each signature creates its own, since `ring` does not wipe
    /// the key.
    fn key_pair(&self, random: &SystemRandom) -> Option<EcdsaKeyPair> {
        EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            self.scalar.as_slice(),
            &self.public.0,
            random,
        )
        .ok()
    }
}

/// A public key for ECDSA on P-256 with SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Es256Public(Point);

impl Es256Public {
    pub(crate) fn new(point: Point) -> Result<Self, Error> {
        // `ring` checks a point only when it verifies a signature, and then reports a wrong
        // signature. A key agreement checks the point here.
        let random = SystemRandom::new();
        let probe =
            EphemeralPrivateKey::generate(&ECDH_P256, &random).map_err(|_| Error::NoRandomness)?;
        let peer = ring::agreement::UnparsedPublicKey::new(&ECDH_P256, point);
        agree_ephemeral(probe, &peer, |_| ()).map_err(|_| Error::BadKey {
            reason: "it is not a point of P-256",
        })?;
        Ok(Self(point))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

/// The digest of a token or of a token's id, kept in its place.
pub(crate) type Digest = [u8; 32];

/// Returns the SHA-256 of `parts`, each prefixed with its length, so that `["ab", "c"]` and
/// `["a", "bc"]` differ.
pub(crate) fn digest(parts: &[&str]) -> Digest {
    use sha2::Digest as _;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The algorithm that signs a token. The key determines it, never the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: one secret issues and verifies tokens.
    Hs256,
    /// ECDSA on P-256 with SHA-256: a private key issues tokens, its public key verifies them.
    Es256,
}

impl Algorithm {
    /// Returns the name in a token's header, `HS256` or `ES256` (RFC 7518 §3.1).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
