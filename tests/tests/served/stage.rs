//! A server on a socket of this machine, and somebody who asks it.

use std::net::SocketAddr;

use atlasent_authority::server::{KeyBook, PolicyFolder, Retention, Server, Settings};
use atlasent_authority::{
    ApiKey, Environment, KeyRing, LocalAuthority, MemoryStore, Policies, Store,
};
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const POLICIES: &str = r#"
    @id("deployers") @reason("bots may deploy")
    permit (principal, action == Action::"deploy", resource);
    @id("big") @decision("hold") @reason("wait") @code("BIG") @retry_after("300")
    forbid (principal, action == Action::"deploy", resource) when { context has replicas && context.replicas > 50 };
    @id("legal") @decision("escalate") @reason("ask legal") @code("LEGAL")
    forbid (principal, action == Action::"deploy", resource == Resource::"contract");
    @id("never") @reason("never")
    forbid (principal == Agent::"intern", action, resource);
"#;

pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Said {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }
}

pub(crate) fn policies() -> Policies {
    Policies::parse(POLICIES).unwrap()
}

pub(crate) fn new_key() -> (ApiKey, SecretString) {
    ApiKey::generate(Environment::Test).unwrap()
}

/// What a server is made of; the rest is as usual.
pub(crate) struct Set<S: Store> {
    pub(crate) authority: LocalAuthority<S>,
    pub(crate) keys: KeyBook,
    pub(crate) signing: KeyRing,
    pub(crate) settings: Settings,
    pub(crate) folder: Option<PolicyFolder>,
    pub(crate) retention: Option<Retention>,
}

impl<S: Store> Set<S> {
    pub(crate) fn new(authority: LocalAuthority<S>) -> Self {
        Self {
            authority,
            keys: KeyBook::default(),
            signing: KeyRing::in_memory().unwrap(),
            settings: Settings::default(),
            folder: None,
            retention: None,
        }
    }

    /// Serves with this key, and those that it has.
    pub(crate) async fn serve(self, key: &SecretString) -> Stage {
        let mut server =
            Server::new(self.authority, self.keys, self.signing).settings(self.settings);
        if let Some(folder) = self.folder {
            server = server.watch(folder);
        }
        if let Some(retention) = self.retention {
            server = server.retain(retention);
        }
        let listening = server
            .listen("127.0.0.1:0".parse().unwrap(), None)
            .await
            .unwrap();
        let (stop, stopped) = oneshot::channel();
        Stage {
            address: listening.address(),
            key: key.expose_secret().to_owned(),
            client: asker(),
            stop: Some(stop),
            serving: tokio::spawn(async {
                let stopped = async { drop(stopped.await) };
                listening.run_until(stopped).await.unwrap();
            }),
        }
    }
}

fn asker() -> reqwest::Client {
    // It builds its TLS even where it speaks none. Whoever comes second finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Stage {
    /// The usual server: everything in memory, one key for everything.
    pub(crate) async fn usual() -> Self {
        Self::with(LocalAuthority::in_memory(policies()).unwrap()).await
    }

    pub(crate) async fn with<S: Store>(authority: LocalAuthority<S>) -> Self {
        let (key, secret) = new_key();
        let mut set = Set::new(authority);
        set.keys = KeyBook::of([key]);
        set.serve(&secret).await
    }

    /// The usual server with one other key.
    pub(crate) async fn keyed(change: impl FnOnce(&mut ApiKey)) -> Self {
        let (mut key, secret) = new_key();
        change(&mut key);
        let mut set = Set::new(LocalAuthority::<MemoryStore>::in_memory(policies()).unwrap());
        set.keys = KeyBook::of([key]);
        set.serve(&secret).await
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.client.request(method.parse().unwrap(), url)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Said {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Said {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Said {
        self.post_text(path, body.to_string()).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Said {
        let request = self.request("POST", path).bearer_auth(&self.key);
        let request = request
            .header("content-type", "application/json")
            .body(body);
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Said {
        self.send(self.request("GET", path).bearer_auth(&self.key))
            .await
    }

    pub(crate) async fn evaluate(&self, body: Value) -> Said {
        self.post("/v1-evaluate", &body).await
    }

    pub(crate) async fn verify(&self, body: Value) -> Value {
        let said = self.post("/v1-verify-permit", &body).await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.body
    }

    /// The token of a permit for `deploy`, asked for with this context.
    pub(crate) async fn permit(&self, context: Value) -> String {
        let body =
            serde_json::json!({ "action_type": "deploy", "actor_id": "bot", "context": context });
        let said = self.evaluate(body).await;
        said.body["permit_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", said.text))
            .to_owned()
    }

    /// How many events of a type there are.
    pub(crate) async fn events(&self, kind: &str) -> u64 {
        let page = self.get(&format!("/v1-audit/events?types={kind}")).await;
        page.body["total"].as_u64().unwrap()
    }

    /// Ends the server in good order.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.serving.await.unwrap();
    }
}
