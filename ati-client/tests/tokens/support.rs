//! A secret, a fixed time, and helpers that build tokens, malformed ones included.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ati_client::{Claims, Error, RateSpec, RateUnit, SigningKey, Verifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

pub(crate) const SECRET: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";

/// The time of the tests, in Unix seconds.
pub(crate) const NOW: u64 = 1_900_000_000;

pub(crate) const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_hex(SECRET).unwrap()
}

pub(crate) fn verifier() -> Verifier {
    Verifier::builder(key().verifying_key()).build().unwrap()
}

/// Verifies a token at [`NOW`].
pub(crate) fn verify(token: &str) -> Result<Claims, Error> {
    verifier().verify_at(token, at(NOW))
}

/// Claims that are valid at [`NOW`].
pub(crate) fn good() -> Value {
    json!({"sub": "agent-7", "aud": "ati-proxy", "iat": NOW, "exp": NOW + 600, "scope": "tool:a tool:b:*"})
}

/// Signs the claims of [`good`] with one claim changed, or removed if the value is `None`.
pub(crate) fn with(claim: &str, value: impl Into<Option<Value>>) -> String {
    let mut claims = good();
    let members = claims.as_object_mut().unwrap();
    match value.into() {
        Some(value) => members.insert(claim.to_owned(), value),
        None => members.remove(claim),
    };
    token(&claims)
}

/// Signs a token with these claims.
pub(crate) fn token(claims: &Value) -> String {
    forge(HEADER, claims.to_string())
}

/// Signs any header and payload with [`SECRET`].
pub(crate) fn forge(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    sign(&format!("{}.{}", encode(header), encode(payload)))
}

/// Appends the signature to `message`.
pub(crate) fn sign(message: &str) -> String {
    format!("{message}.{}", encode(mac(message)))
}

pub(crate) fn mac(message: &str) -> Vec<u8> {
    let secret = base16ct::lower::decode_vec(SECRET).unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Any rate with this number of calls.
pub(crate) fn rate_of(calls: impl Strategy<Value = u64>) -> impl Strategy<Value = RateSpec> {
    let unit = prop_oneof![
        Just(RateUnit::Second),
        Just(RateUnit::Minute),
        Just(RateUnit::Hour),
        Just(RateUnit::Day)
    ];
    (calls, unit).prop_map(|(calls, unit)| RateSpec::new(calls, unit))
}
