//! What was checked before people decided, and is no longer so when they have.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ati_client::{Claims, SigningKey, issue};
use atlasent::testing::{MockAuthority, ScriptedApproval};
use atlasent_mcp::guard::paths::PathRules;
use serde_json::{Value, json};

use super::http::{AUDIENCE, SECRET, by_token};
use super::over_http::{Listening, Session};
use super::support::{Client, SILENCE, Slow, Stage, holding};

/// How long people take.
const PEOPLE: Duration = Duration::from_secs(2);

fn call(path: &str) -> Value {
    let params = json!({"name": "write", "arguments": {"path": path}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
}

/// Reads until the response to a request.
async fn response(client: &mut Client, id: i64) -> Value {
    loop {
        let message = client.next().await;
        if message["id"] == id && message.get("method").is_none() {
            return message;
        }
    }
}

#[tokio::test]
async fn a_tool_that_changes_while_people_decide_is_not_called() {
    let stage = Stage::new("changes-and-tells");
    let mut client = stage.client(holding(PEOPLE));
    client.initialize().await;
    client.send_json(&call("/a")).await;
    tokio::time::sleep(SILENCE).await;
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
        .await;
    let refused = response(&mut client, 1).await;
    let code = &refused["result"]["structuredContent"]["code"];
    assert_eq!(code, "TOOL_CHANGED", "{refused}");
    assert_eq!(stage.runs(), 0);
    // The guard listed the tools before the call, and again when the server told of the change.
    assert_eq!(listed(&stage), 2);
}

#[tokio::test]
async fn a_held_call_of_a_tool_that_stayed_the_same_runs_after_the_tools_are_listed_again() {
    let stage = Stage::new("tells-of-changes");
    let mut client = stage.client(holding(PEOPLE));
    client.initialize().await;
    client.send_json(&call("/a")).await;
    tokio::time::sleep(SILENCE).await;
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
        .await;
    let done = response(&mut client, 1).await;
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    assert_eq!((stage.runs(), listed(&stage)), (1, 2));
}

#[tokio::test]
async fn a_held_call_that_is_cancelled_while_the_tools_are_listed_again_never_runs() {
    let stage = Stage::new("tells-of-changes-and-hangs");
    let mut client = stage.client(holding(Duration::from_millis(500)));
    client.initialize().await;
    client.send_json(&call("/a")).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#)
        .await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!((stage.runs(), listed(&stage)), (0, 2));
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    client
        .send(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#)
        .await;
    response(&mut client, 2).await;
    assert_eq!(stage.runs(), 0);
}

fn listed(stage: &Stage) -> usize {
    let got = stage.noted("got ");
    got.iter()
        .filter(|line| line.contains("tools/list\""))
        .count()
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_after_people_decided_is_refused() {
    let stage = Stage::new("");
    let root = stage.folder.path().canonicalize().unwrap();
    let files = root.join("files");
    std::fs::create_dir_all(files.join("public")).unwrap();
    std::fs::create_dir(files.join("private")).unwrap();
    let rules = PathRules::new(&files, ["path"]).unwrap();
    let guard = Arc::new(stage.new_guard(holding(PEOPLE)).with_paths(rules));
    let mut client = Client::start(guard, stage.upstream());
    client.initialize().await;
    let path = files.join("public/key");
    client.send_json(&call(path.to_str().unwrap())).await;
    tokio::time::sleep(SILENCE).await;
    std::fs::remove_dir(files.join("public")).unwrap();
    std::os::unix::fs::symlink(files.join("private"), files.join("public")).unwrap();
    let refused = response(&mut client, 1).await;
    let code = &refused["result"]["structuredContent"]["code"];
    assert_eq!(code, "PATH_REFUSED", "{refused}");
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_token_that_expires_while_people_decide_runs_nothing() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap().as_secs();
    // Verifiers and the guard allow for a minute between the clocks.
    for (expires_at, expected) in [(now - 57, "TOKEN_EXPIRED"), (now + 3_600, "done")] {
        let stage = Stage::new("");
        let approval = ScriptedApproval::approve();
        let authority = Slow {
            authority: MockAuthority::new().hold_for_approval("mcp.fake.write", "ask", approval),
            people: Duration::from_secs(5),
        };
        let guard = Listening::start(
            stage.guard(authority),
            stage.upstream(),
            by_token(Vec::new()),
        )
        .await;
        let claims = Claims::builder("ann")
            .audience(AUDIENCE)
            .scope("tool:fake:*")
            .issued_at(now - 3_600)
            .expires_at(expires_at)
            .build()
            .unwrap();
        let mut session = Session::new(&guard);
        session.token = Some(issue(&claims, &SigningKey::from_hex(SECRET).unwrap()).unwrap());
        session.initialize().await;
        let answer = session.call(1).await;
        assert!(answer.to_string().contains(expected), "{answer}");
        assert_eq!(stage.runs(), usize::from(expected == "done"));
    }
}
