//! An OpenID Connect issuer on this machine, which logs alice in. A test changes what it answers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "what tests call may panic as tests do"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// The client of the issuer.
pub const CLIENT: &str = "atlasent-console";

/// The secret of the client, which form encoding changes.
pub const SECRET: &str = "s3cret+/:=%";

/// What the issuer does. Tests change it while it runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Script {
    /// The claims of ID tokens that differ; `null` removes one.
    pub claims: Value,
    /// The members of the header that differ; `null` removes one.
    pub header: Value,
    /// Whether ID tokens are signed with a key that is not published.
    pub is_forged: bool,
    /// Whether a code is accepted again.
    pub accepts_used_codes: bool,
    /// What the token endpoint answers, in place of a token.
    pub token_answer: Option<(u16, String)>,
    /// The members of the discovery document that differ; `null` removes one.
    pub discovery: Value,
    /// Whether the discovery document is missing.
    pub is_down: bool,
    /// The time in seconds since 1970. Unset for that of the system.
    pub now: Option<i64>,
}

/// A running issuer. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Issuer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    url: String,
    key: SigningKey,
    script: Mutex<Script>,
    /// The requests of the authorization endpoint, by code.
    begun: Mutex<HashMap<String, Map<String, Value>>>,
    redeemed: Mutex<Vec<TokenRequest>>,
}

/// A request to the token endpoint.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The form.
    pub form: HashMap<String, String>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

impl Issuer {
    /// Starts an issuer under a name of this machine: `localhost` or `127.0.0.1`.
    pub async fn start(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{host}:{}", listener.local_addr().unwrap().port());
        let script = Script {
            claims: json!({}),
            header: json!({}),
            is_forged: false,
            accepts_used_codes: false,
            token_answer: None,
            discovery: json!({}),
            is_down: false,
            now: None,
        };
        let issuer = Self(Arc::new(Shared {
            url,
            key: SigningKey::from_bytes(&[7; 32]),
            script: Mutex::new(script),
            begun: Mutex::default(),
            redeemed: Mutex::default(),
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    /// Returns the URL of the issuer.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Changes what the issuer does.
    pub fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.0.script.lock().unwrap());
    }

    /// Returns the settings of a server that trusts the issuer, with its login for a console at
    /// this address. `more` is the end of the table `login`.
    #[must_use]
    pub fn settings(&self, console_url: &str, more: &str) -> String {
        format!(
            "issuer = \"{}\"\naudience = \"atlasent\"\n\
             [login]\nclient_id = \"{CLIENT}\"\nconsole_url = \"{console_url}\"\n{more}\n",
            self.url()
        )
    }

    /// Returns the requests to the token endpoint.
    #[must_use]
    pub fn redeemed(&self) -> Vec<TokenRequest> {
        self.0.redeemed.lock().unwrap().clone()
    }

    fn script(&self) -> Script {
        self.0.script.lock().unwrap().clone()
    }

    /// Returns the bearer token of a person with the role `sre`, with some claims changed; `null`
    /// removes one.
    #[must_use]
    pub fn bearer_token(&self, person: &str, claims: &Value) -> String {
        let now = self.now();
        let of_person = json!({
            "iss": self.url(), "aud": "atlasent", "sub": person, "roles": ["sre"],
            "exp": now + 300, "iat": now,
        });
        self.signed(&changed(of_person, claims))
    }

    fn id_token(&self, begun: &Map<String, Value>) -> String {
        let now = self.now();
        let claims = json!({
            "iss": self.url(), "aud": CLIENT, "sub": "alice", "roles": ["sre", "release-manager"],
            "exp": now + 300, "iat": now, "nonce": begun.get("nonce"),
        });
        self.signed(&changed(claims, &self.script().claims))
    }

    fn now(&self) -> i64 {
        let system = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let now = self.script().now;
        now.unwrap_or_else(|| i64::try_from(system()).unwrap())
    }

    fn signed(&self, claims: &Value) -> String {
        let script = self.script();
        let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"});
        let header = changed(header, &script.header);
        let part = |json: &Value| Base64UrlUnpadded::encode_string(json.to_string().as_bytes());
        let message = format!("{}.{}", part(&header), part(claims));
        let key = match script.is_forged {
            true => SigningKey::from_bytes(&[8; 32]),
            false => self.0.key.clone(),
        };
        let signature = key.sign(message.as_bytes()).to_bytes();
        format!("{message}.{}", Base64UrlUnpadded::encode_string(&signature))
    }
}

fn changed(mut json: Value, changes: &Value) -> Value {
    let members = json.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    json
}

fn json_of(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

async fn discovery(State(issuer): State<Issuer>) -> Response {
    let (script, url) = (issuer.script(), issuer.url());
    if script.is_down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let document = json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks"),
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    json_of(&changed(document, &script.discovery))
}

async fn keys(State(issuer): State<Issuer>) -> Response {
    let x = Base64UrlUnpadded::encode_string(issuer.0.key.verifying_key().as_bytes());
    json_of(&json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x}]}))
}

/// Shows a page with the link by which alice goes on. It is a page of another site, as a login is.
async fn authorize(
    State(issuer): State<Issuer>,
    Query(sent): Query<HashMap<String, String>>,
) -> Html<String> {
    let mut begun = issuer.0.begun.lock().unwrap();
    let code = format!("code-{}", begun.len());
    let back = format!(
        "{}?code={code}&amp;state={}&amp;iss={}",
        sent["redirect_uri"],
        sent["state"],
        encoded(issuer.url())
    );
    let sent = sent.into_iter().map(|(name, value)| (name, value.into()));
    begun.insert(code, sent.collect());
    Html(format!(
        "<!doctype html><title>Issuer</title><p>Who are you?</p><a id=\"alice\" href=\"{back}\">alice</a>"
    ))
}

/// Redeems a code: once, for its client and redirect address, and with the verifier of its
/// challenge.
async fn token(State(issuer): State<Issuer>, headers: HeaderMap, body: Bytes) -> Response {
    let form = std::str::from_utf8(&body).unwrap();
    let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let form: HashMap<_, _> = pairs
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let authorization = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let request = TokenRequest {
        form: form.clone(),
        authorization,
    };
    issuer.0.redeemed.lock().unwrap().push(request);
    let script = issuer.script();
    if let Some((status, body)) = script.token_answer {
        return Response::builder()
            .status(status)
            .header("location", format!("{}/jwks", issuer.url()))
            .body(Body::from(body))
            .unwrap();
    }
    let mut begun = issuer.0.begun.lock().unwrap();
    let code = form.get("code").cloned().unwrap_or_default();
    let known = match script.accepts_used_codes {
        true => begun.get(&code).cloned(),
        false => begun.remove(&code),
    };
    drop(begun);
    let verifier = form.get("code_verifier").cloned().unwrap_or_default();
    let challenge = Base64UrlUnpadded::encode_string(&Sha256::digest(verifier));
    let fits = |begun: &Map<String, Value>| {
        begun["code_challenge"] == *challenge
            && begun["code_challenge_method"] == "S256"
            && begun["redirect_uri"] == form["redirect_uri"]
            && form["grant_type"] == "authorization_code"
    };
    match known.filter(fits) {
        Some(begun) => json_of(&json!({
            "access_token": "unused", "token_type": "Bearer", "id_token": issuer.id_token(&begun),
        })),
        None => {
            let refusal = json!({"error": "invalid_grant"});
            (StatusCode::BAD_REQUEST, json_of(&refusal)).into_response()
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: Option<u8>| char::from(digit.unwrap()).to_digit(16).unwrap();
        bytes.push(match byte {
            b'%' => u8::try_from(hex(rest.next()) * 16 + hex(rest.next())).unwrap(),
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}
