//! A listening guard, and its clients over streamable HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use atlasent_mcp::Caller;
use atlasent_mcp::guard::http::{Authentication, Endpoint, EndpointSettings};
use atlasent_mcp::guard::{Guard, Upstream};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, split,
};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::support::PATIENCE;

/// The code of the error that a [`LineClient`] writes for a request without a response.
pub(crate) const NO_RESPONSE: i64 = 0;

/// The origin of a web page that may call.
pub(crate) const ORIGIN_OF_PAGE: &str = "https://app.example";

/// A listening guard, which stops when this is dropped.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
}

impl Listening {
    /// Starts a guard that takes all requests for those of one caller.
    pub(crate) async fn open(guard: Arc<Guard>, upstream: Upstream) -> Self {
        let caller = Caller::configured("tester").unwrap();
        Self::start(guard, upstream, Authentication::Configured(caller)).await
    }

    pub(crate) async fn start(
        guard: Arc<Guard>,
        upstream: Upstream,
        authentication: Authentication,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = EndpointSettings {
            authentication,
            origins: vec![ORIGIN_OF_PAGE.to_owned()],
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let endpoint = Endpoint::new(guard, upstream, settings);
        let serving = tokio::spawn(endpoint.serve(listener, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            stop,
            serving,
        }
    }

    /// Stops the guard, and asserts that it ends.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        let ended = tokio::time::timeout(PATIENCE, self.serving).await;
        ended.expect("a guard that ends").unwrap().unwrap();
    }
}

pub(crate) fn http() -> reqwest::Client {
    // Without a provider of cryptography, no client can be built, also for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A client that sends one request at a time.
#[derive(Clone)]
pub(crate) struct Session {
    url: String,
    client: reqwest::Client,
    pub(crate) id: Option<String>,
    pub(crate) token: Option<String>,
}

impl Session {
    pub(crate) fn new(guard: &Listening) -> Self {
        Self {
            url: format!("http://{}/mcp", guard.address),
            client: http(),
            id: None,
            token: None,
        }
    }

    pub(crate) fn request(&self, method: Method) -> RequestBuilder {
        let mut request = self.client.request(method, &self.url);
        if let Some(id) = &self.id {
            request = request.header("mcp-session-id", id);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.header(ACCEPT, "application/json, text/event-stream")
    }

    pub(crate) async fn try_post(&self, body: impl ToString) -> reqwest::Result<Response> {
        let request = self
            .request(Method::POST)
            .header(CONTENT_TYPE, "application/json");
        request.body(body.to_string()).send().await
    }

    pub(crate) async fn post(&self, body: impl ToString) -> Response {
        self.try_post(body).await.unwrap()
    }

    /// Opens the stream of the session, or reads on after an event of a stream.
    pub(crate) async fn listen(&self, after: Option<&str>) -> reqwest::Result<Response> {
        let mut request = self.request(Method::GET);
        if let Some(id) = after {
            request = request.header("last-event-id", id);
        }
        request.send().await
    }

    pub(crate) async fn delete(&self) -> reqwest::Result<Response> {
        self.request(Method::DELETE).send().await
    }

    /// Keeps the session that the guard opened.
    fn opened_by(&mut self, response: &Response) {
        let id = response.headers().get("mcp-session-id");
        self.id = id.map(|id| id.to_str().unwrap().to_owned());
    }

    pub(crate) async fn initialize(&mut self) {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let response = self
            .post(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        self.opened_by(&response);
        assert!(self.id.is_some());
        // A server that starts slowly answers on a stream.
        Messages::new(response).rest().await;
        let initialized = self
            .post(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        assert_eq!(initialized.status(), StatusCode::ACCEPTED);
    }

    /// Calls `write`, and returns the last message of the response.
    pub(crate) async fn call(&self, id: i64) -> Value {
        let params = json!({"name": "write", "arguments": {"path": "/a"}});
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let response = self.post(call).await;
        assert_eq!(response.status(), StatusCode::OK);
        let messages = Messages::new(response).rest().await;
        messages.last().unwrap().1.clone()
    }
}

/// The messages of a response, which is one message or a stream of events.
pub(crate) struct Messages {
    response: Response,
    is_stream: bool,
    read: String,
}

impl Messages {
    pub(crate) fn new(response: Response) -> Self {
        let kind = response.headers().get(CONTENT_TYPE);
        Self {
            is_stream: kind.is_some_and(|kind| kind == "text/event-stream"),
            response,
            read: String::new(),
        }
    }

    /// Returns the id of the event without data that a stream begins with, if it begins so.
    pub(crate) async fn primer(&mut self) -> Option<String> {
        while self.is_stream && !self.read.contains("\n\n") {
            let bytes = self.response.chunk().await.unwrap()?;
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        let (event, rest) = self.read.split_once("\n\n")?;
        let id = event.strip_prefix("id: ")?.strip_suffix("\ndata:")?;
        let (id, rest) = (id.to_owned(), rest.to_owned());
        self.read = rest;
        Some(id)
    }

    /// Returns the id of the next event, and its message. Returns `None` when the stream or its
    /// connection ends.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if self.is_stream
                && let Some(end) = self.read.find("\n\n")
            {
                let event: String = self.read.drain(..end + 2).collect();
                let field =
                    |name: &'static str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    let id = field("id: ").unwrap_or_default().to_owned();
                    return Some((id, serde_json::from_str(data).unwrap()));
                }
                continue;
            }
            if let Ok(Some(bytes)) = self.response.chunk().await {
                self.read.push_str(std::str::from_utf8(&bytes).unwrap());
                continue;
            }
            let text = std::mem::take(&mut self.read);
            let message = serde_json::from_str(&text).ok()?;
            return (!self.is_stream).then_some((String::new(), message));
        }
    }

    /// Returns the remaining events.
    pub(crate) async fn rest(mut self) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        while let Some(next) = self.next().await {
            all.push(next);
        }
        all
    }
}

/// Translates between lines and HTTP, so that a test for a client on stdio also tests a client over
/// HTTP. The lines end with the session. Requests that are sent at the same time may overtake each
/// other.
#[derive(Clone)]
pub(crate) struct LineClient {
    session: Session,
    output: Arc<Mutex<WriteHalf<DuplexStream>>>,
    /// Told when the session is over.
    over: Arc<Notify>,
}

impl LineClient {
    /// Serves the lines until the client closes its side or the session is over.
    pub(crate) async fn serve(session: Session, lines: DuplexStream) {
        let (input, output) = split(lines);
        let client = Self {
            session,
            output: Arc::new(Mutex::new(output)),
            over: Arc::default(),
        };
        client.run(input).await;
    }

    async fn run(mut self, input: ReadHalf<DuplexStream>) {
        let mut input = BufReader::new(input).lines();
        // The responses that are being read.
        let mut open = JoinSet::new();
        let over = Arc::clone(&self.over);
        loop {
            tokio::select! {
                line = input.next_line() => match line.unwrap() {
                    Some(line) => self.send(line, &mut open).await,
                    None => break,
                },
                () = over.notified() => break,
            }
        }
        if self.session.id.is_some() {
            let _ = self.session.delete().await;
        }
        while open.join_next().await.is_some() {}
    }

    async fn send(&mut self, line: String, open: &mut JoinSet<()>) {
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        let method = message["method"].as_str().unwrap_or_default();
        let id = message["id"].clone();
        if method == "initialize" {
            let response = self.session.try_post(line).await;
            if let Ok(response) = &response {
                self.session.opened_by(response);
            }
            let this = self.clone();
            open.spawn(async move { this.read(response, id).await });
        } else if !method.is_empty() && !id.is_null() {
            let this = self.clone();
            open.spawn(async move {
                let response = this.session.try_post(line).await;
                this.read(response, id).await;
            });
        } else {
            let response = self.session.try_post(line).await;
            self.read(response, Value::Null).await;
            if method == "notifications/initialized" {
                let this = self.clone();
                open.spawn(async move {
                    let response = this.session.listen(None).await;
                    this.read(response, Value::Null).await;
                    this.over.notify_one();
                });
            }
        }
    }

    /// Writes the messages of a response to a request, whose id is null for all others.
    async fn read(&self, response: reqwest::Result<Response>, id: Value) {
        let mut is_answered = id.is_null();
        if let Ok(response) = response {
            if response.status() == StatusCode::NOT_FOUND {
                self.over.notify_one();
            }
            let mut messages = Messages::new(response);
            while let Some((_, message)) = messages.next().await {
                is_answered |= message["id"] == id;
                self.write(&message).await;
            }
        }
        if !is_answered {
            let error = json!({"code": NO_RESPONSE, "message": "no response"});
            self.write(&json!({"jsonrpc": "2.0", "id": id, "error": error}))
                .await;
        }
    }

    async fn write(&self, message: &Value) {
        let mut output = self.output.lock().await;
        // A client that closed its side reads nothing any more.
        let _ = output.write_all(format!("{message}\n").as_bytes()).await;
    }
}
