//! A server on its own socket, and raw requests to it.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atlasent::Client;
use atlasent::client::ClientBuilder;
use atlasent_authority::keys::ApiKey;
use atlasent_authority::server::{ApiKeys, ServeError, Server, Settings};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::store::{RateCounter, Store};
use atlasent_authority::{LocalAuthority, Policies, RedbStore};
use atlasent_tests::http::plain;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::retry::never;
use reqwest::{Method, RequestBuilder};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "ask_test_0123456789";
pub(crate) const AGENT: &str = "deploy-bot";

/// The endpoints that read a body.
pub(crate) const TARGETS: [&str; 5] = [
    "/v1-evaluate",
    "/v1-evaluate-stream",
    "/v1-verify-permit",
    "/v1-revoke-permit",
    "/v1-audit/exports",
];

/// One policy for each decision. An action that no policy names is denied.
pub(crate) const POLICIES: &str = r#"
    @id("may-deploy") permit (principal, action == Action::"deploy", resource);

    @id("freeze") @decision("hold") @reason("nothing changes on fridays") @code("CHANGE_FREEZE") @retry_after("3600")
    forbid (principal, action == Action::"release", resource);

    @id("ask") @decision("escalate") @reason("a person has to decide") @code("ASK_A_PERSON")
    forbid (principal, action == Action::"migrate", resource);

    @id("never") @reason("nobody drops the database") @code("NEVER")
    forbid (principal, action == Action::"drop", resource);
"#;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Waits until a condition holds. Panics with `what` after 30 seconds.
pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_500 {
        if holds() {
            return;
        }
        tokio::time::sleep(ms(20)).await;
    }
    panic!("{what}");
}

pub(crate) fn policies() -> Policies {
    Policies::parse(POLICIES).unwrap()
}

/// Returns the stored form of a key with all scopes.
pub(crate) fn stored(key: &str) -> ApiKey {
    ApiKey::parse_allow_weak(&SecretString::from(key.to_owned())).unwrap()
}

pub(crate) fn memory() -> LocalAuthority {
    LocalAuthority::in_memory(policies()).unwrap()
}

/// Opens a store. The last tasks of a server that has stopped may still hold it.
pub(crate) async fn open_store(path: impl AsRef<Path>) -> RedbStore {
    let open = async || {
        loop {
            match RedbStore::open(&path) {
                Ok(store) => return store,
                Err(_) => tokio::time::sleep(ms(10)).await,
            }
        }
    };
    tokio::time::timeout(ms(20_000), open()).await.unwrap()
}

/// Builds an authority whose store is in this folder.
pub(crate) async fn on_disk(folder: &Path) -> LocalAuthority<RedbStore> {
    let store = open_store(folder.join("store")).await;
    let authority = LocalAuthority::builder(policies()).store(store).build();
    authority.await.unwrap()
}

/// Builds a server of an authority for the holder of [`KEY`].
pub(crate) fn server<S: Store + RateCounter>(authority: LocalAuthority<S>) -> Server<S> {
    let ring = KeyRing::in_memory().unwrap();
    Server::new(authority, ApiKeys::new([stored(KEY)]), ring)
}

/// Settings that differ from the defaults.
pub(crate) fn settings(set: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    set(&mut settings);
    settings
}

/// Returns settings with this time limit for every step.
pub(crate) fn impatient(limit: Duration) -> Settings {
    settings(|settings| {
        settings.request_timeout = limit;
        settings.export_timeout = limit * 4;
    })
}

/// A running server.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    /// Starts a server with all its defaults.
    pub(crate) async fn start() -> Self {
        Self::run(server(memory())).await
    }

    /// Runs a server on a free port.
    pub(crate) async fn run<S: Store + RateCounter>(server: Server<S>) -> Self {
        let listening = server.listen("127.0.0.1:0".parse().unwrap(), None);
        let listening = listening.await.unwrap();
        let address = listening.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(listening.run_until(async {
            // Without a stop, the server runs until the test ends.
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        }));
        Self {
            address,
            http: plain().retry(never()).build().unwrap(),
            stop,
            task,
        }
    }

    /// Tells the server to stop, without waiting.
    pub(crate) fn stop(self) -> JoinHandle<Result<(), ServeError>> {
        self.stop.send(()).unwrap();
        self.task
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Builds a request without any of our headers.
    pub(crate) fn bare(&self, method: Method, target: &str) -> RequestBuilder {
        self.http.request(method, self.url() + target)
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        Answer::receive(keyed(self.bare(Method::GET, target))).await
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> Answer {
        self.post_text(target, body.to_string()).await
    }

    pub(crate) async fn post_text(&self, target: &str, body: impl Into<Vec<u8>>) -> Answer {
        let request = keyed(self.bare(Method::POST, target)).body(body.into());
        Answer::receive(request).await
    }

    pub(crate) async fn evaluate(&self, body: &Value) -> Answer {
        self.post("/v1-evaluate", body).await
    }

    pub(crate) async fn verify(&self, body: &Value) -> Answer {
        self.post("/v1-verify-permit", body).await
    }

    /// Returns the token of a permit to deploy.
    pub(crate) async fn token(&self) -> String {
        token_of(&self.evaluate(&deploy()).await)
    }

    /// Returns all events of the chain, as the server lists them.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let page = self.get("/v1-audit/events?limit=500").await.json();
        page["events"].as_array().unwrap().clone()
    }

    /// Counts the events of this type.
    pub(crate) async fn count(&self, kind: &str) -> u64 {
        let page = self.get(&format!("/v1-audit/events?types={kind}")).await;
        page.json()["total"].as_u64().unwrap()
    }

    /// Returns our own client, with timeouts for a loaded machine.
    pub(crate) fn client(&self) -> ClientBuilder {
        Client::builder()
            .api_key(KEY)
            .base_url(self.url())
            .timeout(ms(60_000))
            .deadline(ms(600_000))
    }
}

/// Returns a request to deploy.
pub(crate) fn deploy() -> Value {
    evaluate_body("deploy")
}

/// Returns the body of an evaluate request for this action.
pub(crate) fn evaluate_body(action: &str) -> Value {
    json!({"action_type": action, "actor_id": AGENT, "context": {"environment": "production"}})
}

/// Returns `body` with these fields set.
pub(crate) fn with(mut body: Value, fields: &Value) -> Value {
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

pub(crate) fn token_of(answer: &Answer) -> String {
    let json = answer.json();
    let token = json["permit_token"].as_str();
    token
        .unwrap_or_else(|| panic!("{}", answer.text))
        .to_owned()
}

/// Builds a request with the headers that every client sends.
pub(crate) fn keyed(request: RequestBuilder) -> RequestBuilder {
    request
        .header(AUTHORIZATION, format!("Bearer {KEY}"))
        .header(CONTENT_TYPE, "application/json")
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn receive(request: RequestBuilder) -> Self {
        Self::try_receive(request).await.unwrap()
    }

    pub(crate) async fn try_receive(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        Ok(Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await?,
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Asserts that a problem has exactly three strings, and the id of the header.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        let json = self.json();
        assert_eq!(json["code"], code, "{}", self.text);
        assert_eq!(names(&json), ["code", "message", "request_id"]);
        assert!(!json["message"].as_str().unwrap().is_empty());
        let id = json["request_id"].as_str().unwrap();
        assert_eq!(self.header("x-request-id"), Some(id));
        let kind = self.header("content-type").unwrap();
        assert!(kind.starts_with("application/json"), "{kind}");
    }
}

/// Returns the sorted field names of an object.
pub(crate) fn names(json: &Value) -> Vec<&str> {
    let mut names: Vec<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

/// A clock that tests set.
#[derive(Clone)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    /// Creates a clock that reads noon of a day.
    pub(crate) const NOON: i64 = 1_767_268_800;

    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(Self::NOON)))
    }

    /// Sets the clock to this many seconds after noon.
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(Self::NOON + seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        let time = self.clone();
        move || Timestamp::from_second(time.0.load(Ordering::SeqCst)).unwrap()
    }
}
