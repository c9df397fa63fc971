//! The keys that an issuer publishes (RFC 7517), and the signatures that they verify.
//!
//! `ring` verifies. `jsonwebtoken` takes its verifier from a provider of the whole process, which a
//! library must not choose (see `ati-client`), and `ati-client` has neither RS256 nor EdDSA.

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

use super::error::OidcError;
use super::token::{Algorithm, Token};

/// The maximum number of keys of an issuer.
const MAX_KEYS: usize = 100;

/// The keys of an issuer, at one time.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    public: PublicKey,
}

#[derive(Debug)]
enum PublicKey {
    /// Modulus and exponent, big-endian.
    Rsa(Vec<u8>, Vec<u8>),
    /// An uncompressed point of P-256: `04`, x, y.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

/// The members of a key that count. Each key has some of them.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JWK set. Keys for other purposes and algorithms are left out.
    pub(super) fn parse(json: &[u8]) -> Result<Self, &'static str> {
        let published: Published =
            serde_json::from_slice(json).map_err(|_| "the answer is not a JWK set")?;
        if published.keys.len() > MAX_KEYS {
            return Err("the JWK set has more than 100 keys");
        }
        let keys = published.keys.into_iter().filter_map(|key| {
            let jwk = serde_json::from_value(key).ok()?;
            Key::from_jwk(jwk)
        });
        Ok(Self(keys.collect()))
    }

    /// Verifies the signature of a token, by the keys that have its `kid` and its algorithm.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), OidcError> {
        let mut keys = (self.0.iter())
            .filter(|key| token.key_id.is_none() || key.id == token.key_id)
            .filter(|key| key.public.algorithm() == token.algorithm)
            .peekable();
        if keys.peek().is_none() {
            return Err(OidcError::UnknownKey);
        }
        let message = token.message.as_bytes();
        if keys.any(|key| key.public.verifies(message, &token.signature)) {
            Ok(())
        } else if token.key_id.is_none() {
            // The key that signed may be new.
            Err(OidcError::UnknownKey)
        } else {
            Err(OidcError::BadSignature)
        }
    }
}

impl Key {
    fn from_jwk(jwk: Jwk) -> Option<Self> {
        let for_signatures = jwk
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig");
        let may_verify = jwk
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|one| one == "verify"));
        if !for_signatures || !may_verify {
            return None;
        }
        let bytes = |text: &Option<String>| Base64UrlUnpadded::decode_vec(text.as_deref()?).ok();
        let coordinate = |text| bytes(text).filter(|bytes| bytes.len() == 32);
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => PublicKey::Rsa(bytes(&jwk.n)?, bytes(&jwk.e)?),
            ("EC", Some("P-256")) => {
                let (x, y) = (coordinate(&jwk.x)?, coordinate(&jwk.y)?);
                PublicKey::P256([&[4][..], &x, &y].concat())
            }
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(coordinate(&jwk.x)?),
            _ => return None,
        };
        let fits = |name: &str| Algorithm::from_name(name) == Some(public.algorithm());
        let is_for_this = jwk.alg.as_deref().is_none_or(fits);
        is_for_this.then_some(Self {
            id: jwk.kid,
            public,
        })
    }
}

impl PublicKey {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(..) => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            // At least 2,048 bits (RFC 7518, 3.3).
            Self::Rsa(n, e) => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}
