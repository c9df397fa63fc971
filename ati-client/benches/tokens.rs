//! Benchmarks of verifying tokens and matching scopes.
//!
//! - `verify` is `Verifier::verify`.
//! - `jsonwebtoken` is `jsonwebtoken::decode` with a prebuilt key into the same claims, without the
//!   stricter checks of the contract.
//! - `jsonwebtoken_rules_each_time` also builds the rules for each token, as ATI's proxy does.
//! - `signature_hs256` and `signature_es256` are the bare operations, HMAC and ECDSA.
//! - `cached` is `Verifier::verify` with the token in the cache.

#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot run should stop"
)]

#[path = "../tests/tokens/provider.rs"]
mod provider;

use std::collections::HashMap;

use ati_client::{
    Claims, RateSpec, RateUnit, SigningKey, VerifiedCache, Verifier, check_scope, issue,
};
use divan::{AllocProfiler, Bencher, black_box};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use ring::{hmac, signature};
use serde::Deserialize;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const SECRET: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";

/// The claims as ATI's proxy reads them.
#[derive(Deserialize)]
#[expect(dead_code, reason = "the benchmark measures only that they are read")]
struct Theirs {
    sub: String,
    aud: String,
    iat: u64,
    exp: u64,
    scope: String,
    iss: Option<String>,
    jti: Option<String>,
    ati: Option<Namespace>,
    job_id: Option<String>,
    sandbox_id: Option<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "the benchmark measures only that they are read")]
struct Namespace {
    v: u8,
    #[serde(default)]
    rate: HashMap<String, String>,
}

/// One algorithm: a key of this crate, the same key of `jsonwebtoken`, and a token of usual size.
struct Case {
    key: SigningKey,
    theirs: DecodingKey,
    algorithm: Algorithm,
    token: String,
}

impl Case {
    fn hs256() -> Self {
        let secret = base16ct::lower::decode_vec(SECRET).unwrap();
        let key = SigningKey::from_hex(SECRET).unwrap();
        Self::new(key, DecodingKey::from_secret(&secret), Algorithm::HS256)
    }

    fn es256() -> Self {
        let key = SigningKey::from_pem(include_bytes!("../tests/tokens/keys/p256.pkcs8.pem"));
        Self::new(
            key.unwrap(),
            DecodingKey::from_ec_der(&point()),
            Algorithm::ES256,
        )
    }

    fn new(key: SigningKey, theirs: DecodingKey, algorithm: Algorithm) -> Self {
        provider::install();
        let claims = Claims::builder("agent-7")
            .scopes(["tool:web_search", "tool:github:*", "skill:research-*"])
            .rate("tool:github:*", RateSpec::new(10, RateUnit::Hour))
            .build()
            .unwrap();
        Self {
            token: issue(&claims, &key).unwrap(),
            key,
            theirs,
            algorithm,
        }
    }

    fn rules(&self) -> Validation {
        let mut rules = Validation::new(self.algorithm);
        rules.set_audience(&["ati-proxy"]);
        rules.set_required_spec_claims(&["exp", "sub", "aud"]);
        rules
    }

    fn verifier(&self) -> Verifier {
        Verifier::builder(self.key.verifying_key()).build().unwrap()
    }

    fn message_and_signature(&self) -> (&str, Vec<u8>) {
        use base64::Engine;
        let (message, signature) = self.token.rsplit_once('.').unwrap();
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        (message, engine.decode(signature).unwrap())
    }
}

/// Returns the point of the test's public key, with which SPKI ends.
fn point() -> Vec<u8> {
    use rustls_pki_types::SubjectPublicKeyInfoDer;
    use rustls_pki_types::pem::PemObject;
    let pem = include_bytes!("../tests/tokens/keys/p256.public.pem");
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).unwrap();
    der.as_ref().last_chunk::<65>().unwrap().to_vec()
}

fn case(algorithm: &str) -> Case {
    match algorithm {
        "HS256" => Case::hs256(),
        _ => Case::es256(),
    }
}

const ALGORITHMS: [&str; 2] = ["HS256", "ES256"];

#[divan::bench(args = ALGORITHMS)]
fn verify(bencher: Bencher<'_, '_>, algorithm: &str) {
    let case = case(algorithm);
    let verifier = case.verifier();
    bencher.bench(|| verifier.verify(black_box(&case.token)).unwrap());
}

#[divan::bench(args = ALGORITHMS)]
fn jsonwebtoken(bencher: Bencher<'_, '_>, algorithm: &str) {
    let case = case(algorithm);
    let rules = case.rules();
    bencher.bench(|| decode::<Theirs>(black_box(&case.token), &case.theirs, &rules).unwrap());
}

#[divan::bench(args = ALGORITHMS)]
fn jsonwebtoken_rules_each_time(bencher: Bencher<'_, '_>, algorithm: &str) {
    let case = case(algorithm);
    bencher
        .bench(|| decode::<Theirs>(black_box(&case.token), &case.theirs, &case.rules()).unwrap());
}

#[divan::bench(args = ALGORITHMS)]
fn cached(bencher: Bencher<'_, '_>, algorithm: &str) {
    let case = case(algorithm);
    let verifier = Verifier::builder(case.key.verifying_key())
        .cache(VerifiedCache::new(1000))
        .build()
        .unwrap();
    bencher.bench(|| verifier.verify(black_box(&case.token)).unwrap());
}

#[divan::bench]
fn signature_hs256(bencher: Bencher<'_, '_>) {
    let case = Case::hs256();
    let (message, mac) = case.message_and_signature();
    let secret = base16ct::lower::decode_vec(SECRET).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    bencher.bench(|| hmac::verify(&key, black_box(message.as_bytes()), &mac).unwrap());
}

#[divan::bench]
fn signature_es256(bencher: Bencher<'_, '_>) {
    let case = Case::es256();
    let (message, signature) = case.message_and_signature();
    let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point());
    bencher.bench(|| {
        key.verify(black_box(message.as_bytes()), &signature)
            .unwrap();
    });
}

#[divan::bench(args = ALGORITHMS)]
fn issue_token(bencher: Bencher<'_, '_>, algorithm: &str) {
    let case = case(algorithm);
    let claims = case.verifier().verify(&case.token).unwrap();
    bencher.bench(|| issue(black_box(&claims), &case.key).unwrap());
}

/// Only the last of `patterns` patterns covers the tool, by its older name.
#[divan::bench(args = [1, 10, 100])]
fn check_scope_over(bencher: Bencher<'_, '_>, patterns: usize) {
    let mut granted: Vec<String> = (1..patterns)
        .map(|n| format!("tool:provider{n}:*"))
        .collect();
    granted.push("tool:github_*".to_owned());
    bencher.bench(|| {
        let granted = granted.iter().map(String::as_str);
        check_scope(black_box("tool:github:search"), granted).unwrap()
    });
}

fn main() {
    divan::main();
}
