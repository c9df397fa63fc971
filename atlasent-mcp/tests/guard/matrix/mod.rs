//! Each fault of the authority, the server and the client, at each message, with stdio and HTTP on
//! both sides of the guard.
//!
//! In every cell of the matrix, the server counts what it runs, and the authority counts the
//! permits that were used up. No cell has more runs than permits. No client waits forever: it gets
//! an answer, its stream ends, or it gives up on a server that hangs. Every guard ends when it is
//! told to.

mod authority;
mod client;
mod server;
mod stalled;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::DynAuthority;
use atlasent::testing::{Call, MockAuthority, Reply};
use atlasent_mcp::guard::Upstream;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::support::{Client, PATIENCE, SILENCE, Stage};

/// The most cells that run at a time, since each may start a process.
const SIDE_BY_SIDE: usize = 12;

const WRITE: &str = "mcp.fake.write";

/// The requests of a client that need a permit, and the requests of the server, which it sends
/// while it runs `tools/call`.
const OF_CLIENT: [(&str, &str); 3] = [
    ("tools/call", WRITE),
    ("resources/read", "mcp.fake:resources/read"),
    ("prompts/get", "mcp.fake:prompts/get"),
];
const OF_SERVER: [(&str, &str); 3] = [
    ("sampling/createMessage", "mcp.fake:sampling/createMessage"),
    ("elicitation/create", "mcp.fake:elicitation/create"),
    ("roots/list", "mcp.fake:roots/list"),
];

/// The moments at which something happens to a call: a name, the fault of the server or the call of
/// the authority that holds the call there, and how often the tool has run by then.
const MOMENTS: [(&str, &str, usize); 5] = [
    ("while the tools are listed", "hang@tools/list", 0),
    ("before the decision", "evaluate", 0),
    ("between decision and permit", "verify", 0),
    ("after the call was forwarded", "hang@tools/call", 0),
    ("before the answer", "hang@tools/call+", 1),
];

/// Returns an authority that holds a call at a moment.
fn authority_at(fault: &str) -> Arc<MockAuthority> {
    let authority = MockAuthority::new().allow(WRITE);
    Arc::new(match fault {
        "evaluate" => authority.on_evaluate(WRITE, Reply::Never),
        "verify" => authority.on_verify(WRITE, Reply::Never),
        _ => authority,
    })
}

/// Waits until `count` calls have reached a moment.
async fn reaches(fault: &str, stage: &Stage, authority: &MockAuthority, count: usize) {
    until(fault, || match fault.split_once('@') {
        None if fault == "evaluate" => authority.calls().len() >= count,
        None => permits(authority, WRITE) >= count,
        // The tools are listed once.
        Some((_, "tools/list")) => forwarded(stage, "tools/list") == 1,
        Some((_, "tools/call+")) => stage.runs() >= count,
        Some((_, place)) => forwarded(stage, place) >= count,
    })
    .await;
}

/// Waits until something happened.
async fn until(what: &str, happened: impl Fn() -> bool) {
    let waiting = timeout(PATIENCE, async {
        while !happened() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waiting.await.is_ok(), "this does not happen: {what}");
}

/// The transports between client and guard, and between guard and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sides {
    Stdio,
    HttpBeforeStdio,
    Http,
}

const SIDES: [Sides; 3] = [Sides::Stdio, Sides::HttpBeforeStdio, Sides::Http];
const OVER_HTTP: [Sides; 2] = [Sides::HttpBeforeStdio, Sides::Http];

impl Sides {
    async fn upstream(self, stage: &Stage) -> Upstream {
        match self {
            Self::Stdio | Self::HttpBeforeStdio => stage.upstream(),
            Self::Http => stage.http_upstream().await,
        }
    }

    /// Starts a server, the guard before it, and a client.
    async fn client(self, stage: &Stage, authority: impl DynAuthority + 'static) -> Client {
        let (guard, upstream) = (stage.guard(authority), self.upstream(stage).await);
        match self {
            Self::Stdio => Client::start(guard, upstream),
            Self::HttpBeforeStdio | Self::Http => Client::over_http(guard, upstream).await,
        }
    }
}

fn params(method: &str) -> Value {
    match method {
        "resources/read" => json!({"uri": "file:///a"}),
        "prompts/get" => json!({"name": "review"}),
        _ => json!({"name": "write", "arguments": {"path": "/a"}}),
    }
}

fn request(id: i64, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params(method)})
}

fn cancellation(id: i64) -> Value {
    let params = json!({"requestId": id});
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})
}

/// The number of permits for an action that the authority verified.
fn permits(authority: &MockAuthority, action: &str) -> usize {
    let calls = authority.calls();
    let verified = calls.iter().filter(|call| match call {
        Call::Verify(request) => request.action_type.as_deref() == Some(action),
        _ => false,
    });
    verified.count()
}

/// The number of requests with this method that reached the server.
fn forwarded(stage: &Stage, method: &str) -> usize {
    let method = format!(r#""method":"{method}""#);
    let lines = stage.noted("got ");
    lines.iter().filter(|line| line.contains(&method)).count()
}

/// Asserts that the server got and ran no more than was permitted. Returns the number of runs.
fn assert_permitted(stage: &Stage, authority: &MockAuthority, method: &str, cell: &str) -> usize {
    let (_, action) = OF_CLIENT.into_iter().find(|(of, _)| *of == method).unwrap();
    let (runs, forwarded) = (stage.runs(), forwarded(stage, method));
    let permits = permits(authority, action);
    assert!(
        runs <= forwarded && forwarded <= permits,
        "{cell}: {runs} runs of {forwarded} requests with {permits} permits"
    );
    runs
}

/// Returns the response to a request. `None` if the stream ends, or nothing comes for a while.
async fn response(client: &mut Client, id: i64, patience: Duration) -> Option<Value> {
    timeout(patience, client.response(id)).await.ok().flatten()
}

/// Runs cells side by side, and asserts that none failed.
async fn run<F: Future<Output = ()> + Send + 'static>(cells: impl IntoIterator<Item = F>) -> usize {
    let slots = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for cell in cells {
        let slots = Arc::clone(&slots);
        running.spawn(async move {
            let _slot = slots.acquire_owned().await.unwrap();
            cell.await;
        });
    }
    let count = running.len();
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    count
}

/// How a client gives up on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// It cancels the request.
    Cancels,
    /// It closes its side, or ends its session.
    Closes,
    /// Its connection breaks.
    Dies,
    /// It stays, and the guard is stopped.
    IsLeft,
}

const WAYS: [Leaves; 4] = [
    Leaves::Cancels,
    Leaves::Closes,
    Leaves::Dies,
    Leaves::IsLeft,
];

/// Lets a client give up, and waits for what could still happen.
async fn leave(mut client: Client, way: Leaves) {
    match way {
        Leaves::Cancels => {
            client.send_json(&cancellation(1)).await;
            while client.heard(SILENCE).await.is_some() {}
            client.stop_guard().await;
        }
        Leaves::Closes => {
            let ended = timeout(PATIENCE, client.close()).await;
            ended.expect("a guard that ends").unwrap().unwrap();
        }
        Leaves::Dies => client.die().await,
        Leaves::IsLeft => client.stop_guard().await,
    }
}
