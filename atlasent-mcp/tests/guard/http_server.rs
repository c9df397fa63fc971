//! A server over streamable HTTP that counts each call that it runs, and plays the fault that the
//! test names. `fake_server.py` does the same on stdio.
//!
//! A fault of the form `KIND@PLACE` happens when the message `PLACE` arrives. The place
//! `tools/call+` is the moment after the tool ran. `GET` and `DELETE` are the requests of a
//! session. The server writes HTTP by hand, so that it can break off anywhere.

use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The head of a response that is a stream of events.
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// The faults that change the answer of a call that ran, instead of preventing the run.
const AFTER_THE_RUN: [&str; 3] = ["others", "twice", "other-type"];

/// The methods that run something.
const RUNS: [&str; 3] = ["tools/call", "resources/read", "prompts/get"];

/// How often a client that polls comes back before it gets the response.
const POLLS: u64 = 12;

/// A server that plays one fault.
pub(crate) struct HttpServer {
    log: PathBuf,
    kind: String,
    place: String,
    /// The number of sessions that were opened.
    sessions: AtomicU64,
    /// The number of lost sessions. The sessions that were opened first are lost first.
    lost: AtomicU64,
    /// The answer that a resumed stream gets.
    kept: Mutex<Option<Value>>,
    /// The number of times that a proxy answered in the place of the server.
    away: AtomicU64,
}

/// A request that was read to its end.
struct Request {
    verb: String,
    path: String,
    headers: HashMap<String, String>,
    body: String,
}

/// What is written for a request, and what happens then.
struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The connection serves the next request.
    Keeps,
    /// The server sends the answer when the test tells it, and the connection serves the next
    /// request.
    Waits,
    /// The connection ends.
    Cuts,
    /// The connection stays open, and the server sends nothing more.
    Hangs,
    /// The server ends, with all of its connections.
    Dies,
}

impl HttpServer {
    pub(crate) fn new(log: PathBuf, fault: &str) -> Self {
        let (kind, place) = fault.split_once('@').unwrap_or((fault, ""));
        Self {
            log,
            kind: kind.to_owned(),
            place: place.to_owned(),
            sessions: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            kept: Mutex::default(),
            away: AtomicU64::new(0),
        }
    }

    /// Serves until the fault kills the server.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let server = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    connections.spawn(Arc::clone(&server).connection(stream));
                }
                Some(ended) = connections.join_next() => if ended.unwrap() == Then::Dies {
                    return;
                },
            }
        }
    }

    /// Serves one connection. Returns what ended it.
    async fn connection(self: Arc<Self>, stream: TcpStream) -> Then {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Request::read(&mut stream).await {
            let Reply { bytes, then } = self.answer(&request);
            while then == Then::Waits && !self.log.with_extension("go").exists() {
                sleep(Duration::from_millis(10)).await;
            }
            if stream.write_all(&bytes).await.is_err() {
                return Then::Cuts;
            }
            match then {
                Then::Keeps | Then::Waits => {}
                Then::Hangs => {
                    // Until the client gives up.
                    let _ = stream.read_u8().await;
                    self.note("hung up");
                    return Then::Cuts;
                }
                Then::Cuts | Then::Dies => return then,
            }
        }
        Then::Cuts
    }

    fn answer(&self, request: &Request) -> Reply {
        let session = request.headers.get("mcp-session-id");
        let session = session.map(|session| session.parse().unwrap());
        if session.is_some_and(|session: u64| session < self.lost.load(Ordering::Relaxed)) {
            return Reply::text("404 Not Found", "text/plain", "no such session");
        }
        match &*request.verb {
            "GET" => self.stream(request),
            "DELETE" => {
                self.note("ended");
                match self.has_fault_at("DELETE") {
                    true => self.play(&self.kind, &Value::Null),
                    false => Reply::text("200 OK", "text/plain", ""),
                }
            }
            _ => self.message(request),
        }
    }

    fn stream(&self, request: &Request) -> Reply {
        let resumed = request.headers.get("last-event-id");
        if resumed.is_some_and(|id| id == "kept")
            && let Some(kind) = self.kind.strip_prefix("resume:")
        {
            let kept = self.kept.lock().unwrap().clone().unwrap();
            return match kind {
                "well" => Reply::events(&event(kept)),
                kind => self.play(kind, &kept),
            };
        }
        let note = json!({"level": "info", "data": "x"});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": note});
        if let Some(count) = resumed.and_then(|id| id.strip_prefix("poll-")) {
            return self.poll(count.parse().unwrap(), &note);
        }
        match self.has_fault_at("GET") {
            true => self.play(&self.kind, &note),
            false => Reply::new(EVENTS, Then::Hangs),
        }
    }

    /// Answers a client that polls for a response: with one message a time, and at last with the
    /// response.
    fn poll(&self, count: u64, note: &Value) -> Reply {
        let kept = self.kept.lock().unwrap().clone().unwrap();
        match count {
            5 if self.is_away() => Reply::away(),
            POLLS => Reply::events(&event(kept)),
            _ => Reply::events(&format!("id: poll-{}\n{}", count + 1, event(note))),
        }
    }

    /// Whether a proxy answers, which it does once.
    fn is_away(&self) -> bool {
        self.away.fetch_add(1, Ordering::Relaxed) == 0
    }

    fn message(&self, request: &Request) -> Reply {
        self.note(&format!("got {}", request.body));
        let message: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or_default();
        // A redirect leads to a place without faults.
        let is_here = request.path == "/mcp" && self.has_fault_at(method);
        let good = good(&message);
        if is_here && !AFTER_THE_RUN.contains(&&*self.kind) {
            return self.play(&self.kind, &good);
        }
        if RUNS.contains(&method) {
            let name = message["params"]["name"].as_str();
            self.note(&format!("RAN {}", name.unwrap_or(method)));
        }
        if is_here || (request.path == "/mcp" && self.has_fault_at(&format!("{method}+"))) {
            return self.play(&self.kind, &good);
        }
        if self.place == "notifications/cancelled" && message["id"] == 2 {
            return Reply::new("", Then::Hangs);
        }
        if self.kind == "asks" && method == "tools/call" {
            return Reply::events(&(event(question(&self.place)) + &event(good)));
        }
        match method {
            "initialize" => {
                let session = self.sessions.fetch_add(1, Ordering::Relaxed);
                let kind = format!("application/json\r\nmcp-session-id: {session}");
                Reply::text("200 OK", &kind, &good.to_string())
            }
            _ if good.is_null() => Reply::text("202 Accepted", "text/plain", ""),
            _ => Reply::json(&good),
        }
    }

    fn has_fault_at(&self, place: &str) -> bool {
        self.place == place && self.kind != "asks"
    }

    /// Plays a fault instead of a good answer.
    fn play(&self, kind: &str, good: &Value) -> Reply {
        let id = &good["id"];
        let text = good.to_string();
        let (half, _) = text.split_at(text.len() / 2);
        let whole = Reply::json(good).bytes;
        let result = |id: Value| json!({"jsonrpc": "2.0", "id": id, "result": {"tools": []}});
        match kind {
            "error" => {
                let error = json!({"code": -32603, "message": "no"});
                Reply::json(&json!({"jsonrpc": "2.0", "id": id, "error": error}))
            }
            "garbage" => {
                let twice = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}},"result":{{}}}}"#);
                let both = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}},"error":{{}}}}"#);
                Reply::events(&(event("this is no message") + &event(twice) + &event(both)))
            }
            // The stream stays open after a response that cannot be read.
            "open-garbage" => {
                let twice = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}},"result":{{}}}}"#);
                Reply::new(format!("{EVENTS}{}", chunk(&event(twice))), Then::Hangs)
            }
            "null" => Reply::json(&json!({"jsonrpc": "2.0", "id": id, "result": null})),
            "others" => {
                let others = event(result(json!(4711)));
                let forged = event(result(json!("atlasent-guard-1:1")));
                Reply::events(&(others + &forged + &event(good)))
            }
            "close" => Reply::new("", Then::Cuts),
            "kill" => Reply::new("", Then::Dies),
            "pause" => Reply::new(whole, Then::Waits),
            "hang" | "stall" => Reply::new("", Then::Hangs),
            "cut-in-head" => Reply::new("HTTP/1.1 200 OK\r\ncontent-ty", Then::Cuts),
            "cut-after-head" => {
                let head = whole.len() - text.len();
                Reply::new(&whole[..head], Then::Cuts)
            }
            "cut-in-body" => Reply::new(&whole[..whole.len() - half.len()], Then::Cuts),
            "cut-in-event" => Reply::new(
                format!("{EVENTS}{}", chunk(&format!("data: {half}"))),
                Then::Cuts,
            ),
            // All of the data is there, and the line that ends the event is not.
            "half-event" => Reply::events(&format!("data: {text}\n")),
            "no-response" => Reply::events(": nothing\n\n"),
            "twice" => Reply::events(&event(good).repeat(2)),
            "other-id" => {
                let mut other = good.clone();
                other["id"] = json!(4711);
                Reply::json(&other)
            }
            "batch" => Reply::json(&json!([good])),
            "no-json" => Reply::text("200 OK", "application/json", half),
            "other-type" => Reply::text("200 OK", "text/plain", &text),
            "html" => Reply::text("200 OK", "text/html", "<title>Sign in</title>"),
            "accepted" => Reply::text("202 Accepted", "text/plain", ""),
            "redirect" => Reply::text(
                "307 Temporary Redirect",
                "text/plain\r\nlocation: /again",
                "",
            ),
            "401" => Reply::text(
                "401 Unauthorized",
                "text/plain\r\nwww-authenticate: Bearer",
                "",
            ),
            "404" => Reply::text("404 Not Found", "text/html", "<title>Not found</title>"),
            "500" => Reply::text("500 Internal Server Error", "application/json", &text),
            "lost" => {
                let sessions = self.sessions.load(Ordering::Relaxed);
                self.lost.store(sessions, Ordering::Relaxed);
                Reply::text("404 Not Found", "text/plain", "no such session")
            }
            kind if kind.starts_with("resume:") => {
                *self.kept.lock().unwrap() = Some(good.clone());
                Reply::events("retry: 10\nid: kept\ndata:\n\n")
            }
            "polls" => {
                *self.kept.lock().unwrap() = Some(good.clone());
                Reply::events("retry: 10\nid: poll-0\ndata:\n\n")
            }
            "away" if self.is_away() => Reply::away(),
            "away" => Reply::new(format!("{EVENTS}{}", chunk(&event(good))), Then::Hangs),
            kind => panic!("there is no fault `{kind}`"),
        }
    }

    fn note(&self, line: &str) {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log);
        writeln!(file.unwrap(), "{line}").unwrap();
    }
}

impl Request {
    /// Reads a request. `None` if the connection ends before.
    async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut first = lines.first()?.split(' ');
        let (verb, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: HashMap<_, _> = lines
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length");
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).unwrap();
        Some(Self {
            verb,
            path,
            headers,
            body,
        })
    }
}

impl Reply {
    fn new(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let bytes = bytes.into();
        Self { bytes, then }
    }

    fn text(status: &str, kind: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("content-type: {kind}\r\ncontent-length: {length}");
        Self::new(
            format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}"),
            Then::Keeps,
        )
    }

    fn json(message: &Value) -> Self {
        Self::text("200 OK", "application/json", &message.to_string())
    }

    /// The answer of a proxy whose server is away.
    fn away() -> Self {
        Self::text(
            "503 Service Unavailable",
            "text/html",
            "<title>Later</title>",
        )
    }

    /// A stream that ends after these events.
    fn events(events: &str) -> Self {
        let mut text = EVENTS.to_owned();
        write!(text, "{}0\r\n\r\n", chunk(events)).unwrap();
        Self::new(text, Then::Keeps)
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn event(message: impl Display) -> String {
    format!("data: {message}\n\n")
}

/// A request of the server.
fn question(method: &str) -> Value {
    let params = match method {
        "sampling/createMessage" => json!({"messages": []}),
        "elicitation/create" => json!({"message": "?"}),
        _ => json!({}),
    };
    json!({"jsonrpc": "2.0", "id": "s1", "method": method, "params": params})
}

/// Returns the good answer to a message, which is null for what has no answer.
fn good(message: &Value) -> Value {
    let (id, params) = (&message["id"], &message["params"]);
    let method = message["method"].as_str().unwrap_or_default();
    if id.is_null() || method.is_empty() {
        return Value::Null;
    }
    let result = match method {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": true}},
            "serverInfo": {"name": "fake", "version": "1"},
        }),
        "tools/list" => {
            let schema = json!({
                "type": "object",
                "properties": {"path": {"type": "string"}},
                "required": ["path"],
                "additionalProperties": false,
            });
            let tool = |name| json!({"name": name, "inputSchema": schema});
            json!({"tools": [tool("write"), tool("read")]})
        }
        "tools/call" => json!({
            "content": [{"type": "text", "text": "done"}],
            "_meta": {"path": params["arguments"]["path"]},
        }),
        "resources/read" => json!({"contents": []}),
        "prompts/get" => json!({"messages": []}),
        "ping" => json!({}),
        _ => {
            let error = json!({"code": -32601, "message": "no such method"});
            return json!({"jsonrpc": "2.0", "id": id, "error": error});
        }
    };
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}
