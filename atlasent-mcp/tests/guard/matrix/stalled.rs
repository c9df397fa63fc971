//! A server or a client that stops reading, while the other sends more than fits between them.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::streams::listen;
use super::{
    OVER_HTTP, SIDES, Sides, WRITE, assert_permitted, authority_at, cancellation, forwarded,
    permits, request, run, until,
};
use crate::over_http::{Messages, Session};
use crate::support::{Client, PATIENCE, SILENCE, Stage};

/// More messages than all queues hold, each of which fills a part of a pipe.
const FLOOD: usize = 400;

fn notification() -> String {
    notification_of(1_000)
}

/// Returns a notification of at least `bytes` bytes.
fn notification_of(bytes: usize) -> String {
    let params = json!({"_meta": {"padding": "x".repeat(bytes)}});
    json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed", "params": params})
        .to_string()
}

/// Sends notifications until one is not taken.
async fn flood(session: &Session) {
    for _ in 0..FLOOD {
        match timeout(SILENCE, session.post(notification())).await {
            Ok(taken) => assert_eq!(taken.status(), StatusCode::ACCEPTED),
            Err(_) => return,
        }
    }
    panic!("the server reads");
}

#[tokio::test]
async fn a_guard_ends_although_the_server_reads_nothing() {
    let cells = SIDES.map(|sides| async move {
        let stage = Stage::new("stall@notifications/initialized");
        if sides == Sides::Stdio {
            let mut client = Client::start(stage.guard(authority_at("")), stage.upstream());
            client.initialize().await;
            for _ in 0..FLOOD {
                client.send(&notification()).await;
            }
            client.hears_nothing().await;
            client.stop_guard().await;
        } else {
            let guard = listen(sides, &stage, authority_at("")).await;
            let mut session = Session::new(&guard);
            session.initialize().await;
            flood(&session).await;
            guard.stop().await;
        }
    });
    assert_eq!(run(cells).await, 3);
}

#[tokio::test]
async fn a_guard_ends_although_the_client_reads_nothing() {
    let stage = Stage::new("");
    let mut client = Client::start(stage.guard(authority_at("")), stage.upstream());
    client.initialize().await;
    for number in 0.. {
        let id = format!("{number}-{}", "x".repeat(200));
        let ping = json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string();
        if timeout(SILENCE, client.try_send(&ping)).await.is_err() {
            break;
        }
    }
    client.stop_guard().await;
}

#[tokio::test]
async fn a_session_ends_although_the_server_reads_nothing() {
    let cells = OVER_HTTP.map(|sides| async move {
        let stage = Stage::new("stall@notifications/initialized");
        let guard = listen(sides, &stage, authority_at("")).await;
        let mut session = Session::new(&guard);
        session.initialize().await;
        flood(&session).await;
        let mut waiting = JoinSet::new();
        for message in [notification(), request(1, "tools/call").to_string()] {
            let session = session.clone();
            waiting.spawn(async move { Messages::new(session.post(message).await).rest().await });
        }
        assert!(timeout(SILENCE, waiting.join_next()).await.is_err());
        let ended = session.delete().await.unwrap();
        assert_eq!(ended.status(), StatusCode::NO_CONTENT);
        let told = timeout(PATIENCE, waiting.join_all()).await;
        assert!(told.is_ok(), "{sides:?}: the client waits");
        guard.stop().await;
        assert_eq!(stage.runs(), 0);
    });
    assert_eq!(run(cells).await, 2);
}

#[tokio::test]
async fn a_message_that_no_server_takes_is_refused_after_a_while() {
    let cells = OVER_HTTP.map(|sides| async move {
        let stage = Stage::new("stall@notifications/initialized");
        let guard = listen(sides, &stage, authority_at("")).await;
        let mut session = Session::new(&guard);
        session.initialize().await;
        flood(&session).await;
        let refused = session.post(request(1, "tools/call")).await;
        assert_eq!(
            refused.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{sides:?}"
        );
        guard.stop().await;
        assert_eq!(stage.runs(), 0);
    });
    assert_eq!(run(cells).await, 2);
}

#[tokio::test]
async fn a_call_that_breaks_off_before_it_is_taken_can_be_posted_again() {
    let authority = authority_at("");
    let stage = Stage::new("pause@notifications/initialized");
    let guard = listen(Sides::HttpBeforeStdio, &stage, Arc::clone(&authority)).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    flood(&session).await;
    let cut = timeout(SILENCE, session.post(request(1, "tools/call"))).await;
    assert!(cut.is_err(), "the call was taken");
    stage.go_on();
    let taken = session.post(notification()).await;
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    let again = session.call(1).await;
    assert_eq!(again["result"]["content"][0]["text"], "done", "{again}");
    guard.stop().await;
    let runs = assert_permitted(&stage, &authority, "tools/call", "a call that broke off");
    assert_eq!((runs, permits(&authority, WRITE)), (1, 1));
}

#[tokio::test]
async fn a_waiting_call_of_an_ended_session_is_not_sent() {
    let authority = authority_at("");
    let stage = Stage::new("pause@notifications/roots/list_changed");
    let guard = listen(Sides::Http, &stage, Arc::clone(&authority)).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    session.call(1).await;
    // The server takes the notification late, and what comes after it later.
    session.post(notification()).await;
    let caller = session.clone();
    let call = tokio::spawn(async move {
        let answer = caller.post(request(2, "tools/call")).await;
        Messages::new(answer).rest().await
    });
    until("the second permit", || permits(&authority, WRITE) == 2).await;
    session.post(notification()).await;
    session.delete().await.unwrap();
    let told = timeout(PATIENCE, call)
        .await
        .expect("a client that is told");
    let told = told.unwrap();
    let is_told = told.iter().any(|(_, message)| message["error"].is_object());
    let is_done = told
        .iter()
        .any(|(_, message)| message["result"].is_object());
    assert!(is_told && !is_done, "{told:?}");
    stage.go_on();
    until("the end", || !stage.noted("ended").is_empty()).await;
    assert_eq!(forwarded(&stage, "tools/call"), 1);
    guard.stop().await;
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_the_server_pauses_is_not_sent() {
    let authority = authority_at("");
    let stage = Stage::new("pause@notifications/roots/list_changed");
    let mut client = Client::start(stage.guard(Arc::clone(&authority)), stage.upstream());
    client.initialize().await;
    client.call(1, "write").await;
    // The server reads the first one and pauses. The others fill the pipe.
    for _ in 0..16 {
        client.send(&notification_of(16 * 1024)).await;
    }
    client.send_json(&request(2, "tools/call")).await;
    until("the second permit", || permits(&authority, WRITE) == 2).await;
    client.hears_nothing().await;
    client.send_json(&cancellation(2)).await;
    client.hears_nothing().await;
    stage.go_on();
    client.request(3, "ping", json!({})).await;
    assert_eq!((stage.runs(), forwarded(&stage, "tools/call")), (1, 1));
    // The server never heard of the call, so it is not told of its end either.
    assert_eq!(forwarded(&stage, "notifications/cancelled"), 0);
    client.stop_guard().await;
}

#[tokio::test]
async fn a_cancelled_request_keeps_no_connection_to_a_server_that_hangs() {
    const REQUESTS: usize = 20;
    let stage = Stage::new("hang@ping");
    let guard = listen(Sides::Http, &stage, authority_at("")).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let mut waiting = JoinSet::new();
    for id in 1..=REQUESTS {
        let session = session.clone();
        let ping = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        waiting.spawn(async move { Messages::new(session.post(ping).await).rest().await });
    }
    until("the requests", || forwarded(&stage, "ping") == REQUESTS).await;
    for id in 1..=REQUESTS {
        session.post(cancellation(i64::try_from(id).unwrap())).await;
    }
    let told = timeout(PATIENCE, waiting.join_all()).await;
    assert!(told.is_ok(), "the client waits");
    until("no request is kept", || {
        stage.noted("hung up").len() == REQUESTS
    })
    .await;
    guard.stop().await;
}
