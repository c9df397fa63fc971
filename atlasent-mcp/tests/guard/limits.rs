//! Limits that a program sets.

use std::sync::Arc;
use std::time::Duration;

use atlasent_mcp::guard::Guard;
use atlasent_mcp::guard::limits::Limits;
use reqwest::StatusCode;
use serde_json::json;

use super::over_http::{Listening, Session};
use super::support::{Client, Stage, allowing, holding};

fn limited(guard: Guard, limits: Limits) -> Arc<Guard> {
    Arc::new(guard.with_limits(limits).unwrap())
}

#[tokio::test]
async fn an_agent_opens_no_more_sessions_than_the_limit() {
    let stage = Stage::new("");
    let limits = Limits {
        sessions_per_agent: Some(1),
        ..Limits::default()
    };
    let guard = limited(stage.new_guard(allowing()), limits);
    let guard = Listening::open(guard, stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let second = Session::new(&guard);
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {}});
    let refused = second.post(initialize).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    session.call(1).await;
    assert_eq!(stage.runs(), 1);
}

#[tokio::test]
async fn a_client_has_no_more_open_requests_than_the_limit() {
    let stage = Stage::new("");
    let limits = Limits {
        requests: 1,
        ..Limits::default()
    };
    let guard = limited(stage.new_guard(holding(Duration::from_secs(1))), limits);
    let mut client = Client::start(guard, stage.upstream());
    client.initialize().await;
    // The call waits for a person.
    let params = json!({"name": "write", "arguments": {"path": "/a"}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    client.send_json(&call).await;
    let refused = client.request(2, "ping", json!({})).await;
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("too many requests"), "{refused}");
    // The held call runs, and its place is free again.
    let answer = client.next().await;
    assert_eq!((&answer["id"], stage.runs()), (&json!(1), 1), "{answer}");
    let answer = client.request(3, "ping", json!({})).await;
    assert!(answer["result"].is_object(), "{answer}");
}

#[tokio::test]
async fn a_limit_that_cannot_be_used_is_refused() {
    let stage = Stage::new("");
    let limits = Limits {
        requests: 0,
        ..Limits::default()
    };
    let refused = stage.new_guard(allowing()).with_limits(limits).unwrap_err();
    assert_eq!(refused.to_string(), "`requests` has to be from 1 to 65536");
}
