//! `jsonwebtoken::encode` and `decode`, which ATI's own proxy is built on, agree with us in both directions.

use ati_client::{Algorithm, Claims, RateSpec, SigningKey, Unit, Verifier, issue};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::Value;

use crate::provider;
use crate::support::{SECRET, key};

/// A key of ours, and the two of theirs that are the same.
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
            // The point is what SPKI ends in.
            DecodingKey::from_ec_der(&public[public.len() - 65..]),
        ),
    ]
}

fn claims() -> Claims {
    Claims::builder("агент-7")
        .scope("tool:a")
        .rate("tool:a", RateSpec::new(1, Unit::Hour))
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
