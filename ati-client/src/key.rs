//! The keys that tokens are issued and validated with.

use std::fmt;
use std::path::Path;

use crate::crypto::{Es256Private, Es256Public, Hs256};
use crate::{Algorithm, Error, env, key_file, pem, secret};

/// A key that signs tokens: a secret for HS256, or a private key on P-256 for ES256.
///
/// `Debug` does not show it, and its memory is wiped when it is dropped.
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
    /// A secret for HS256: at least 32 bytes in hex, which are 64 characters, in either case.
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, [`Error::WeakSecret`] if it is shorter than 32 bytes
    /// (RFC 7518 §3.2).
    pub fn from_hex(secret: &str) -> Result<Self, Error> {
        secret::parse_strong(secret).map(|secret| Self::without_id(SigningKeyKind::Hs256(secret)))
    }

    /// A secret for HS256, however short: a short one can be guessed, and then used to issue
    /// any token.
    ///
    /// For tokens of a deployment that has such a secret and cannot change it yet.
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, or empty.
    pub fn from_hex_of_any_length(secret: &str) -> Result<Self, Error> {
        secret::parse_any_length(secret)
            .map(|secret| Self::without_id(SigningKeyKind::Hs256(secret)))
    }

    /// A private key on P-256 for ES256, in PEM, as PKCS#8 or SEC 1.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if the text holds no key, several, or one of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        pem::parse_private(pem).map(|key| Self::without_id(SigningKeyKind::Es256(Box::new(key))))
    }

    /// Reads the private keys in a directory of `.pem` files, the newest first.
    ///
    /// Names decide what is newest: they are sorted in descending order, so that `2026-11.pem`
    /// comes before `2026-05.pem`. A key's [id](Self::id) is its file's name without `.pem`. Names
    /// that begin with a dot are skipped. A token is issued with the first key.
    ///
    /// # Errors
    ///
    /// [`Error::UnreadableKey`] if the directory cannot be read, [`Error::BadKey`] if it has no
    /// key, [`Error::KeyFile`] if one of its files is no usable key: none is ever left out
    /// silently.
    pub fn from_pem_directory(directory: impl AsRef<Path>) -> Result<Vec<Self>, Error> {
        key_file::read_directory(directory.as_ref(), |id, pem| {
            Self::from_pem(pem)?.with_id(id)
        })
    }

    /// Reads the newest key that the environment names.
    ///
    /// `ATI_JWT_PRIVATE_KEY` is the path of a PEM file, or of a directory of them, as
    /// [`from_pem_directory`](Self::from_pem_directory) reads it. Without it, `ATI_JWT_SECRETS`
    /// holds secrets in hex, separated by commas, the newest first. Without either,
    /// `ATI_JWT_SECRET` holds one. Where `ATI_JWT_PUBLIC_KEY` is set too, the key must belong to
    /// one of the public keys, and has that key's id.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if no variable names a key that signs. `ATI_JWT_PUBLIC_KEY` alone is such a
    /// case, even beside a secret: it takes precedence. [`Error::Environment`] if a variable names
    /// a key that cannot be used. [`Error::BadKey`] if private and public key do not belong
    /// together.
    pub fn from_env() -> Result<Self, Error> {
        env::EnvVars::from_process().signing_key()
    }

    /// Gives the key an id, which is issued as the `kid` of its tokens (RFC 7515 §4.1.4).
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

    /// The id of the key, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The key that validates the tokens that this one signs. It has the same id.
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

    /// The algorithm that the key signs with.
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
            // Whatever else can go wrong with a key was found when it was made.
            SigningKeyKind::Es256(key) => key.sign(message).ok_or(Error::NoRandomness),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_key(f, "SigningKey", self.algorithm(), self.id())
    }
}

/// A key that validates tokens: the secret they were issued with, or the public key to the private
/// one.
///
/// The key fixes the algorithm. A token that names another is refused, whatever its signature.
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
    /// A secret for HS256: see [`SigningKey::from_hex`].
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, [`Error::WeakSecret`] if it is shorter than 32 bytes
    /// (RFC 7518 §3.2).
    pub fn from_hex(secret: &str) -> Result<Self, Error> {
        secret::parse_strong(secret).map(|secret| Self::without_id(VerifyingKeyKind::Hs256(secret)))
    }

    /// A secret for HS256, however short: see [`SigningKey::from_hex_of_any_length`].
    ///
    /// # Errors
    ///
    /// [`Error::BadSecret`] if it is not hex, or empty.
    pub fn from_hex_of_any_length(secret: &str) -> Result<Self, Error> {
        secret::parse_any_length(secret)
            .map(|secret| Self::without_id(VerifyingKeyKind::Hs256(secret)))
    }

    /// A public key on P-256 for ES256, in PEM, as SPKI.
    ///
    /// # Errors
    ///
    /// [`Error::BadKey`] if the text holds no key, several, or one of another kind.
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
    /// As [`SigningKey::from_pem_directory`].
    pub fn from_pem_directory(directory: impl AsRef<Path>) -> Result<Vec<Self>, Error> {
        key_file::read_directory(directory.as_ref(), |id, pem| {
            Self::from_pem(pem)?.with_id(id)
        })
    }

    /// Reads every key that the environment names, the newest first.
    ///
    /// `ATI_JWT_PUBLIC_KEY` is the path of a PEM file, or of a directory of them, as
    /// [`from_pem_directory`](Self::from_pem_directory) reads it. Without it, the public halves of
    /// what `ATI_JWT_PRIVATE_KEY` names are taken. Without either, the secrets of `ATI_JWT_SECRETS`
    /// (in hex, separated by commas) are, else the one of `ATI_JWT_SECRET`.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if no variable names a key, [`Error::Environment`] if one names a key that
    /// cannot be used.
    pub fn from_env() -> Result<Vec<Self>, Error> {
        env::EnvVars::from_process().verifying_keys()
    }

    /// Gives the key an id: tokens whose `kid` it is are validated with this key, and no other.
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

    /// The id of the key, if it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The algorithm that tokens of this key must be signed with.
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

    /// Whether `signature` is this key's for `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            VerifyingKeyKind::Hs256(secret) => secret.verifies(message, signature),
            VerifyingKeyKind::Es256(key) => key.verifies(message, signature),
        }
    }

    /// Whether it is the public half of `key`.
    pub(crate) fn is_public_half_of(&self, key: &SigningKey) -> bool {
        matches!((&self.key, &key.key), (VerifyingKeyKind::Es256(public), SigningKeyKind::Es256(private)) if public == private.public())
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_key(f, "VerifyingKey", self.algorithm(), self.id())
    }
}

/// So that [`Verifier::builder`](crate::Verifier::builder) takes one key as well as several.
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
            reason: "its id is empty: name it, or leave the id out",
        });
    }
    Ok(id)
}
