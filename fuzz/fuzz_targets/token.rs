//! Any text as an ATI token, and any header and payload with a valid signature: a token that
//! verifies can be inspected with the same claims, is valid at the current time, and verifies after
//! it is issued again.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ati_client::{SigningKey, Verifier, inspect, issue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;

const SECRET: [u8; 32] = [0; 32];
const NOW: u64 = 1_900_000_000;
const LEEWAY: u64 = 60;

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_hex(&"00".repeat(SECRET.len())).expect("a secret"));
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::builder(KEY.verifying_key())
        .build()
        .expect("a verifier")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(token) = std::str::from_utf8(bytes) {
        check(token);
    }
    // The header is before the first zero byte. Without a zero byte, the usual header is used.
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let first = parts.next().unwrap_or_default();
    let (header, payload) = match parts.next() {
        Some(payload) => (first, payload),
        None => (br#"{"alg":"HS256","typ":"JWT"}"#.as_slice(), first),
    };
    let encode = |part| URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(header), encode(payload));
    let mac = Hmac::<Sha256>::new_from_slice(&SECRET).expect("a key of any length");
    let signature = mac.chain_update(&message).finalize().into_bytes();
    check(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)));
});

fn check(token: &str) {
    let inspected = inspect(token);
    let Ok(claims) = VERIFIER.verify_at(token, now()) else {
        return;
    };
    let inspected = inspected.expect("a token that verifies can be inspected");
    assert_eq!(inspected.to_json(), claims.to_json());
    assert!(claims.exp().saturating_add(LEEWAY) >= NOW && claims.iat() <= NOW + LEEWAY);
    assert!(claims.aud().iter().any(|aud| aud == "ati-proxy"));
    let again = issue(&claims, &KEY).expect("verified claims can be issued");
    assert_eq!(
        VERIFIER.verify_at(&again, now()).expect("an issued token verifies"),
        claims
    );
    let _ = claims.scopes().grants("tool:github:search");
    let _ = claims.rates();
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}
