//! The public keys that are trusted to sign bundles.

use std::fmt;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey;
use serde::Deserialize;

use crate::text::redact::excerpt;

/// The public keys that are trusted to sign bundles, each with its id. A verifier tries them in
/// this order.
///
/// ```
/// use atlasent::audit::TrustedKeys;
///
/// let pem = "-----BEGIN PUBLIC KEY-----\n\
///     MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
///     -----END PUBLIC KEY-----\n";
/// let jwk = r#"{"kty":"OKP","crv":"Ed25519","kid":"key-2026","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// let keys = TrustedKeys::new().pem("key-2025", pem)?.jwk(jwk)?;
/// assert_eq!(keys.ids().collect::<Vec<_>>(), ["key-2025", "key-2026"]);
/// # Ok::<(), atlasent::audit::KeyError>(())
/// ```
#[derive(Clone, Default)]
pub struct TrustedKeys {
    keys: Vec<TrustedKey>,
    skipped: Vec<KeyError>,
}

#[derive(Clone)]
pub(super) struct TrustedKey {
    pub(super) id: String,
    pub(super) key: VerifyingKey,
}

impl TrustedKeys {
    /// Creates an empty set. Under it, no signature is valid.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a set of keys from PEMs without ids. The ids are their positions: `pem_0`, `pem_1`
    /// and so on.
    ///
    /// A PEM that is not an Ed25519 public key is skipped, and its id is not given to another, as
    /// in the SDKs. [`skipped`](Self::skipped) lists those PEMs.
    ///
    /// ```
    /// use atlasent::audit::TrustedKeys;
    ///
    /// let keys = TrustedKeys::from_pems(["no key at all"]);
    /// assert!(keys.is_empty());
    /// assert_eq!(keys.skipped()[0].id(), "pem_0");
    /// ```
    #[must_use]
    pub fn from_pems<I>(pems: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut keys = Self::new();
        for (index, pem) in pems.into_iter().enumerate() {
            let id = format!("pem_{index}");
            match read_pem(pem.as_ref()) {
                Ok(key) => keys.keys.push(TrustedKey { id, key }),
                Err(why) => keys.skipped.push(KeyError { id, why }),
            }
        }
        keys
    }

    /// Adds a key from PEM (SPKI, `-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the PEM is not an Ed25519 public key, or the key is weak.
    pub fn pem(self, id: impl Into<String>, pem: &str) -> Result<Self, KeyError> {
        self.add(id.into(), read_pem(pem))
    }

    /// Adds a key from a JWK (RFC 8037) with its `kid`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the JWK is not an Ed25519 public key for signatures, has no `kid`, or the
    /// key is weak.
    pub fn jwk(self, jwk: &str) -> Result<Self, KeyError> {
        let Ok(jwk) = serde_json::from_str::<Jwk>(jwk) else {
            return Err(KeyError::new("?", "is not a JWK with a `kty`"));
        };
        let Some(id) = jwk.kid.clone().filter(|id| !id.is_empty()) else {
            return Err(KeyError::new("?", "has no `kid` to name it by"));
        };
        self.add(id, jwk.read())
    }

    /// Adds a key from its 32 bytes (RFC 8032).
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the bytes are not a point of the curve, or the key is weak.
    pub fn raw(self, id: impl Into<String>, key: &[u8; 32]) -> Result<Self, KeyError> {
        self.add(id.into(), read_raw(key))
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the ids, in the order in which the keys are tried.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.id)
    }

    /// Returns the PEMs that [`from_pems`](Self::from_pems) skipped, each with the reason.
    #[must_use]
    pub fn skipped(&self) -> &[KeyError] {
        &self.skipped
    }

    pub(super) fn all(&self) -> &[TrustedKey] {
        &self.keys
    }

    fn add(
        mut self,
        id: String,
        key: Result<VerifyingKey, &'static str>,
    ) -> Result<Self, KeyError> {
        match key {
            Ok(key) => self.keys.push(TrustedKey { id, key }),
            Err(why) => return Err(KeyError { id, why }),
        }
        Ok(self)
    }
}

/// The fields of a JWK that an Ed25519 public key uses.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    #[serde(default)]
    d: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    fn read(&self) -> Result<VerifyingKey, &'static str> {
        if self.d.is_some() {
            return Err(PRIVATE_KEY);
        }
        let is = |field: &Option<String>, allowed: &[&str]| {
            field
                .as_deref()
                .is_none_or(|field| allowed.contains(&field))
        };
        if self.kty != "OKP" || self.crv.as_deref() != Some("Ed25519") {
            return Err(NOT_ED25519);
        }
        if !is(&self.usage, &["sig"]) || !is(&self.alg, &["EdDSA", "Ed25519"]) {
            return Err("is not meant for Ed25519 signatures");
        }
        let mut bytes = [0; 32];
        let x = self.x.as_deref().unwrap_or_default();
        match Base64UrlUnpadded::decode(x, &mut bytes).map(<[u8]>::len) {
            Ok(32) => read_raw(&bytes),
            _ => Err("has an `x` that is not 32 bytes in base64url"),
        }
    }
}

const NOT_ED25519: &str = "is not an Ed25519 public key";
const PRIVATE_KEY: &str = "is a private key: keep it secret, and configure its public half";

/// Reads the first public key in the text. White space is allowed anywhere in it, as in OpenSSL and
/// Python: keys from configuration files may be indented, or on one line.
fn read_pem(pem: &str) -> Result<VerifyingKey, &'static str> {
    if pem.contains("PRIVATE KEY-----") {
        return Err(PRIVATE_KEY);
    }
    let (_, rest) = pem
        .split_once("-----BEGIN PUBLIC KEY-----")
        .unwrap_or_default();
    let (body, _) = rest
        .split_once("-----END PUBLIC KEY-----")
        .unwrap_or_default();
    let body: String = body.split_ascii_whitespace().collect();
    let key = Base64::decode_vec(&body).map(|der| VerifyingKey::from_public_key_der(&der));
    match key {
        Ok(Ok(key)) => reject_weak(key),
        _ => Err("is not an Ed25519 public key in PEM (`-----BEGIN PUBLIC KEY-----`)"),
    }
}

fn read_raw(bytes: &[u8; 32]) -> Result<VerifyingKey, &'static str> {
    VerifyingKey::from_bytes(bytes)
        .map_err(|_| NOT_ED25519)
        .and_then(reject_weak)
}

/// Rejects keys of small order: under such a key, one signature is valid for many texts.
fn reject_weak(key: VerifyingKey) -> Result<VerifyingKey, &'static str> {
    match key.is_weak() {
        true => Err("is a weak key: anyone can sign for it"),
        false => Ok(key),
    }
}

/// The reason why a key was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key `{}` {why}", excerpt(id))]
pub struct KeyError {
    id: String,
    why: &'static str,
}

impl KeyError {
    fn new(id: &str, why: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            why,
        }
    }

    /// Returns the id of the key, or `?` if the key has no id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
        -----END PUBLIC KEY-----";

    fn jwk(more: &str) -> Result<TrustedKeys, KeyError> {
        TrustedKeys::new().jwk(&format!(r#"{{"kid":"k","x":"{X}",{more}}}"#))
    }

    #[test]
    fn one_key_in_three_forms_is_one_key() {
        let raw = *TrustedKeys::new().pem("a", PEM).unwrap().all()[0]
            .key
            .as_bytes();
        let keys = TrustedKeys::new().raw("a", &raw).unwrap();
        let keys = keys
            .pem("b", &format!("\r\n{}\r\n\n", PEM.replace('\n', "\r\n")))
            .unwrap();
        let keys = keys
            .jwk(&format!(
                r#"{{"kty":"OKP","crv":"Ed25519","kid":"c","x":"{X}","use":"sig","alg":"EdDSA"}}"#
            ))
            .unwrap();
        let indented = PEM.replace('\n', "\n    ");
        for pem in [
            indented,
            PEM.replace('\n', ""),
            format!("# ours\n{PEM}\n{PEM}"),
        ] {
            let key = TrustedKeys::new().pem("d", &pem).unwrap();
            assert_eq!(*key.all()[0].key.as_bytes(), raw);
        }
        assert!(keys.all().iter().all(|key| *key.key.as_bytes() == raw));
        assert_eq!(
            (keys.len(), format!("{keys:?}")),
            (3, r#"{"a", "b", "c"}"#.into())
        );
    }

    #[test]
    fn other_kinds_of_keys_are_refused_by_name() {
        let private = PEM.replace("PUBLIC", "PRIVATE");
        for pem in [
            "",
            "no key",
            &private,
            &PEM.replace("MCow", "MCoW"),
            PEM.trim_end_matches('-'),
        ] {
            let error = TrustedKeys::new().pem("the-key", pem).unwrap_err();
            assert!(
                error.to_string().starts_with("the key `the-key` is "),
                "{error}"
            );
        }
        assert!(jwk(r#""kty":"OKP","crv":"Ed25519""#).is_ok());
        for more in [
            r#""kty":"OKP","crv":"X25519""#,
            r#""kty":"OKP""#,
            r#""kty":"EC","crv":"Ed25519""#,
            r#""kty":"OKP","crv":"Ed25519","use":"enc""#,
            r#""kty":"OKP","crv":"Ed25519","alg":"ES256""#,
            r#""kty":"OKP","crv":"Ed25519","d":"hunter2""#,
        ] {
            let error = jwk(more).unwrap_err();
            assert!(
                !error.to_string().contains("hunter2") && error.id() == "k",
                "{error}"
            );
        }
        for text in [
            "{",
            "[]",
            r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AA"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","kid":"k"}"#,
        ] {
            assert!(TrustedKeys::new().jwk(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_weak_key_is_refused() {
        // The neutral element, a point of order 8, and no point at all.
        let (mut neutral, mut no_point) = ([0; 32], [0; 32]);
        (neutral[0], no_point[0]) = (1, 2);
        let order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
        let order_8 = base16ct::lower::decode_vec(order_8).unwrap();
        for (key, why) in [
            (neutral, "weak"),
            (order_8.try_into().unwrap(), "weak"),
            (no_point, "not an Ed25519 public key"),
        ] {
            let error = TrustedKeys::new().raw("k", &key).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn bare_pems_keep_their_places() {
        let keys = TrustedKeys::from_pems(["no key", PEM, "", PEM]);
        assert_eq!(keys.ids().collect::<Vec<_>>(), ["pem_1", "pem_3"]);
        let skipped: Vec<_> = keys.skipped().iter().map(KeyError::id).collect();
        assert_eq!(skipped, ["pem_0", "pem_2"]);
    }
}
