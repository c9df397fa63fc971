//! The two ways to sign, HS256 and ES256, on bytes.
//!
//! `jsonwebtoken` is not used here. Its `encode` and `decode` (11.1.0, `src/encoding.rs`,
//! `src/decoding.rs`) take the signer and the verifier from `CryptoProvider::get_default()`, which
//! is set once for the whole process, and none of its public functions takes one as an argument. A
//! library that sets it decides for the program that it is a part of. One that leaves it unset
//! panics, as does a build in which two crates enable different providers. The tests compare this
//! crate with it in both directions.
//!
//! HMAC is of the crates `hmac` and `sha2`, which wipe the prepared key when it is dropped. ECDSA
//! is `ring`'s, five times as fast as the one in pure Rust.

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

/// HMAC with SHA-256 (RFC 7518 §3.2), which signs and verifies.
#[derive(Clone)]
pub(crate) struct Hs256(Hmac<Sha256>);

impl Hs256 {
    pub(crate) fn new(secret: &[u8]) -> Result<Self, Error> {
        // HMAC takes keys of any length, so this does not fail.
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

    /// In constant time, and of the full length only.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature).is_ok()
    }
}

/// A point of P-256, uncompressed: `04`, x, y.
pub(crate) type Point = [u8; 65];

/// The private half of ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
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

    /// `None` if the system has no random numbers.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let signature = self.key_pair(&random)?.sign(&random, message).ok()?;
        Some(signature.as_ref().to_vec())
    }

    /// As `ring` wants it. Made for each signature, since `ring` does not wipe it.
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

/// The public half.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Es256Public(Point);

impl Es256Public {
    pub(crate) fn new(point: Point) -> Result<Self, Error> {
        // `ring` looks at a point only when it is used, and then says no more than that the
        // signature is wrong. A key agreement is such a use.
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

/// A digest of what has to be recognized and must not be kept: tokens and their ids.
pub(crate) type Digest = [u8; 32];

/// The SHA-256 of `parts`, each with its length, so that no two lists have the same.
pub(crate) fn digest(parts: &[&str]) -> Digest {
    use sha2::Digest as _;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The algorithm that tokens are signed with. The key fixes it; a token has no say in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: a key that validates tokens can issue them too.
    Hs256,
    /// ECDSA on P-256 with SHA-256: issued with a private key, validated with the public one.
    Es256,
}

impl Algorithm {
    /// `HS256` or `ES256`, as a token's header has it (RFC 7518 §3.1).
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
