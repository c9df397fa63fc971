//! Clients that call one tool after the other.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

fn initialize() -> Value {
    let client = json!({"name": "bench", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
}

fn initialized() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

fn call(id: usize) -> Value {
    let params = json!({"name": "tool_0", "arguments": {"path": format!("/srv/{id}")}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

/// Runs some calls, and then measures others.
fn measured(calls: usize, mut run: impl FnMut(&str) -> Value) -> Vec<Duration> {
    let warm_up = calls / 4 + 1;
    let durations = (1..=warm_up + calls).map(|id| {
        let call = call(id).to_string();
        let begun = Instant::now();
        let answer = run(&call);
        let duration = begun.elapsed();
        assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
        duration
    });
    durations.skip(warm_up).collect()
}

/// A process that ends with its owner.
pub(super) struct Running(Child);

impl Running {
    /// Returns the resident memory, in KiB, on Linux.
    pub(super) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a process that listens, and returns its URL, which ends its first line.
pub(super) fn listening(mut command: Command) -> (Running, String) {
    let mut process = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let output = process.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(url.starts_with("http://"), "it does not listen: {line}");
    (Running(process), url)
}

/// A client on standard input and output of a process.
pub(super) struct Stdio {
    _process: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Stdio {
    pub(super) fn start(mut command: Command) -> Self {
        let piped = std::process::Stdio::piped;
        let mut process = command.stdin(piped()).stdout(piped()).spawn().unwrap();
        let mut client = Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()),
            _process: Running(process),
        };
        client.request(&initialize().to_string());
        client.send(&initialized().to_string());
        client
    }

    fn send(&mut self, message: &str) {
        writeln!(self.input, "{message}").unwrap();
        self.input.flush().unwrap();
    }

    fn request(&mut self, message: &str) -> Value {
        self.send(message);
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(super) fn measure(mut self, calls: usize) -> Vec<Duration> {
        measured(calls, |call| self.request(call))
    }
}

/// Creates an HTTP client.
pub(super) fn http() -> reqwest::Client {
    // Without a provider of cryptography, no client can be built, also for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
    settings.build().unwrap()
}

/// A client over streamable HTTP, with a session.
pub(super) struct Http {
    runtime: Arc<Runtime>,
    client: reqwest::Client,
    url: String,
    session: String,
}

impl Http {
    pub(super) fn new(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self::open(Arc::new(runtime), http(), url)
    }

    /// Opens another session on the same connections, and calls a tool in it.
    pub(super) fn another(&self) -> Self {
        let client = Self::open(Arc::clone(&self.runtime), self.client.clone(), &self.url);
        client.post(&call(1).to_string());
        client
    }

    fn open(runtime: Arc<Runtime>, client: reqwest::Client, url: &str) -> Self {
        let mut client = Self {
            runtime,
            client,
            url: url.to_owned(),
            session: String::new(),
        };
        let (session, _) = client.post(&initialize().to_string());
        client.session = session.expect("a session");
        client.post(&initialized().to_string());
        client
    }

    fn post(&self, message: &str) -> (Option<String>, Value) {
        let mut request = self
            .client
            .post(&self.url)
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(message.to_owned());
        if !self.session.is_empty() {
            request = request.header("mcp-session-id", &self.session);
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let session = response.headers().get("mcp-session-id");
            let session = session.map(|id| id.to_str().unwrap().to_owned());
            let body = response.bytes().await.unwrap();
            (session, serde_json::from_slice(&body).unwrap_or_default())
        })
    }

    pub(super) fn measure(&self, calls: usize) -> Vec<Duration> {
        measured(calls, |call| self.post(call).1)
    }
}
