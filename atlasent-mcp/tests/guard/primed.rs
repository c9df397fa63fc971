//! The streams of requests, which a client can resume before it got a message.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::timeout;

use super::over_http::{Listening, Messages, Session};
use super::support::{PATIENCE, Stage, holding};

/// How long people take, while the response becomes a stream.
const PEOPLE: Duration = Duration::from_secs(3);

/// Sends a call that asks for no progress. Returns when the client got the head of the stream, of
/// which no message came yet.
async fn waiting(stage: &Stage, people: Duration) -> (Listening, Session, Messages) {
    let guard = Listening::open(stage.guard(holding(people)), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let params = json!({"name": "write", "arguments": {"path": "/a"}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let response = timeout(PATIENCE, session.post(call)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(stage.runs(), 0);
    (guard, session, Messages::new(response))
}

#[tokio::test]
async fn a_held_call_is_resumed_before_its_first_message_and_runs_once() {
    let stage = Stage::new("");
    let (guard, session, mut stream) = waiting(&stage, PEOPLE).await;
    let primer = stream.primer().await.expect("an event without data");
    drop(stream);
    let resumed = session.listen(Some(&primer)).await.unwrap();
    assert_eq!(resumed.status(), StatusCode::OK);
    let rest = timeout(PATIENCE, Messages::new(resumed).rest()).await;
    let rest = rest.expect("a stream that ends");
    assert_eq!(rest.len(), 1, "{rest:?}");
    let answer = &rest[0].1;
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    // The response is kept for a client that lost it.
    let again = session.listen(Some(&primer)).await.unwrap();
    assert_eq!(Messages::new(again).rest().await, rest);
    guard.stop().await;
    assert_eq!(stage.runs(), 1);
}

#[tokio::test]
async fn a_client_does_not_come_back_for_a_call_that_was_cancelled() {
    let stage = Stage::new("");
    let (guard, session, mut stream) = waiting(&stage, PATIENCE).await;
    let primer = stream.primer().await.expect("an event without data");
    let params = json!({"requestId": 1});
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
    let taken = session.post(cancelled).await;
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    let ended = timeout(PATIENCE, stream.next()).await;
    assert_eq!(ended.expect("a stream that ends"), None);
    let nothing = session.listen(Some(&primer)).await.unwrap();
    assert_eq!(nothing.status(), StatusCode::METHOD_NOT_ALLOWED);
    guard.stop().await;
    assert_eq!(stage.runs(), 0);
}
