//! A client, a counting server and the guard between them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atlasent::authority::{DynAuthority, IssuerId};
use atlasent::testing::{MockAuthority, ScriptedApproval};
use atlasent::wire::{EscalationStatus, EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, Error};
use atlasent_mcp::guard::http::HttpUpstream;
use atlasent_mcp::guard::pins::Pins;
use atlasent_mcp::guard::{Guard, ServerCommand, Upstream, stdio};
use atlasent_mcp::{Caller, Gate, Mapping};
use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf,
};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::http_server::HttpServer;
use super::over_http::{LineClient, Listening, Session};

/// How long a test waits for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a test waits for what must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// A folder with the log of a server and the pins of a guard.
pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    fault: String,
    /// The servers over HTTP, which end with the stage.
    servers: Mutex<JoinSet<()>>,
}

impl Stage {
    pub(crate) fn new(fault: impl Into<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            folder,
            fault: fault.into(),
            servers: Mutex::default(),
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Returns the lines that the server noted and that begin with a word.
    pub(crate) fn noted(&self, word: &str) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines = log.lines().filter(|line| line.starts_with(word));
        lines.map(str::to_owned).collect()
    }

    /// The number of calls that the server ran.
    pub(crate) fn runs(&self) -> usize {
        self.noted("RAN ").len()
    }

    /// Sets the lines that the server sends while it runs a tool.
    pub(crate) fn says(&self, lines: &[Value]) {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.log().with_extension("says"), lines).unwrap();
    }

    /// Sets the answers of the server, by method.
    pub(crate) fn answers(&self, answers: &Value) {
        std::fs::write(self.log().with_extension("answers"), answers.to_string()).unwrap();
    }

    /// Lets a server with the fault `pause` go on.
    pub(crate) fn go_on(&self) {
        std::fs::write(self.log().with_extension("go"), "").unwrap();
    }

    pub(crate) fn upstream(&self) -> Upstream {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guard/fake_server.py");
        let arguments = [script.into(), self.log().into(), (&self.fault).into()];
        Upstream::Command(Arc::new(ServerCommand {
            program: "python3".into(),
            arguments: arguments.into(),
            secrets: Vec::new(),
            withheld: Vec::new(),
        }))
    }

    /// Starts a server over HTTP.
    pub(crate) async fn http_upstream(&self) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let server = HttpServer::new(self.log(), &self.fault);
        self.servers.lock().unwrap().spawn(server.serve(listener));
        Upstream::Http(Arc::new(HttpUpstream::new(url.parse().unwrap()).unwrap()))
    }

    pub(crate) fn guard(&self, authority: impl DynAuthority + 'static) -> Arc<Guard> {
        Arc::new(self.new_guard(authority))
    }

    /// A guard whose settings can still be changed.
    pub(crate) fn new_guard(&self, authority: impl DynAuthority + 'static) -> Guard {
        let gate = Gate::builder(Arc::new(authority), Mapping::standard("fake").unwrap())
            .max_wait(PATIENCE)
            .progress_interval(Duration::from_millis(20))
            .list_cache(Duration::ZERO)
            .build();
        let pins = Pins::open(&self.folder.path().join("pins"), "fake").unwrap();
        Guard::new(gate, pins)
    }

    pub(crate) fn client(&self, authority: impl DynAuthority + 'static) -> Client {
        Client::start(self.guard(authority), self.upstream())
    }
}

/// An authority whose people take their time.
pub(crate) struct Slow {
    pub(crate) authority: MockAuthority,
    pub(crate) people: Duration,
}

impl Authority for Slow {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.authority.evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.authority.verify(request).await
    }

    async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        tokio::time::sleep(self.people).await;
        self.authority.wait(id, at_most).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.authority.issuer()
    }
}

/// An authority that holds `write` until a person approves.
pub(crate) fn holding(people: Duration) -> Slow {
    let approval = ScriptedApproval::approve();
    Slow {
        authority: MockAuthority::new().hold_for_approval(
            "mcp.fake.write",
            "ask a person",
            approval,
        ),
        people,
    }
}

/// An authority that allows everything that these tests ask for.
pub(crate) fn allowing() -> MockAuthority {
    ["write", "read"]
        .iter()
        .fold(MockAuthority::new(), |authority, tool| {
            authority.allow(&format!("mcp.fake.{tool}"))
        })
}

/// A client on a pair of streams.
pub(crate) struct Client {
    input: WriteHalf<DuplexStream>,
    output: Lines<BufReader<ReadHalf<DuplexStream>>>,
    pub(crate) serving: JoinHandle<Served>,
    guard: Running,
}

/// How the server ended.
type Served = std::io::Result<Option<std::process::ExitStatus>>;

/// The guard of a client.
enum Running {
    /// It serves this client only, until it is told to stop.
    Stdio(oneshot::Sender<()>),
    /// It listens.
    Http(Listening),
}

impl Client {
    /// Starts a guard on stdio and its client.
    pub(crate) fn start(guard: Arc<Guard>, upstream: Upstream) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (input, output) = tokio::io::split(theirs);
        let caller = Caller::configured("tester").unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stop = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            stdio::serve(guard, &upstream, caller, input, output, stop).await
        });
        Self::new(ours, serving, Running::Stdio(stop))
    }

    /// Starts a guard that listens, and a client over HTTP that reads and writes lines.
    pub(crate) async fn over_http(guard: Arc<Guard>, upstream: Upstream) -> Self {
        let guard = Listening::open(guard, upstream).await;
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let session = Session::new(&guard);
        let serving = tokio::spawn(async {
            LineClient::serve(session, theirs).await;
            Ok(None)
        });
        Self::new(ours, serving, Running::Http(guard))
    }

    fn new(lines: DuplexStream, serving: JoinHandle<Served>, guard: Running) -> Self {
        let (output, input) = tokio::io::split(lines);
        Self {
            input,
            output: BufReader::new(output).lines(),
            serving,
            guard,
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.input
            .write_all(format!("{text}\n").as_bytes())
            .await
            .unwrap();
    }

    pub(crate) async fn send_json(&mut self, message: &Value) {
        self.send(&message.to_string()).await;
    }

    /// Returns the next message.
    pub(crate) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await;
        let line = line.expect("a message").unwrap().expect("an open stream");
        serde_json::from_str(&line).unwrap()
    }

    /// Sends a message to a guard that may have ended.
    pub(crate) async fn try_send(&mut self, text: &str) {
        let _ = self.input.write_all(format!("{text}\n").as_bytes()).await;
    }

    /// Returns the next message. `None` if the stream ends, or nothing comes for this long.
    pub(crate) async fn heard(&mut self, patience: Duration) -> Option<Value> {
        let line = tokio::time::timeout(patience, self.output.next_line()).await;
        let line = line.ok()?.unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Returns the response to a request. `None` if the stream ends before.
    pub(crate) async fn response(&mut self, id: i64) -> Option<Value> {
        loop {
            let line = self.output.next_line().await.unwrap()?;
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == id && message.get("method").is_none() {
                return Some(message);
            }
        }
    }

    /// Asserts that nothing comes for a while.
    pub(crate) async fn hears_nothing(&mut self) {
        let line = tokio::time::timeout(SILENCE, self.output.next_line()).await;
        assert!(line.is_err(), "{line:?}");
    }

    /// Sends a request, and returns its response.
    pub(crate) async fn request(&mut self, id: i64, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send_json(&request).await;
        let response = self.next().await;
        assert_eq!(response["id"], id, "{response}");
        response
    }

    pub(crate) async fn initialize(&mut self) {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let response = self.request(0, "initialize", params).await;
        assert_eq!(
            response["result"]["protocolVersion"], "2025-11-25",
            "{response}"
        );
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
    }

    /// Ends the input of the guard, as the end of a pipe does. The client still reads.
    pub(crate) async fn end_input(&mut self) {
        self.input.shutdown().await.unwrap();
    }

    /// Closes the side of the client, and returns the guard that ends then. One that listens ends
    /// its session first.
    pub(crate) fn close(self) -> JoinHandle<Served> {
        let Self { serving, guard, .. } = self;
        match guard {
            Running::Stdio(_) => serving,
            Running::Http(guard) => tokio::spawn(async {
                let ended = serving.await.unwrap();
                guard.stop().await;
                ended
            }),
        }
    }

    /// Ends the client as a crash does. A guard that listens outlives it for a while.
    pub(crate) async fn die(self) {
        let Self {
            input,
            output,
            serving,
            guard,
        } = self;
        serving.abort();
        drop((input, output));
        tokio::time::sleep(SILENCE).await;
        if let Running::Http(guard) = guard {
            guard.stop().await;
        }
    }

    /// Stops the guard while the client is there. The guard has to end.
    pub(crate) async fn stop_guard(self) {
        match self.guard {
            Running::Stdio(stop) => stop.send(()).unwrap(),
            Running::Http(guard) => guard.stop().await,
        }
        let ended = tokio::time::timeout(PATIENCE, self.serving).await;
        ended.expect("a guard that ends").unwrap().unwrap();
    }

    pub(crate) async fn call(&mut self, id: i64, tool: &str) -> Value {
        let params = json!({"name": tool, "arguments": {"path": "/a"}});
        self.request(id, "tools/call", params).await
    }
}
