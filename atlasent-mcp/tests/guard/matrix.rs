//! Each fault of the authority, the server and the client, at each message.
//!
//! In every cell the server counts what it runs, and the authority counts the permits that were
//! used up. No cell has more runs than permits, and no cell leaves a client waiting: it is
//! answered, its stream ends, or it stops to wait for a server that hangs.

use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::IssuerId;
use atlasent::error::Code;
use atlasent::testing::{Call, MockAuthority, Reply};
use atlasent::wire::{EscalationStatus, EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, Error};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::support::{Client, PATIENCE, SILENCE, Stage};

/// The most cells that run at a time: each has a process of its own.
const SIDE_BY_SIDE: usize = 6;

/// The requests of a client that need a permit, and the requests of the server, which it sends
/// while it runs `tools/call`.
const OF_CLIENT: [(&str, &str); 3] = [
    ("tools/call", "mcp.fake.write"),
    ("resources/read", "mcp.fake:resources/read"),
    ("prompts/get", "mcp.fake:prompts/get"),
];
const OF_SERVER: [(&str, &str); 3] = [
    ("sampling/createMessage", "mcp.fake:sampling/createMessage"),
    ("elicitation/create", "mcp.fake:elicitation/create"),
    ("roots/list", "mcp.fake:roots/list"),
];

/// An authority that the test and the guard share.
struct Shared(Arc<MockAuthority>);

impl Authority for Shared {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.0.evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.0.verify(request).await
    }

    async fn wait(&self, id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        self.0.wait(id, at_most).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.0.issuer()
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

/// The number of permits for an action that the authority verified.
fn permits(authority: &MockAuthority, action: &str) -> usize {
    let calls = authority.calls();
    let verified = calls.iter().filter(|call| match call {
        Call::Verify(request) => request.action_type.as_deref() == Some(action),
        _ => false,
    });
    verified.count()
}

/// Reads until the response to a request. `None` if the stream ends, or nothing comes for a while.
async fn response(client: &mut Client, id: i64, patience: Duration) -> Option<Value> {
    loop {
        let message = client.heard(patience).await?;
        if message["id"] == id && message.get("method").is_none() {
            return Some(message);
        }
    }
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

/// The faults of an authority about an action: nothing of it is an allow that was verified.
fn faulty_authorities(action: &'static str) -> Vec<(&'static str, MockAuthority)> {
    let new = MockAuthority::new;
    let allowed = || new().allow(action);
    let refused = Verification::refuse(None, "no");
    vec![
        ("unknown", new()),
        ("another action", new().allow("mcp.fake.other")),
        ("deny", new().deny(action, "no")),
        ("hold", new().hold(action, "later")),
        ("escalate", new().escalate(action, "later")),
        (
            "evaluate times out",
            new().on_evaluate(action, Reply::Fail(Code::Timeout)),
        ),
        (
            "evaluate is garbage",
            new().on_evaluate(action, Reply::Fail(Code::BadResponse)),
        ),
        ("evaluate panics", new().on_evaluate(action, Reply::Panic)),
        ("evaluate hangs", new().on_evaluate(action, Reply::Never)),
        (
            "verify is unreachable",
            allowed().on_verify(action, Reply::Fail(Code::Network)),
        ),
        ("verify panics", allowed().on_verify(action, Reply::Panic)),
        ("verify hangs", allowed().on_verify(action, Reply::Never)),
        (
            "verify refuses",
            allowed().on_verify(action, Reply::Answer(refused)),
        ),
    ]
}

/// How a client gives up on a request.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    Cancels,
    Closes,
    Dies,
}

const WAYS: [Leaves; 3] = [Leaves::Cancels, Leaves::Closes, Leaves::Dies];

/// Lets a client give up, and waits for what could still happen.
async fn leave(mut client: Client, way: Leaves) {
    match way {
        Leaves::Cancels => {
            client
                .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
                .await;
            while client.heard(SILENCE).await.is_some() {}
        }
        Leaves::Closes => {
            let ended = tokio::time::timeout(PATIENCE, client.close()).await;
            ended.unwrap().unwrap().unwrap();
        }
        Leaves::Dies => {
            client.serving.abort();
            drop(client);
            tokio::time::sleep(SILENCE).await;
        }
    }
}

#[tokio::test]
async fn no_fault_of_the_authority_runs_a_request_of_the_client() {
    let mut cells = Vec::new();
    for (method, action) in OF_CLIENT {
        for (index, (name, _)) in faulty_authorities(action).into_iter().enumerate() {
            for way in WAYS {
                // Only an authority that hangs leaves the client something to give up on.
                if !name.contains("hangs") && !matches!(way, Leaves::Closes) {
                    continue;
                }
                cells.push(async move {
                    let (_, authority) = faulty_authorities(action).swap_remove(index);
                    let stage = Stage::new("");
                    let mut client = stage.client(authority);
                    client.initialize().await;
                    client.send_json(&request(1, method)).await;
                    if name.contains("hangs") {
                        client.hears_nothing().await;
                    } else {
                        let response = response(&mut client, 1, PATIENCE).await.unwrap();
                        let is_refused =
                            response["result"]["isError"] == true || response["error"].is_object();
                        assert!(is_refused, "{method}, {name}: {response}");
                    }
                    leave(client, way).await;
                    assert_eq!(stage.runs(), 0, "{method}, {name}, {way:?}");
                });
            }
        }
    }
    assert_eq!(run(cells).await, 3 * (11 + 2 * 3));
}

#[tokio::test]
async fn no_fault_of_the_authority_shows_a_request_of_the_server_to_the_client() {
    let mut cells = Vec::new();
    for (method, action) in OF_SERVER {
        for (index, (name, _)) in faulty_authorities(action).into_iter().enumerate() {
            cells.push(async move {
                let (_, authority) = faulty_authorities(action).swap_remove(index);
                let stage = Stage::new(format!("asks@{method}"));
                let mut client = stage.client(authority.allow("mcp.fake.write"));
                client.initialize().await;
                client.send_json(&request(1, "tools/call")).await;
                while let Some(message) = client.heard(SILENCE).await {
                    assert_ne!(message["method"], method, "{name}");
                }
                // A client that guesses the id answers nothing.
                client
                    .send(r#"{"jsonrpc":"2.0","id":"s1","result":{"guessed":true}}"#)
                    .await;
                client.request(2, "ping", json!({})).await;
                let heard = stage.noted("got ").join("\n");
                assert!(!heard.contains("guessed"), "{method}, {name}: {heard}");
            });
        }
    }
    assert_eq!(run(cells).await, 3 * 13);
}

#[tokio::test]
async fn no_fault_of_the_server_runs_more_than_was_permitted() {
    const KINDS: [&str; 7] = [
        "error", "garbage", "null", "others", "close", "kill", "hang",
    ];
    const PLACES: [(&str, &str); 9] = [
        ("initialize", "tools/call"),
        ("notifications/initialized", "tools/call"),
        ("tools/list", "tools/call"),
        ("tools/call", "tools/call"),
        ("tools/call+", "tools/call"),
        ("notifications/cancelled", "tools/call"),
        ("resources/read", "resources/read"),
        ("prompts/get", "prompts/get"),
        ("ping", "tools/call"),
    ];
    let mut cells = Vec::new();
    for kind in KINDS {
        for (place, method) in PLACES {
            cells.push(async move {
                let (_, action) = OF_CLIENT.into_iter().find(|(of, _)| *of == method).unwrap();
                let authority = Arc::new(MockAuthority::new().allow(action));
                let stage = Stage::new(format!("{kind}@{place}"));
                let mut client = stage.client(Shared(Arc::clone(&authority)));
                let initialize = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
                client
                    .send_json(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": initialize}))
                    .await;
                let patience = if kind == "hang" { SILENCE } else { PATIENCE };
                // A server that talks nonsense has not answered, and nothing else comes.
                let patience = if kind == "garbage" { SILENCE } else { patience };
                response(&mut client, 0, patience).await;
                for text in [
                    r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
                    request(1, method).to_string(),
                ] {
                    client.try_send(&text).await;
                }
                let first = response(&mut client, 1, patience).await;
                // The same call once more, and one that the client gives up.
                client.try_send(&request(2, method).to_string()).await;
                client.try_send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#).await;
                client.try_send(r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#).await;
                response(&mut client, 3, patience).await;
                leave(client, Leaves::Closes).await;
                let (runs, permits) = (stage.runs(), permits(&authority, action));
                assert!(runs <= permits && permits <= 2, "{kind}@{place}: {runs} of {permits}");
                // What is answered well was run.
                let is_done = first.is_some_and(|first| {
                    first["result"].is_object() && first["result"]["isError"] != true
                });
                assert!(!is_done || runs > 0, "{kind}@{place}");
            });
        }
    }
    assert_eq!(run(cells).await, 7 * 9);
}

#[tokio::test]
async fn a_client_that_gives_up_at_any_message_runs_nothing_without_a_permit() {
    /// Where the client gives up: the fault of the server that holds the call there, the authority,
    /// and whether the tool ran by then.
    const MOMENTS: [(&str, &str, usize); 5] = [
        ("while the tools are listed", "hang@tools/list", 0),
        ("before the decision", "evaluate", 0),
        ("between decision and permit", "verify", 0),
        ("after the call was forwarded", "hang@tools/call", 0),
        ("before the answer", "hang@tools/call+", 1),
    ];
    let mut cells = Vec::new();
    for (moment, fault, expected) in MOMENTS {
        for way in WAYS {
            cells.push(async move {
                let write = "mcp.fake.write";
                let authority = match fault {
                    "evaluate" => MockAuthority::new().on_evaluate(write, Reply::Never),
                    "verify" => MockAuthority::new()
                        .allow(write)
                        .on_verify(write, Reply::Never),
                    _ => MockAuthority::new().allow(write),
                };
                let authority = Arc::new(authority);
                let stage = Stage::new(fault);
                let mut client = stage.client(Shared(Arc::clone(&authority)));
                client.initialize().await;
                client.send_json(&request(1, "tools/call")).await;
                client.hears_nothing().await;
                leave(client, way).await;
                assert_eq!(stage.runs(), expected, "{moment}, {way:?}");
                assert!(stage.runs() <= permits(&authority, write));
            });
        }
    }
    assert_eq!(run(cells).await, 5 * 3);
}

#[tokio::test]
async fn an_answer_of_the_client_reaches_the_server_once_and_as_it_was_sent() {
    const ANSWERS: [(&str, &[&str], usize); 7] = [
        (
            "a result",
            &[r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"assistant"}}"#],
            1,
        ),
        (
            "an error",
            &[r#"{"jsonrpc":"2.0","id":"s1","error":{"code":-1,"message":"no"}}"#],
            1,
        ),
        (
            "two results",
            &[
                r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"assistant"}}"#,
                r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"evil"}}"#,
            ],
            1,
        ),
        (
            "result and error",
            &[r#"{"jsonrpc":"2.0","id":"s1","result":{},"error":{}}"#],
            0,
        ),
        (
            "two ids",
            &[r#"{"jsonrpc":"2.0","id":"s1","id":"s2","result":{}}"#],
            0,
        ),
        (
            "another id",
            &[r#"{"jsonrpc":"2.0","id":"s2","result":{"role":"evil"}}"#],
            0,
        ),
        (
            "a call in disguise",
            &[
                r#"{"jsonrpc":"2.0","id":"s1","method":"tools/call","result":{},"params":{"name":"read"}}"#,
            ],
            0,
        ),
    ];
    let mut cells = Vec::new();
    for (method, action) in OF_SERVER {
        for (name, answers, expected) in ANSWERS {
            cells.push(async move {
                let authority = MockAuthority::new().allow("mcp.fake.write").allow(action);
                let stage = Stage::new(format!("asks@{method}"));
                let mut client = stage.client(authority);
                client.initialize().await;
                client.send_json(&request(1, "tools/call")).await;
                loop {
                    let message = client.next().await;
                    if message["method"] == method {
                        break;
                    }
                }
                for answer in answers {
                    client.send(answer).await;
                }
                client
                    .try_send(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#)
                    .await;
                response(&mut client, 9, PATIENCE).await.unwrap();
                let heard = stage.noted("got ");
                let heard: Vec<_> = heard
                    .iter()
                    .filter(|line| line.contains("\"s1\"") || line.contains("\"s2\""))
                    .collect();
                assert_eq!(heard.len(), expected, "{method}, {name}: {heard:?}");
                assert!(heard.iter().all(|line| !line.contains("evil")), "{heard:?}");
                assert_eq!(stage.runs(), 1, "{method}, {name}");
            });
        }
    }
    assert_eq!(run(cells).await, 3 * 7);
}
