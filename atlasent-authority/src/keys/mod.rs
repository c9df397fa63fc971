//! API keys: which calls a key may make, from which networks and how often. Only digests of keys
//! are stored.

#[cfg(feature = "postgres")]
mod database;
mod events;
mod file;
mod network;
mod scope;

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use base64ct::{Base64UrlUnpadded, Encoding};
use ipnet::IpNet;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ledger::approval::Approver;
use crate::ledger::replay::random_bits;
use crate::store::OrgId;

pub use events::RecordedKeys;
pub(crate) use events::record_keys;
pub use file::{KeyFile, KeyFileError};
pub(crate) use network::contains;
pub use scope::{ApiScope, UnknownApiScope};

/// The default rate limit of a key, in calls a minute.
pub const DEFAULT_RATE_LIMIT: u64 = 1_000_000;

/// The shortest key that people may set, in characters behind its prefix: 128 bits in hexadecimal
/// digits.
const MIN_LENGTH: usize = 32;

/// The smallest number of different characters in such a key. 32 random hexadecimal digits have
/// fewer in one of ten million cases.
const MIN_DIFFERENT: usize = 8;

/// Why [`ApiKey::parse`] refuses a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseApiKeyError {
    /// The text does not have the form of a key.
    #[error(
        "the text is not an API key: write `ask_live_` or `ask_test_`, then letters, digits, `_` and `-`"
    )]
    Malformed,
    /// The key could be guessed.
    #[error(
        "the API key could be guessed: it needs 32 random characters behind `ask_live_` or `ask_test_`; \
         `echo \"ask_live_$(openssl rand -hex 32)\"` makes one"
    )]
    Weak,
}

/// The stored form of an API key: its digest and its properties, without the key itself.
///
/// ```
/// use atlasent_authority::keys::{ApiKey, KeyEnvironment, ApiScope};
///
/// let (mut key, secret) = ApiKey::generate(KeyEnvironment::Test)?;
/// key.name = Some("the deploy service".to_owned());
/// key.scopes = vec![ApiScope::Evaluate, ApiScope::Verify];
/// assert!(format!("{secret:?}").find("ask_test_").is_none());
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The key's id in responses, logs and events.
    pub key_id: String,
    /// The organization that the key belongs to. Its calls reach nothing of another one.
    #[serde(default, skip_serializing_if = "OrgId::is_local")]
    pub org_id: OrgId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of the key.
    pub digest: KeyDigest,
    /// The environment that the key is for.
    pub environment: KeyEnvironment,
    /// The calls that the key may make.
    pub scopes: Vec<ApiScope>,
    /// The person whose votes the key casts, with the scope [`Approve`](ApiScope::Approve). `None`
    /// for a key that casts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<Approver>,
    /// The networks from which the key may be used; empty for all networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_cidrs: Vec<IpNet>,
    /// The rate limit, in calls a minute.
    #[serde(default = "default_rate_limit")]
    pub rate_limit_per_minute: u64,
    /// When the key was created.
    pub created_at: Timestamp,
    /// When the key expires; `None` if never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the key was revoked; `None` if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

fn default_rate_limit() -> u64 {
    DEFAULT_RATE_LIMIT
}

impl ApiKey {
    /// Makes a new key of [`local`](OrgId::local) with the [default scopes](ApiScope::DEFAULT). Returns its stored form and the
    /// key itself, which cannot be recovered later.
    ///
    /// # Errors
    ///
    /// [`atlasent::Error`] when the system has no randomness.
    pub fn generate(environment: KeyEnvironment) -> Result<(Self, SecretString), atlasent::Error> {
        let bits = Base64UrlUnpadded::encode_string(&random_bits()?);
        let key = format!("ask_{environment}_{bits}");
        Ok((Self::stored(environment, &key), SecretString::from(key)))
    }

    /// Parses a key that people set, for instance in an environment variable. Returns its stored
    /// form, as a key of [`local`](OrgId::local) with the [default scopes](ApiScope::DEFAULT).
    ///
    /// ```
    /// use atlasent_authority::keys::{ApiKey, ParseApiKeyError};
    /// use secrecy::SecretString;
    ///
    /// let key = |text: &str| ApiKey::parse(&SecretString::from(text.to_owned()));
    /// assert!(key("ask_live_c3ab8ff13720e8ad9047dd39466b3c89").is_ok());
    /// assert_eq!(key("ask_live_secret"), Err(ParseApiKeyError::Weak));
    /// assert_eq!(key("secret"), Err(ParseApiKeyError::Malformed));
    /// ```
    ///
    /// # Errors
    ///
    /// [`ParseApiKeyError`] when the text does not have the form of a key, or the key could be
    /// guessed: it needs 32 characters behind its prefix, which is 128 bits in hexadecimal digits.
    pub fn parse(key: &SecretString) -> Result<Self, ParseApiKeyError> {
        let stored = Self::parse_allow_weak(key).ok_or(ParseApiKeyError::Malformed)?;
        let rest = key.expose_secret().get("ask_live_".len()..);
        let rest = rest.unwrap_or_default();
        let different: HashSet<u8> = rest.bytes().collect();
        if rest.len() < MIN_LENGTH || different.len() < MIN_DIFFERENT {
            return Err(ParseApiKeyError::Weak);
        }
        Ok(stored)
    }

    /// Parses a key like [`parse`](Self::parse), and accepts keys that could be guessed: for tests,
    /// and for keys whose strength was checked elsewhere. Returns `None` if the text does not have
    /// the form of a key: `ask_live_` or `ask_test_`, then letters, digits, `_` and `-` (contract,
    /// part A).
    #[must_use]
    pub fn parse_allow_weak(key: &SecretString) -> Option<Self> {
        let text = key.expose_secret();
        KeyEnvironment::from_key(text).map(|environment| Self::stored(environment, text))
    }

    fn stored(environment: KeyEnvironment, key: &str) -> Self {
        let digest = KeyDigest::from_key(key);
        Self {
            key_id: digest.key_id(),
            org_id: OrgId::local(),
            name: None,
            digest,
            environment,
            scopes: ApiScope::DEFAULT.to_vec(),
            approver: None,
            allowed_cidrs: Vec::new(),
            rate_limit_per_minute: DEFAULT_RATE_LIMIT,
            created_at: Timestamp::now(),
            expires_at: None,
            revoked_at: None,
        }
    }

    /// Creates the stored form of a person's bearer token, which works like an API key with the
    /// scopes of an approver. The id is the same for each token of the person.
    #[cfg(feature = "oidc")]
    pub(crate) fn for_person(approver: Approver, issuer: &str, org_id: OrgId) -> Self {
        // Neither has a line end, so no two pairs have one text.
        let person = format!("{issuer}\n{}", approver.principal);
        let mut key = Self::stored(KeyEnvironment::Live, &person);
        key.key_id = key.key_id.replacen("key_", "oidc_", 1);
        key.org_id = org_id;
        key.scopes = ApiScope::APPROVER.to_vec();
        key.approver = Some(approver);
        key
    }

    /// Whether the key may be used from an address. An IPv4 address and its IPv4-mapped form
    /// (`::ffff:a.b.c.d`) are the same, in networks and in clients' addresses.
    #[must_use]
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.allowed_cidrs.is_empty()
            || (self.allowed_cidrs.iter()).any(|network| contains(network, address))
    }

    /// Whether the key is active at a time: neither revoked nor expired.
    #[must_use]
    pub fn is_active_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

/// The environment of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyEnvironment {
    /// `ask_live_…`
    Live,
    /// `ask_test_…`
    Test,
}

impl KeyEnvironment {
    /// Reads the environment from the prefix of a key. Returns `None` if the text does not have the
    /// form of a key.
    fn from_key(key: &str) -> Option<Self> {
        let (environment, rest) = match key.strip_prefix("ask_live_") {
            Some(rest) => (Self::Live, rest),
            None => (Self::Test, key.strip_prefix("ask_test_")?),
        };
        let in_form = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        (!rest.is_empty() && rest.bytes().all(in_form)).then_some(environment)
    }

    /// The environment's name in keys, requests and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for KeyEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The SHA-256 digest of a key. A generated key has 256 random bits, so it cannot be guessed from
/// its digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Computes the digest of a key.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives the key's id: the first 64 bits of the digest's digest, which reveals neither the
    /// key nor its digest.
    fn key_id(&self) -> String {
        let twice: [u8; 32] = Sha256::digest(self.0).into();
        let [a, b, c, d, e, f, g, h, ..] = twice;
        format!(
            "key_{}",
            base16ct::lower::encode_string(&[a, b, c, d, e, f, g, h])
        )
    }
}

impl From<KeyDigest> for String {
    fn from(digest: KeyDigest) -> Self {
        base16ct::lower::encode_string(&digest.0)
    }
}

impl TryFrom<String> for KeyDigest {
    type Error = &'static str;

    fn try_from(hex: String) -> Result<Self, Self::Error> {
        let mut digest = [0; 32];
        match base16ct::lower::decode(&hex, &mut digest) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(digest)),
            _ => Err("the digest of a key has 64 lower-case hex digits"),
        }
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_be_guessed_is_refused() {
        let parse = |text: &str| ApiKey::parse(&SecretString::from(text.to_owned()));
        let random = "c3ab8ff13720e8ad9047dd39466b3c89";
        let short = "3ab8ff13720e8ad9047dd39466b3c89";
        assert_eq!(random.len(), MIN_LENGTH);
        for prefix in ["ask_live_", "ask_test_"] {
            let key = format!("{prefix}{random}");
            assert_eq!(
                parse(&key).unwrap().digest,
                ApiKey::parse_allow_weak(&SecretString::from(key.clone()))
                    .unwrap()
                    .digest
            );
            for weak in [short, "x", &"a".repeat(64), &"abc".repeat(30)] {
                assert_eq!(
                    parse(&format!("{prefix}{weak}")),
                    Err(ParseApiKeyError::Weak)
                );
            }
            for malformed in [random.to_owned(), prefix.to_owned(), format!("{key}\n")] {
                assert_eq!(parse(&malformed), Err(ParseApiKeyError::Malformed));
            }
        }
        // Generated keys pass.
        for _ in 0..100 {
            let (key, secret) = ApiKey::generate(KeyEnvironment::Live).unwrap();
            assert_eq!(ApiKey::parse(&secret).unwrap().digest, key.digest);
        }
    }

    /// A key as the first version stored it.
    #[test]
    fn a_key_that_was_stored_before_a_scope_existed_keeps_its_scopes() {
        let digest = "0".repeat(64);
        let stored = format!(
            r#"{{"key_id": "key_1", "digest": "{digest}", "environment": "live",
                "scopes": ["evaluate", "verify", "revoke", "audit.read", "audit.export"],
                "created_at": "2026-01-01T00:00:00Z"}}"#
        );
        let key: ApiKey = serde_json::from_str(&stored).unwrap();
        assert_eq!(key.scopes.len(), 5);
        assert!(
            !key.scopes.contains(&ApiScope::Stop) && !key.scopes.contains(&ApiScope::PermitsRead)
        );
        assert_eq!(key.approver, None);
    }

    #[test]
    fn a_key_keeps_its_approver_and_a_stored_one_without_a_name_is_refused() {
        let (mut key, _) = ApiKey::generate(KeyEnvironment::Live).unwrap();
        let plain = serde_json::to_string(&key).unwrap();
        assert!(!plain.contains("approver"), "{plain}");
        key.approver = Some(Approver::new("alice", ["release-manager"]).unwrap());
        let stored = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<ApiKey>(&stored).unwrap(), key);
        let nameless = stored.replace("alice", "");
        assert!(serde_json::from_str::<ApiKey>(&nameless).is_err());
    }
}
