//! Measures `protect()` over the wire against plain `reqwest` with the same two POSTs.
//!
//! Run it with `cargo bench -p atlasent --bench client`. Both sides use one runtime, a pool of
//! their own with the same settings, and a server on loopback that answers at once. The sides take
//! turns, so that noise affects both; only the ratios apply to other machines. `latency` measures
//! one pair of calls after the other, `throughput` with 64 pairs in flight.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a benchmark reports on standard output, and may fail loudly"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use atlasent::{AnyAction, AuthorityExt, Client};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const KEY: &str = "ask_test_0123456789";
const ROUNDS: usize = 20;
const CALLS: usize = 500;
const IN_FLIGHT: usize = 64;

fn main() {
    let server = server();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ours = Ours::new(server);
        let bare = Bare::new(server);
        for _ in 0..CALLS {
            ours.call().await;
            bare.call().await;
        }
        latency(&ours, &bare).await;
        throughput(&ours, &bare).await;
    });
}

async fn latency(ours: &Ours, bare: &Bare) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS * CALLS {
        a.push(timed(ours.call()).await);
        b.push(timed(bare.call()).await);
    }
    a.sort_unstable();
    b.sort_unstable();
    for (name, percent) in [("p50", 50), ("p99", 99)] {
        let at = |sorted: &[Duration]| sorted[sorted.len() * percent / 100];
        report(&format!("latency {name}"), at(&a), at(&b));
    }
}

async fn throughput(ours: &Ours, bare: &Bare) {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let calls = stream::iter(0..4 * CALLS);
        a.push(timed(calls.for_each_concurrent(IN_FLIGHT, |_| ours.call())).await);
        let calls = stream::iter(0..4 * CALLS);
        b.push(timed(calls.for_each_concurrent(IN_FLIGHT, |_| bare.call())).await);
    }
    let each = |mut rounds: Vec<Duration>| {
        rounds.sort_unstable();
        rounds[rounds.len() / 2] / u32::try_from(4 * CALLS).unwrap()
    };
    report(
        "throughput, time for each of 64 in flight",
        each(a),
        each(b),
    );
}

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let started = Instant::now();
    work.await;
    started.elapsed()
}

fn report(what: &str, ours: Duration, bare: Duration) {
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!("{what}: protect {ours:.1?}, bare reqwest {bare:.1?}, ratio {ratio:.3}");
}

/// Obtains a permit with `atlasent::Client`.
struct Ours(Client);

impl Ours {
    fn new(server: SocketAddr) -> Self {
        let builder = Client::builder()
            .api_key(KEY)
            .base_url(format!("http://{server}"));
        Self(builder.build().unwrap())
    }

    async fn call(&self) {
        let action = AnyAction::new("deploy.production")
            .and_then(|action| action.with_field("commit", "4f2a9c1"))
            .and_then(|action| action.with_field("environment", "production"))
            .unwrap();
        let permit = self.0.protect("deploy-bot", action).await.unwrap();
        assert_eq!(permit.id(), "permit_0123456789");
    }
}

/// Sends the same two requests with `reqwest`, and reads both answers. The hash is precomputed.
struct Bare {
    http: reqwest::Client,
    base: String,
    hash: String,
}

impl Bare {
    fn new(server: SocketAddr) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tcp_nodelay(true)
            .timeout(Duration::from_secs(10))
            .build();
        Self {
            http: http.unwrap(),
            base: format!("http://{server}"),
            hash: "0".repeat(64),
        }
    }

    async fn call(&self) {
        let allow = self
            .post(
                "/v1-evaluate",
                &json!({"action_type": "deploy.production", "actor_id": "deploy-bot",
                    "context": {"commit": "4f2a9c1", "environment": "production"}}),
            )
            .await;
        assert_eq!(allow["decision"], "allow");
        let valid = self
            .post(
                "/v1-verify-permit",
                &json!({"permit_token": allow["permit_token"], "action_type": "deploy.production",
                    "actor_id": "deploy-bot", "environment": "production", "execution_hash": self.hash}),
            )
            .await;
        assert_eq!(valid["valid"], true);
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self
            .http
            .post(format!("{}{path}", self.base))
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("user-agent", "bare/1.0")
            .header("x-request-id", uuid::Uuid::new_v4().simple().to_string())
            .header("x-atlasent-protocol-version", "1")
            .body(serde_json::to_vec(body).unwrap())
            .send()
            .await
            .unwrap();
        serde_json::from_slice(&answer.error_for_status().unwrap().bytes().await.unwrap()).unwrap()
    }
}

/// Starts a server that answers every request at once, on a thread and a runtime of its own.
fn server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(socket));
            }
        });
    });
    address
}

async fn serve(mut socket: TcpStream) {
    socket.set_nodelay(true).unwrap();
    let allow = answer(
        &json!({"decision": "allow", "permitted": true, "permit_token": "permit_0123456789",
        "decision_id": "permit_0123456789", "request_id": "r", "expires_at": "2026-01-01T01:00:00Z",
        "reason": "fine", "audit_hash": "h", "timestamp": "2026-01-01T00:00:00Z"}),
    );
    let valid = answer(
        &json!({"valid": true, "outcome": "allow", "reason": "fine", "permit_hash": "h",
        "timestamp": "2026-01-01T00:00:00Z", "consumed": true}),
    );
    let mut received = Vec::new();
    while socket
        .read_buf(&mut received)
        .await
        .is_ok_and(|read| read > 0)
    {
        // A request is complete when its body has arrived.
        while let Some(length) = request_length(&received) {
            let is_evaluate = received.starts_with(b"POST /v1-evaluate ");
            let reply = if is_evaluate { &allow } else { &valid };
            socket.write_all(reply).await.unwrap();
            received.drain(..length);
        }
    }
}

fn request_length(received: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(received).ok()?;
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head]
        .to_ascii_lowercase()
        .split_once("content-length: ")?
        .1
        .split_once("\r\n")?
        .0
        .parse::<usize>()
        .ok()?;
    (received.len() >= head + length).then_some(head + length)
}

fn answer(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
