//! Builds tokens of agents, and requests that carry them.

use std::sync::LazyLock;

use ati_client::{Claims, ClaimsBuilder, SigningKey, Verifier, VerifierBuilder, issue};
use atlasent_tests::cases::AGENT;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderValue, Request, header};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::inner::Body;

const SECRET: [u8; 32] = *b"the secret of the tower's tests!";

pub(crate) fn key() -> SigningKey {
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    SigningKey::from_hex(&hex).unwrap()
}

pub(crate) fn verifier() -> Verifier {
    verifier_builder().build().unwrap()
}

pub(crate) fn verifier_builder() -> VerifierBuilder {
    Verifier::builder(key().verifying_key())
}

/// The claims of the agent that the cases are about.
pub(crate) fn agent() -> ClaimsBuilder {
    Claims::builder(AGENT)
}

pub(crate) fn token(claims: ClaimsBuilder) -> String {
    issue(&claims.build().unwrap(), &key()).unwrap()
}

/// A token of the agent that grants everything.
pub(crate) fn any_token() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| token(agent().scope("*")));
    &TOKEN
}

/// A token that no builder writes, signed all the same.
pub(crate) fn raw_token(header: &Value, claims: &Value) -> String {
    let encode = |json: &Value| Base64UrlUnpadded::encode_string(json.to_string().as_bytes());
    let message = format!("{}.{}", encode(header), encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET).unwrap();
    mac.update(message.as_bytes());
    let signature = Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

/// The header of tokens as they should be.
pub(crate) fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

/// Claims as they should be, to be changed.
pub(crate) fn raw_claims() -> Value {
    let claims = agent().scope("*").build().unwrap();
    serde_json::from_str(claims.to_json()).unwrap()
}

/// A request without a token.
pub(crate) fn request(path: &str) -> Request<Body> {
    Request::post(path).body(Body::default()).unwrap()
}

/// A request whose header `Authorization` is this.
pub(crate) fn authorized(path: &str, value: &[u8]) -> Request<Body> {
    let mut request = request(path);
    let value = HeaderValue::from_bytes(value).unwrap();
    request.headers_mut().append(header::AUTHORIZATION, value);
    request
}

/// A request with a token.
pub(crate) fn bearing(path: &str, token: &str) -> Request<Body> {
    authorized(path, format!("Bearer {token}").as_bytes())
}
