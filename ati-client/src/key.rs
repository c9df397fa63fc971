//! The keys that tokens are issued and validated with.

use std::fmt;

use crate::crypto::{Es256Private, Es256Public, Hs256};
use crate::{Algorithm, Error, env, pem, secret};

/// What tokens are issued with: a secret for HS256, or a private key on P-256 for ES256.
///
/// It shows nothing of itself, and wipes the secret when it is dropped.
///
/// ```
/// use ati_client::{Algorithm, SigningKey};
///
/// // `openssl rand -hex 32` makes one.
/// let key = SigningKey::from_hex("5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210")?;
/// assert_eq!(key.algorithm(), Algorithm::Hs256);
/// assert_eq!(format!("{key:?}"), "SigningKey(HS256, [hidden])");
/// # Ok::<(), ati_client::Error>(())
/// ```
#[derive(Clone)]
pub struct SigningKey(Signing);

#[derive(Clone)]
enum Signing {
    Hs256(Hs256),
    Es256(Box<Es256Private>),
}

impl SigningKey {
    /// A secret for HS256: at least 32 bytes in hex, which are 64 characters, in either case.
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, [`Error::WeakSecret`] if it is shorter than 32 bytes (RFC 7518 §3.2).
    pub fn from_hex(secret: &str) -> Result<Self, Error> {
        secret::strong(secret).map(|secret| Self(Signing::Hs256(secret)))
    }

    /// A secret for HS256, however short: a short one can be guessed, and who guesses it can issue any token.
    ///
    /// For tokens of a deployment that has such a secret and cannot change it yet.
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, or empty.
    pub fn from_hex_of_any_length(secret: &str) -> Result<Self, Error> {
        secret::any(secret).map(|secret| Self(Signing::Hs256(secret)))
    }

    /// A private key on P-256 for ES256, in PEM, as PKCS#8 or SEC 1.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if there is none in the text, or one of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        pem::private(pem).map(|key| Self(Signing::Es256(Box::new(key))))
    }

    /// The key that the environment names: the PEM file at `ATI_JWT_PRIVATE_KEY`, or the secret in `ATI_JWT_SECRET`.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if there is none to sign with, as when only `ATI_JWT_PUBLIC_KEY` names one: it takes
    /// precedence over a secret. [`Error::Environment`] if there is one that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        env::Environment::of_process().signing_key()
    }

    /// What validates the tokens that this issues.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(match &self.0 {
            Signing::Hs256(secret) => Verifying::Hs256(secret.clone()),
            Signing::Es256(key) => Verifying::Es256(key.public().clone()),
        })
    }

    /// Which way it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Signing::Hs256(_) => Algorithm::Hs256,
            Signing::Es256(_) => Algorithm::Es256,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Signing::Hs256(secret) => Ok(secret.sign(message)),
            // Whatever else can go wrong with a key was found when it was made.
            Signing::Es256(key) => key.sign(message).ok_or(Error::NoRandomness),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, [hidden])", self.algorithm())
    }
}

/// What tokens are validated with: the secret they were issued with, or the public key to the private one.
///
/// The key fixes the algorithm. A token that names another is refused, whatever its signature.
#[derive(Clone)]
pub struct VerifyingKey(Verifying);

#[derive(Clone)]
enum Verifying {
    Hs256(Hs256),
    Es256(Es256Public),
}

impl VerifyingKey {
    /// A secret for HS256: see [`SigningKey::from_hex`].
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, [`Error::WeakSecret`] if it is shorter than 32 bytes (RFC 7518 §3.2).
    pub fn from_hex(secret: &str) -> Result<Self, Error> {
        secret::strong(secret).map(|secret| Self(Verifying::Hs256(secret)))
    }

    /// A secret for HS256, however short: see [`SigningKey::from_hex_of_any_length`].
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, or empty.
    pub fn from_hex_of_any_length(secret: &str) -> Result<Self, Error> {
        secret::any(secret).map(|secret| Self(Verifying::Hs256(secret)))
    }

    /// A public key on P-256 for ES256, in PEM, as SPKI.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if there is none in the text, or one of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        pem::public(pem).map(|key| Self(Verifying::Es256(key)))
    }

    /// The key that the environment names: the PEM file at `ATI_JWT_PUBLIC_KEY`, or the public half of the one at
    /// `ATI_JWT_PRIVATE_KEY`, or the secret in `ATI_JWT_SECRET`.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if it names none, [`Error::Environment`] if it names one that cannot be used.
    pub fn from_env() -> Result<Self, Error> {
        env::Environment::of_process().verifying_key()
    }

    /// Which way the tokens must be signed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Verifying::Hs256(_) => Algorithm::Hs256,
            Verifying::Es256(_) => Algorithm::Es256,
        }
    }

    /// Whether `signature` is this key's for `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Verifying::Hs256(secret) => secret.verifies(message, signature),
            Verifying::Es256(key) => key.verifies(message, signature),
        }
    }

    /// Whether it is the public half of `key`.
    pub(crate) fn is_of(&self, key: &SigningKey) -> bool {
        matches!((&self.0, &key.0), (Verifying::Es256(public), Signing::Es256(private)) if public == private.public())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({}, [hidden])", self.algorithm())
    }
}
