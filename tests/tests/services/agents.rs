//! Builds tokens of agents, and the layer that verifies them.

use std::sync::LazyLock;
use std::time::Duration;

use ati_client::{Claims, ClaimsBuilder, SigningKey, Verifier, issue};
use atlasent_axum::AtiLayer;
use atlasent_tests::cases::AGENT;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The scope that all ways require.
pub(crate) const SCOPE: &str = "tool:deploy";

const SECRET: [u8; 32] = *b"the secret of the service tests!";

pub(crate) fn key() -> SigningKey {
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    SigningKey::from_hex(&hex).unwrap()
}

pub(crate) fn another_key() -> SigningKey {
    SigningKey::from_hex("0f1e2d3c4b5a69788796a5b4c3d2e1f000112233445566778899aabbccddeeff")
        .unwrap()
}

/// Returns a layer that accepts tokens signed by this key.
pub(crate) fn accepting(key: &SigningKey) -> AtiLayer {
    AtiLayer::new(Verifier::builder(key.verifying_key()).build().unwrap())
}

pub(crate) fn ati() -> AtiLayer {
    accepting(&key())
}

/// Returns the claims of the agent of the cases, with the scope.
pub(crate) fn agent() -> ClaimsBuilder {
    Claims::builder(AGENT).scope(SCOPE)
}

pub(crate) fn signed(claims: ClaimsBuilder, key: &SigningKey) -> String {
    issue(&claims.build().unwrap(), key).unwrap()
}

pub(crate) fn token(claims: ClaimsBuilder) -> String {
    signed(claims, &key())
}

/// Returns a token that every way accepts.
pub(crate) fn good_token() -> &'static str {
    // The longest allowed life: the slowest test is shorter.
    static TOKEN: LazyLock<String> =
        LazyLock::new(|| token(agent().ttl(Duration::from_secs(3600))));
    &TOKEN
}

/// Returns a valid signature over a token with this id. `issue` refuses an id that makes the token
/// too long.
pub(crate) fn token_with_id(id: &str) -> String {
    let claims = agent().build().unwrap();
    let mut claims: Value = serde_json::from_str(claims.to_json()).unwrap();
    claims["jti"] = id.into();
    let encode = |json: &Value| Base64UrlUnpadded::encode_string(json.to_string().as_bytes());
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET).unwrap();
    mac.update(message.as_bytes());
    let signature = Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes());
    format!("{message}.{signature}")
}

/// Returns invalid tokens.
pub(crate) fn bad_tokens() -> Vec<(&'static str, String)> {
    let expired = agent().issued_at(1_000_000_000).expires_at(1_000_000_060);
    let mut forged = good_token().to_owned();
    let changed = forged.len() - 5..forged.len() - 4;
    let other = if &forged[changed.clone()] == "A" {
        "B"
    } else {
        "A"
    };
    forged.replace_range(changed, other);
    vec![
        ("garbage", "not.a.token".into()),
        ("expired", token(expired)),
        ("of another key", signed(agent(), &another_key())),
        ("forged", forged),
    ]
}
