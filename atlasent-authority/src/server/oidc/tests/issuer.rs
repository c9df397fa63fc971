//! An issuer on this machine, whose keys, answers and clock a test sets.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaPublicKeyComponents,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::server::oidc::{OidcConfig, OidcVerifier};

const RSA: &[u8] = include_bytes!("test-rsa.pkcs8.pem");

/// What the issuer answers.
#[derive(Clone)]
pub(super) enum Answer {
    Status(StatusCode),
    Json(String),
    Redirect(String),
    Nothing,
}

pub(super) struct LocalIssuer(Arc<Shared>);

struct Shared {
    url: String,
    jwks: Mutex<Answer>,
    discovery: Mutex<Answer>,
    fetches: AtomicUsize,
    now: AtomicI64,
}

impl LocalIssuer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") });
        let shared = Arc::new(Shared {
            url,
            jwks: Mutex::new(Answer::Json(r#"{"keys":[]}"#.to_owned())),
            discovery: Mutex::new(Answer::Json(discovery.to_string())),
            fetches: AtomicUsize::new(0),
            now: AtomicI64::new(1_800_000_000),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self(shared)
    }

    pub(super) fn url(&self) -> &str {
        &self.0.url
    }

    /// Returns the time of the verifiers, in seconds.
    pub(super) fn now(&self) -> i64 {
        self.0.now.load(Ordering::SeqCst)
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.0.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Returns how often the keys were asked for.
    pub(super) fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }

    pub(super) fn publish(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk.clone()).collect();
        self.answer_keys(Answer::Json(json!({ "keys": keys }).to_string()));
    }

    pub(super) fn answer_keys(&self, answer: Answer) {
        *self.0.jwks.lock().unwrap() = answer;
    }

    pub(super) fn answer_discovery(&self, answer: Answer) {
        *self.0.discovery.lock().unwrap() = answer;
    }

    /// Creates a verifier whose clock is the issuer's.
    pub(super) fn verifier(&self, config: OidcConfig) -> OidcVerifier {
        let shared = Arc::clone(&self.0);
        let clock = move || Timestamp::from_second(shared.now.load(Ordering::SeqCst)).unwrap();
        OidcVerifier::with_clock(config, clock).unwrap()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let answer = match request.uri().path() {
        "/.well-known/openid-configuration" => shared.discovery.lock().unwrap().clone(),
        "/jwks" => {
            shared.fetches.fetch_add(1, Ordering::SeqCst);
            shared.jwks.lock().unwrap().clone()
        }
        _ => Answer::Status(StatusCode::NOT_FOUND),
    };
    let response = Response::builder();
    let response = match answer {
        Answer::Status(status) => response.status(status).body(Body::empty()),
        Answer::Json(json) => response.body(Body::from(json)),
        Answer::Redirect(to) => response
            .status(307)
            .header("location", to)
            .body(Body::empty()),
        Answer::Nothing => std::future::pending().await,
    };
    response.unwrap()
}

/// A key that signs tokens.
pub(super) struct Signer {
    key: SigningKey,
    pub(super) header: Value,
    /// The public key, as the issuer publishes it.
    pub(super) jwk: Value,
}

enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

impl Signer {
    pub(super) fn ed25519(id: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let x = base64(key.public_key());
        Self {
            header: json!({ "alg": "EdDSA", "kid": id, "typ": "JWT" }),
            jwk: json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x }),
            key: SigningKey::Ed25519(key),
        }
    }

    pub(super) fn es256(id: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref().to_vec();
        let (x, y) = (base64(&point[1..33]), base64(&point[33..]));
        Self {
            header: json!({ "alg": "ES256", "kid": id, "typ": "at+jwt" }),
            jwk: json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": x, "y": y }),
            key: SigningKey::Ecdsa(Box::new(key)),
        }
    }

    pub(super) fn rs256(id: &str) -> Self {
        let document = PrivatePkcs8KeyDer::from_pem_slice(RSA).unwrap();
        let key = RsaKeyPair::from_pkcs8(document.secret_pkcs8_der()).unwrap();
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
        let (n, e) = (base64(public.n), base64(public.e));
        Self {
            header: json!({ "alg": "RS256", "kid": id }),
            jwk: json!({ "kty": "RSA", "kid": id, "alg": "RS256", "n": n, "e": e }),
            key: SigningKey::Rsa(Box::new(key)),
        }
    }

    /// Changes members of the header; `null` removes one.
    pub(super) fn with_header(mut self, changes: Value) -> Self {
        self.header = super::changed(self.header, changes);
        self
    }

    /// Changes members of the published key; `null` removes one.
    pub(super) fn with_jwk(mut self, changes: Value) -> Self {
        self.jwk = super::changed(self.jwk, changes);
        self
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            base64(self.header.to_string()),
            base64(claims.to_string())
        );
        let random = SystemRandom::new();
        let signature = match &self.key {
            SigningKey::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &random,
                    message.as_bytes(),
                    &mut signature,
                )
                .unwrap();
                signature
            }
            SigningKey::Ecdsa(key) => {
                let signature = key.sign(&random, message.as_bytes()).unwrap();
                signature.as_ref().to_vec()
            }
            SigningKey::Ed25519(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", base64(signature))
    }
}
