//! The keys that sign and verify tokens.

use std::fmt;
use std::path::Path;

use crate::crypto::{Es256Private, Es256Public, Hs256};
use crate::{Algorithm, Error, env, key_file, pem, secret};

/// A key that signs tokens: a secret for HS256, or a private key on P-256 for ES256.
///
/// `Debug` hides the key, and its memory is wiped when it is dropped.
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
pub struct SigningKey {
    key: SigningKeyKind,
    id: Option<String>,
}

#[derive(Clone)]
enum SigningKeyKind {
    Hs256(Hs256),
    Es256(Box<Es256Private>),
}

impl SigningKey {
    /// Parses a secret for HS256: at least 32 bytes in hex (64 characters), in either case.
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if the secret is not hex, [`Error::WeakSecret`] if it is shorter than
    /// 32 bytes (RFC 7518 §3.2).
    pub fn from_hex(secret: &str) -> Result<Self, Error> {
        secret::parse_strong(secret).map(|secret| Self::without_id(SigningKeyKind::Hs256(secret)))
    }

    /// Parses a secret for HS256 of any length.
    ///
    /// An attacker who guesses a short secret can issue any token. Use this only for a deployment
    /// whose secret is too short and cannot be changed yet.
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if the secret is empty or not hex.
    pub fn from_hex_of_any_length(secret: &str) -> Result<Self, Error> {
        secret::parse_any_length(secret)
            .map(|secret| Self::without_id(SigningKeyKind::Hs256(secret)))
    }

    /// Parses a P-256 private key for ES256, in PEM, as PKCS#8 or SEC 1.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if the text holds no key, several keys, or a key of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        pem::parse_private(pem).map(|key| Self::without_id(SigningKeyKind::Es256(Box::new(key))))
    }

    /// Reads the private keys in a directory of `.pem` files, the newest first.
    ///
    /// File names are sorted in descending order, so that `2026-11.pem` comes before `2026-05.pem`.
    /// A key's [id](Self::id) is its file's name without `.pem`. Names that begin with a dot are
    /// skipped. Issue tokens with the first key.
    ///
    /// # Errors
    ///
    /// [`Error::UnreadableKey`] if the directory or one of its files cannot be read,
    /// [`Error::BadKey`] if the directory has no key, [`Error::KeyFile`] if one of its files holds
    /// no usable key. No file is skipped silently.
    pub fn from_pem_directory(directory: impl AsRef<Path>) -> Result<Vec<Self>, Error> {
        key_file::read_directory(directory.as_ref(), |id, pem| {
            Self::from_pem(pem)?.with_id(id)
        })
    }

    /// Reads the newest signing key that the environment names.
    ///
    /// `ATI_JWT_PRIVATE_KEY` is the path of a PEM file, or of a directory of them, as
    /// [`from_pem_directory`](Self::from_pem_directory) reads it. Without it, `ATI_JWT_SECRETS`
    /// holds secrets in hex, separated by commas, the newest first. Without either variable,
    /// `ATI_JWT_SECRET` holds one secret. Where `ATI_JWT_PUBLIC_KEY` is set too, the private key
    /// must belong to one of the public keys, and gets that key's id.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if no variable names a signing key, or if `ATI_JWT_PUBLIC_KEY` is set
    /// without `ATI_JWT_PRIVATE_KEY`, even beside a secret. [`Error::Environment`] if a variable
    /// names a key that is not usable. [`Error::BadKey`] if the private key belongs to none of the
    /// public keys.
    pub fn from_env() -> Result<Self, Error> {
        env::EnvVars::from_process().signing_key()
    }

    /// Sets the id of the key, which becomes the `kid` of its tokens (RFC 7515 §4.1.4).
    ///
    /// A second call replaces the id.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if the id is empty.
    pub fn with_id(self, id: impl Into<String>) -> Result<Self, Error> {
        Ok(Self {
            id: Some(checked_id(id.into())?),
            ..self
        })
    }

    /// Returns the id of the key, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the key that verifies the tokens of this key. It has the same id.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey {
            key: match &self.key {
                SigningKeyKind::Hs256(secret) => VerifyingKeyKind::Hs256(secret.clone()),
                SigningKeyKind::Es256(key) => VerifyingKeyKind::Es256(key.public().clone()),
            },
            id: self.id.clone(),
        }
    }

    /// Returns the algorithm that the key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.key {
            SigningKeyKind::Hs256(_) => Algorithm::Hs256,
            SigningKeyKind::Es256(_) => Algorithm::Es256,
        }
    }

    fn without_id(key: SigningKeyKind) -> Self {
        Self { key, id: None }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.key {
            SigningKeyKind::Hs256(secret) => Ok(secret.sign(message)),
            // An invalid key was refused when it was parsed, so only randomness can fail here.
            SigningKeyKind::Es256(key) => key.sign(message).ok_or(Error::NoRandomness),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_key(f, "SigningKey", self.algorithm(), self.id())
    }
}

/// A key that verifies tokens: a secret for HS256, or a public key on P-256 for ES256.
///
/// The key determines the algorithm. A token that names another algorithm is refused, whatever its
/// signature.
#[derive(Clone)]
pub struct VerifyingKey {
    key: VerifyingKeyKind,
    id: Option<String>,
}

#[derive(Clone)]
enum VerifyingKeyKind {
    Hs256(Hs256),
    Es256(Es256Public),
}

impl VerifyingKey {
    /// Parses a secret for HS256: see [`SigningKey::from_hex`].
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if the secret is not hex, [`Error::WeakSecret`] if it is shorter than
    /// 32 bytes (RFC 7518 §3.2).
    pub fn from_hex(secret: &str) -> Result<Self, Error> {
        secret::parse_strong(secret).map(|secret| Self::without_id(VerifyingKeyKind::Hs256(secret)))
    }

    /// Parses a secret for HS256 of any length: see [`SigningKey::from_hex_of_any_length`].
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if the secret is empty or not hex.
    pub fn from_hex_of_any_length(secret: &str) -> Result<Self, Error> {
        secret::parse_any_length(secret)
            .map(|secret| Self::without_id(VerifyingKeyKind::Hs256(secret)))
    }

    /// Parses a P-256 public key for ES256, in PEM, as SPKI.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if the text holds no key, several keys, or a key of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        pem::parse_public(pem).map(|key| Self::without_id(VerifyingKeyKind::Es256(key)))
    }

    /// Reads the public keys in a directory of `.pem` files: see
    /// [`SigningKey::from_pem_directory`].
    ///
    /// ```no_run
    /// use ati_client::{Verifier, VerifyingKey};
    ///
    /// let keys = VerifyingKey::from_pem_directory("/etc/ati/keys")?; // 2026-11.pem, 2026-05.pem
    /// let verifier = Verifier::builder(keys).build()?;
    /// # Ok::<(), ati_client::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`SigningKey::from_pem_directory`].
    pub fn from_pem_directory(directory: impl AsRef<Path>) -> Result<Vec<Self>, Error> {
        key_file::read_directory(directory.as_ref(), |id, pem| {
            Self::from_pem(pem)?.with_id(id)
        })
    }

    /// Reads every verifying key that the environment names, the newest first.
    ///
    /// `ATI_JWT_PUBLIC_KEY` is the path of a PEM file, or of a directory of them, as
    /// [`from_pem_directory`](Self::from_pem_directory) reads it. Without it, `ATI_JWT_PRIVATE_KEY`
    /// names private keys, whose public halves are used. Without either variable, `ATI_JWT_SECRETS`
    /// holds secrets in hex, separated by commas. Without all three, `ATI_JWT_SECRET` holds one
    /// secret.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if no variable names a key, [`Error::Environment`] if a variable names a
    /// key that is not usable.
    pub fn from_env() -> Result<Vec<Self>, Error> {
        env::EnvVars::from_process().verifying_keys()
    }

    /// Sets the id of the key. A token with this `kid` is verified with the keys of this id only.
    ///
    /// A second call replaces the id.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if the id is empty.
    pub fn with_id(self, id: impl Into<String>) -> Result<Self, Error> {
        Ok(Self {
            id: Some(checked_id(id.into())?),
            ..self
        })
    }

    /// Returns the id of the key, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the algorithm that a token must name to be verified with this key.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match &self.key {
            VerifyingKeyKind::Hs256(_) => Algorithm::Hs256,
            VerifyingKeyKind::Es256(_) => Algorithm::Es256,
        }
    }

    fn without_id(key: VerifyingKeyKind) -> Self {
        Self { key, id: None }
    }

    /// Whether `signature` is this key's signature of `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            VerifyingKeyKind::Hs256(secret) => secret.verifies(message, signature),
            VerifyingKeyKind::Es256(key) => key.verifies(message, signature),
        }
    }

    /// Whether this is the public half of `key`.
    pub(crate) fn is_public_half_of(&self, key: &SigningKey) -> bool {
        matches!((&self.key, &key.key), (VerifyingKeyKind::Es256(public), SigningKeyKind::Es256(private)) if public == private.public())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_key(f, "VerifyingKey", self.algorithm(), self.id())
    }
}

/// Lets [`Verifier::builder`](crate::Verifier::builder) accept a single key.
impl From<VerifyingKey> for Vec<VerifyingKey> {
    fn from(key: VerifyingKey) -> Self {
        vec![key]
    }
}

fn fmt_key(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    algorithm: Algorithm,
    id: Option<&str>,
) -> fmt::Result {
    match id {
        Some(id) => write!(f, "{name}({algorithm}, {id:?}, [hidden])"),
        None => write!(f, "{name}({algorithm}, [hidden])"),
    }
}

fn checked_id(id: String) -> Result<String, Error> {
    if id.is_empty() {
        return Err(Error::BadKey {
            reason: "its id is empty: name the key, or leave the id out",
        });
    }
    Ok(id)
}
