//! Comparison with `jsonwebtoken::encode` and `decode`, which ATI's own proxy uses: each reads the
//! other's tokens, and `jsonwebtoken` accepts every token that this crate accepts.

use ati_client::{Algorithm, Claims, RateSpec, RateUnit, SigningKey, Verifier, issue};
use jsonwebtoken::{
    DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::provider;
use crate::support::{SECRET, forge, key, verifier};

/// A key of this crate, and the same key for signing and verifying in `jsonwebtoken`.
fn pairs() -> [(SigningKey, EncodingKey, DecodingKey); 2] {
    provider::install();
    let secret = base16ct::lower::decode_vec(SECRET).unwrap();
    let der = |pem: &str| {
        use base64::Engine;
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        base64::engine::general_purpose::STANDARD
            .decode(lines.collect::<String>())
            .unwrap()
    };
    let private = der(include_str!("keys/p256.pkcs8.pem"));
    let public = der(include_str!("keys/p256.public.pem"));
    [
        (
            key(),
            EncodingKey::from_secret(&secret),
            DecodingKey::from_secret(&secret),
        ),
        (
            SigningKey::from_pem(include_bytes!("keys/p256.pkcs8.pem")).unwrap(),
            EncodingKey::from_ec_der(&private),
            // SPKI ends with the point.
            DecodingKey::from_ec_der(&public[public.len() - 65..]),
        ),
    ]
}

fn claims() -> Claims {
    Claims::builder("агент-7")
        .scope("tool:a")
        .rate("tool:a", RateSpec::new(1, RateUnit::Hour))
        .build()
        .unwrap()
}

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
    }
}

#[test]
fn it_reads_what_we_issue() {
    for (ours, _, key) in pairs() {
        let claims = claims();
        let mut rules = Validation::new(theirs(ours.algorithm()));
        rules.set_audience(&["ati-proxy"]);
        let read = decode::<Value>(issue(&claims, &ours).unwrap(), &key, &rules).unwrap();
        assert_eq!(
            read.claims,
            serde_json::from_str::<Value>(claims.to_json()).unwrap()
        );
        assert_eq!(read.header, Header::new(theirs(ours.algorithm())));
    }
}

#[test]
fn we_read_what_it_issues() {
    for (ours, key, _) in pairs() {
        let claims: Value = serde_json::from_str(claims().to_json()).unwrap();
        let token = encode(&Header::new(theirs(ours.algorithm())), &claims, &key).unwrap();
        let verifier = Verifier::builder(ours.verifying_key()).build().unwrap();
        let read = verifier.verify(&token).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(read.to_json()).unwrap(),
            claims
        );
    }
}

#[test]
fn it_reads_the_kid_that_we_issue() {
    for (ours, _, key) in pairs() {
        let named = ours.clone().with_id("2026-11").unwrap();
        let mut rules = Validation::new(theirs(ours.algorithm()));
        rules.set_audience(&["ati-proxy"]);
        let token = issue(&claims(), &named).unwrap();
        let read = decode::<Value>(token, &key, &rules).unwrap();
        assert_eq!(read.header.kid.as_deref(), Some("2026-11"));
    }
}

#[test]
fn we_read_the_kid_that_it_issues() {
    for (ours, key, _) in pairs() {
        let claims: Value = serde_json::from_str(claims().to_json()).unwrap();
        let mut header = Header::new(theirs(ours.algorithm()));
        header.kid = Some("2026-11".to_owned());
        let token = encode(&header, &claims, &key).unwrap();
        let id = |id: &str| ours.verifying_key().with_id(id).unwrap();
        let verified = |id| Verifier::builder(id).build().unwrap().verify(&token);
        assert!(verified(id("2026-11")).is_ok());
        assert_eq!(verified(id("2026-05")), Err(ati_client::Error::UnknownKey));
    }
}

/// Generates a value of a claim or of a header's member, of any type.
fn anything() -> impl Strategy<Value = Value> {
    let now = get_current_timestamp();
    select(vec![
        json!(null),
        json!(true),
        json!(1),
        json!(-1),
        json!(now - 1000),
        json!(now - 30),
        json!(now),
        json!(now + 30),
        json!(now + 1000),
        json!(now as f64 + 0.5),
        json!(u64::MAX),
        json!(""),
        json!("HS256"),
        json!("HS512"),
        json!("none"),
        json!("JWT"),
        json!("at+jwt"),
        json!("ati-proxy"),
        json!(["ati-proxy"]),
        json!(["other", "ati-proxy"]),
        json!([]),
        json!([1]),
        json!({}),
        json!({"v": 1}),
    ])
}

/// Generates the object with some members changed, added or removed.
fn changed(object: Value, names: Vec<&'static str>) -> impl Strategy<Value = Map<String, Value>> {
    let change = (select(names), proptest::option::of(anything()));
    vec(change, 0..3).prop_map(move |changes| {
        let mut members = object.as_object().unwrap().clone();
        for (name, value) in changes {
            match value {
                Some(value) => members.insert(name.to_owned(), value),
                None => members.remove(name),
            };
        }
        members
    })
}

fn headers() -> impl Strategy<Value = Map<String, Value>> {
    let header = json!({"alg": "HS256", "typ": "JWT"});
    changed(
        header,
        vec![
            "alg", "typ", "kid", "crit", "b64", "cty", "jku", "jwk", "x5u", "x5c", "x5t",
            "x5t#S256", "enc", "zip", "url", "nonce", "x",
        ],
    )
}

fn payloads() -> impl Strategy<Value = Map<String, Value>> {
    let now = get_current_timestamp();
    let claims = json!({"sub": "a", "aud": "ati-proxy", "iat": now, "exp": now + 600, "scope": ""});
    changed(
        claims,
        vec![
            "sub", "aud", "iat", "exp", "nbf", "scope", "iss", "jti", "ati", "x",
        ],
    )
}

proptest! {
    #[test]
    fn what_we_accept_it_accepts(header in headers(), claims in payloads()) {
        let [(_, _, key), _] = pairs();
        let token = forge(Value::Object(header).to_string(), Value::Object(claims).to_string());
        let mut rules = Validation::new(jsonwebtoken::Algorithm::HS256);
        rules.set_audience(&["ati-proxy"]);
        rules.validate_nbf = true;
        let theirs = decode::<Value>(&token, &key, &rules);
        if let Ok(ours) = verifier().verify(&token) {
            prop_assert!(theirs.is_ok(), "{ours:?}: {theirs:?}");
        }
    }
}
