//! The credentials of a server over HTTP: on each request, and on none without an active permit.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atlasent::authority::IssuerId;
use atlasent::testing::MockAuthority;
use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{AnyAction, Authority, AuthorityExt, Decision, Error};
use atlasent_mcp::credential::{CredentialError, HostCredential};
use atlasent_mcp::guard::http::HttpUpstream;
use atlasent_mcp::guard::{Guard, Upstream};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::over_http::{Listening, Session, http};
use super::support::{Client, PATIENCE, SILENCE, Stage, allowing};

const SECRET: &str = "5a1e7b90c3d2f486";
/// How long a permit to be connected is active.
const LIFETIME: Duration = Duration::from_secs(1);

/// A server over HTTP that answers 401 to what comes without the credentials.
#[derive(Default)]
struct Server {
    /// What every answer to a call brings before the result, and what every stream of a session
    /// brings before it ends.
    before_result: Vec<Value>,
    stream: &'static str,
    seen: Mutex<Vec<Seen>>,
}

/// A request that the server got.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// The JSON-RPC or HTTP method, or `response`.
    what: String,
    is_authorized: bool,
}

impl Server {
    fn count(&self, what: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.what == what).count()
    }

    /// Waits until the server got `count` requests of a kind.
    async fn gets(&self, what: &str, count: usize) {
        let waiting = async {
            while self.count(what) < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, waiting).await;
        came.unwrap_or_else(|_| panic!("no {what}: {:?}", self.seen.lock().unwrap()));
    }

    fn assert_all_authorized(&self) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.iter().all(|seen| seen.is_authorized), "{seen:?}");
    }
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let method = match message.is_object() {
        true => message["method"].as_str().unwrap_or("response").to_owned(),
        false => parts.method.to_string(),
    };
    let expected = format!("Bearer {SECRET}");
    let is_authorized = parts
        .headers
        .get(AUTHORIZATION)
        .is_some_and(|value| *value == *expected);
    server.seen.lock().unwrap().push(Seen {
        what: method.clone(),
        is_authorized,
    });
    if !is_authorized {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let schema = json!({"type": "object"});
    let result = match &*method {
        "GET" => return ([(CONTENT_TYPE, "text/event-stream")], server.stream).into_response(),
        "DELETE" => return StatusCode::NO_CONTENT.into_response(),
        "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}),
        "tools/list" => json!({"tools": [{"name": "write", "inputSchema": schema}]}),
        "tools/call" => json!({"content": [{"type": "text", "text": "done"}]}),
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    let result = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
    if method == "tools/call" {
        let messages = server.before_result.iter().chain([&result]);
        let events = messages.map(|message| format!("data: {message}\n\n"));
        let events: String = events.collect();
        return ([(CONTENT_TYPE, "text/event-stream")], events).into_response();
    }
    let headers = [
        ("content-type", "application/json"),
        ("mcp-session-id", "s1"),
    ];
    (headers, result.to_string()).into_response()
}

/// Serves, and returns the URL.
async fn serve(server: &Arc<Server>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let router = axum::Router::new()
        .fallback(answer)
        .with_state(Arc::clone(server));
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

/// An authority whose permits for one action, which is to be connected, are active for a second,
/// and that can be stopped.
struct Brief {
    authority: MockAuthority,
    action: &'static str,
    is_stopped: Arc<AtomicBool>,
    /// The number of requests that the stop denied.
    denied: Arc<AtomicUsize>,
}

impl Brief {
    fn new() -> (Self, Arc<AtomicBool>) {
        let is_stopped = Arc::<AtomicBool>::default();
        let authority = allowing()
            .allow("mcp.fake:connect")
            .allow("mcp.fake:roots/list");
        let brief = Self {
            authority,
            action: "mcp.fake:connect",
            is_stopped: Arc::clone(&is_stopped),
            denied: Arc::default(),
        };
        (brief, is_stopped)
    }
}

impl Authority for Brief {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        if self.is_stopped.load(Ordering::SeqCst) {
            self.denied.fetch_add(1, Ordering::SeqCst);
            return Ok(Evaluation::refuse(Decision::Deny, "stopped"));
        }
        let mut evaluation = self.authority.evaluate(request).await?;
        if request.action_type == self.action {
            evaluation.expires_at = Some("2026-01-01T00:00:01Z".to_owned());
        }
        Ok(evaluation)
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let mut verification = self.authority.verify(request).await?;
        verification.timestamp = Some("2026-01-01T00:00:00Z".to_owned());
        Ok(verification)
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.authority.issuer()
    }
}

/// Returns a guard that holds the credentials, and the way to the server.
fn guarded(stage: &Stage, authority: Brief, url: &str) -> (Arc<Guard>, Upstream) {
    // Without a provider of cryptography, no client can be built, also for plain HTTP.
    let _ = http();
    let secret = HostCredential::bearer(url, SECRET.to_owned().into()).unwrap();
    let secret = secret.granted_by(&authority).unwrap();
    let guard = stage.new_guard(authority).with_secret(secret);
    let upstream = HttpUpstream::new(url.parse().unwrap()).unwrap();
    (Arc::new(guard), Upstream::Http(Arc::new(upstream)))
}

#[tokio::test]
async fn a_call_without_a_session_carries_credentials_from_its_first_request_on() {
    let server = Arc::new(Server::default());
    let url = serve(&server).await;
    let stage = Stage::new("");
    let (guard, upstream) = guarded(&stage, Brief::new().0, &url);
    let guard = Listening::open(guard, upstream).await;
    let session = Session::new(&guard);
    let version = "2026-07-28";
    let meta = json!({"io.modelcontextprotocol/protocolVersion": version});
    let params = json!({"name": "write", "arguments": {"path": "/a"}, "_meta": meta});
    for id in 1..=2 {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let request = session
            .request(reqwest::Method::POST)
            .header(CONTENT_TYPE, "application/json")
            .header("mcp-protocol-version", version)
            .body(call.to_string());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let response = response.text().await.unwrap();
        assert!(response.contains("done"), "{response}");
    }
    assert_eq!(server.count("tools/call"), 2);
    server.assert_all_authorized();
}

#[tokio::test]
async fn a_session_whose_permit_expired_is_connected_again_before_it_sends() {
    let server = Arc::new(Server {
        before_result: vec![
            json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
            json!({"jsonrpc": "2.0", "id": "r1", "method": "roots/list"}),
        ],
        ..Server::default()
    });
    let url = serve(&server).await;
    let stage = Stage::new("");
    let (guard, upstream) = guarded(&stage, Brief::new().0, &url);
    let mut client = Client::start(guard, upstream);
    client.initialize().await;
    for round in 1..=2 {
        // The list of the first round, and that after the change, are asked for by the guard.
        tokio::time::sleep(LIFETIME).await;
        let params = json!({"name": "write", "arguments": {"path": "/a"}});
        let call = json!({"jsonrpc": "2.0", "id": round, "method": "tools/call", "params": params});
        client.send_json(&call).await;
        let (mut is_done, mut is_asked) = (false, false);
        while !(is_done && is_asked) {
            let message = client.next().await;
            is_done |= message["result"]["content"][0]["text"] == "done";
            is_asked |= message["method"] == "roots/list";
            assert!(message.get("error").is_none(), "{message}");
        }
        tokio::time::sleep(LIFETIME).await;
        client
            .send(r#"{"jsonrpc":"2.0","id":"r1","result":{"roots":[]}}"#)
            .await;
        server.gets("response", round).await;
        tokio::time::sleep(LIFETIME).await;
        client
            .send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
            .await;
        server.gets("notifications/roots/list_changed", round).await;
    }
    assert_eq!(server.count("tools/list"), 2);
    server.assert_all_authorized();
}

#[tokio::test]
async fn after_a_stop_no_request_carries_credentials() {
    let server = Arc::new(Server {
        stream: "retry: 100\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n",
        ..Server::default()
    });
    let url = serve(&server).await;
    let stage = Stage::new("");
    let (authority, is_stopped) = Brief::new();
    let (guard, upstream) = guarded(&stage, authority, &url);
    let mut client = Client::start(guard, upstream);
    client.initialize().await;
    // The stream of the session is opened again and again, under one permit and then another.
    server.gets("GET", 15).await;
    is_stopped.store(true, Ordering::SeqCst);
    tokio::time::sleep(LIFETIME + Duration::from_millis(300)).await;
    let opened = server.count("GET");
    tokio::time::sleep(LIFETIME).await;
    assert_eq!(server.count("GET"), opened);
    // The stream is opened again once the client is heard and the stop is over.
    is_stopped.store(false, Ordering::SeqCst);
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
        .await;
    server.gets("GET", opened + 2).await;
    is_stopped.store(true, Ordering::SeqCst);
    tokio::time::sleep(LIFETIME + Duration::from_millis(300)).await;
    // The end of the session is told with credentials or not at all.
    let serving = client.close();
    serving.await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.count("DELETE"), 0);
    server.assert_all_authorized();
}

#[tokio::test]
async fn a_server_that_ends_its_stream_at_once_is_not_asked_without_a_pause() {
    let server = Arc::new(Server {
        stream: "retry: 0\n\n",
        ..Server::default()
    });
    let url = serve(&server).await;
    let stage = Stage::new("");
    let (guard, upstream) = guarded(&stage, Brief::new().0, &url);
    let mut client = Client::start(guard, upstream);
    client.initialize().await;
    server.gets("GET", 1).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let asked = server.count("GET");
    assert!((2..=5).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_permit_for_another_action_sends_no_secret() {
    let _ = http();
    let server = Arc::new(Server::default());
    let url = serve(&server).await;
    let actions = ["ticket.close", "ticket.read", "log.read", "ticket"];
    let authority = actions
        .iter()
        .fold(MockAuthority::new(), |authority, action| {
            authority.allow(action)
        });
    let secret = || {
        let secret = HostCredential::bearer(&url, SECRET.to_owned().into()).unwrap();
        secret.granted_by(&authority).unwrap()
    };
    let settings = || reqwest::Client::builder().no_proxy();
    let tickets = secret()
        .for_action("ticket.close")
        .for_action("ticket.read");
    let tickets = tickets.build(settings()).unwrap();
    for (action, is_sent) in actions.into_iter().zip([true, true, false, false]) {
        let before = server.count("GET");
        let permit = authority.protect("bot", AnyAction::new(action).unwrap());
        let permit = permit.await.unwrap();
        let request = reqwest::Request::new(reqwest::Method::GET, url.parse().unwrap());
        match tickets.send(&permit, request).await {
            Ok(response) => assert_eq!(response.status(), StatusCode::OK, "{action}"),
            Err(error) => {
                assert!(matches!(error, CredentialError::Refused(_)), "{error}");
                assert!(!error.to_string().contains(SECRET), "{error}");
            }
        }
        assert_eq!(
            server.count("GET"),
            before + usize::from(is_sent),
            "{action}"
        );
    }
    server.assert_all_authorized();
    // A secret that is for no action cannot be sent at all.
    let unnamed = secret().build(settings()).unwrap_err();
    assert!(unnamed.to_string().contains("for_action"), "{unnamed}");
}

const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

#[tokio::test]
async fn a_client_that_is_initialized_again_and_again_has_one_stream() {
    let server = Arc::new(Server {
        // The stream ends, and is opened again after the test.
        stream: "retry: 30000\n\n",
        ..Server::default()
    });
    let url = serve(&server).await;
    let stage = Stage::new("");
    let (guard, upstream) = guarded(&stage, Brief::new().0, &url);
    let mut client = Client::start(guard, upstream);
    client.initialize().await;
    for _ in 0..5 {
        client.send(INITIALIZED).await;
    }
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
        .await;
    server.gets("notifications/roots/list_changed", 1).await;
    server.gets("GET", 1).await;
    tokio::time::sleep(SILENCE).await;
    assert_eq!(server.count("GET"), 1);
    assert_eq!(server.count("notifications/initialized"), 1);
}

#[tokio::test]
async fn a_client_that_may_not_connect_is_denied_once_per_message() {
    const TRIES: usize = 8;
    let server = Arc::new(Server {
        stream: "retry: 30000\n\n",
        ..Server::default()
    });
    let url = serve(&server).await;
    let stage = Stage::new("");
    let (authority, is_stopped) = Brief::new();
    let denied = Arc::clone(&authority.denied);
    let (guard, upstream) = guarded(&stage, authority, &url);
    let mut client = Client::start(guard, upstream);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    client.request(0, "initialize", params).await;
    is_stopped.store(true, Ordering::SeqCst);
    tokio::time::sleep(LIFETIME + Duration::from_millis(300)).await;
    for _ in 0..TRIES {
        client.send(INITIALIZED).await;
    }
    let all_denied = async {
        while denied.load(Ordering::SeqCst) < TRIES {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_denied).await.unwrap();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(denied.load(Ordering::SeqCst), TRIES);
    assert_eq!(server.count("notifications/initialized"), 0);
    assert_eq!(server.count("GET"), 0);
    // The server has not heard of it yet, so the next one counts.
    is_stopped.store(false, Ordering::SeqCst);
    client.send(INITIALIZED).await;
    server.gets("GET", 1).await;
    assert_eq!(server.count("notifications/initialized"), 1);
    server.assert_all_authorized();
}

#[tokio::test]
async fn a_call_whose_permit_expires_while_the_server_pauses_is_not_sent() {
    let stage = Stage::new("pause@notifications/roots/list_changed");
    let authority = Brief {
        action: "mcp.fake.write",
        ..Brief::new().0
    };
    let mut client = Client::start(stage.guard(authority), stage.upstream());
    client.initialize().await;
    client.call(1, "write").await;
    // The server reads the first one and pauses. The others fill the pipe.
    let params = json!({"_meta": {"padding": "x".repeat(16 * 1024)}});
    let method = "notifications/roots/list_changed";
    let padding = json!({"jsonrpc": "2.0", "method": method, "params": params});
    for _ in 0..16 {
        client.send_json(&padding).await;
    }
    let params = json!({"name": "write", "arguments": {"path": "/a"}});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    client.send_json(&call).await;
    tokio::time::sleep(LIFETIME + Duration::from_millis(500)).await;
    stage.go_on();
    let failed = client.response(2).await.unwrap();
    let reason = failed["error"]["message"].as_str().unwrap();
    assert!(reason.contains("expired"), "{failed}");
    assert_eq!(stage.runs(), 1);
}
