//! Faults of the server: it runs only permitted calls, and no client waits forever.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Leaves, OF_CLIENT, SIDES, Sides, WRITE, assert_permitted, cancellation, forwarded, leave,
    permits, request, response, run, until,
};
use crate::support::{PATIENCE, SILENCE, Stage};

/// The faults that a server can have on every transport.
const KINDS: [&str; 7] = [
    "error", "garbage", "null", "others", "close", "kill", "hang",
];
/// The faults that only a server over HTTP can have.
const OF_HTTP: [&str; 18] = [
    "cut-in-head",
    "cut-after-head",
    "cut-in-body",
    "cut-in-event",
    "half-event",
    "no-response",
    "twice",
    "other-id",
    "batch",
    "no-json",
    "other-type",
    "html",
    "accepted",
    "redirect",
    "401",
    "404",
    "500",
    "lost",
];

/// The messages at which a server fails, and the request that the client sends then.
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
/// The HTTP requests of a session that carry no message.
const REQUESTS_OF_HTTP: [(&str, &str); 2] = [("GET", "tools/call"), ("DELETE", "tools/call")];

/// Whether a response says that the request was run.
fn is_done(response: &Value) -> bool {
    response["result"].is_object() && response["result"]["isError"] != true
}

async fn faulty_server(sides: Sides, kind: &str, place: &str, method: &str) {
    let cell = format!("{sides:?}, {kind}@{place}");
    let (_, action) = OF_CLIENT.into_iter().find(|(of, _)| *of == method).unwrap();
    let authority = Arc::new(MockAuthority::new().allow(action));
    let stage = Stage::new(format!("{kind}@{place}"));
    let mut client = sides.client(&stage, Arc::clone(&authority)).await;
    let is_silent = kind == "hang";
    let patience = if is_silent { SILENCE } else { PATIENCE };
    let initialize = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    client
        .send_json(
            &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": initialize}),
        )
        .await;
    response(&mut client, 0, patience).await;
    for text in [
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(),
        request(1, method).to_string(),
    ] {
        client.try_send(&text).await;
    }
    let first = timeout(patience, client.response(1)).await;
    assert!(is_silent || first.is_ok(), "{cell}: the client waits");
    // The same call once more, which the client gives up.
    client.try_send(&request(2, method).to_string()).await;
    if place == "notifications/cancelled" {
        until(place, || forwarded(&stage, method) == 2).await;
    }
    client.try_send(&cancellation(2).to_string()).await;
    if place == "notifications/cancelled" {
        until(place, || forwarded(&stage, place) == 1).await;
    }
    client
        .try_send(r#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#)
        .await;
    let last = timeout(patience, client.response(3)).await;
    assert!(is_silent || last.is_ok(), "{cell}: the client waits");
    leave(client, Leaves::Closes).await;
    let runs = assert_permitted(&stage, &authority, method, &cell);
    assert!(permits(&authority, action) <= 2, "{cell}");
    // What is answered well was run.
    let is_done = first.ok().flatten().is_some_and(|first| is_done(&first));
    assert!(!is_done || runs > 0, "{cell}");
}

#[tokio::test]
async fn no_fault_of_the_server_runs_more_than_was_permitted() {
    let mut cells = Vec::new();
    for sides in SIDES {
        let (more_kinds, more_places): (&[&str], &[(&str, &str)]) = match sides {
            Sides::Stdio | Sides::HttpBeforeStdio => (&[], &[]),
            Sides::Http => (&OF_HTTP, &REQUESTS_OF_HTTP),
        };
        for kind in KINDS.iter().chain(more_kinds) {
            for (place, method) in PLACES.iter().chain(more_places) {
                cells.push(faulty_server(sides, kind, place, method));
            }
        }
    }
    assert_eq!(run(cells).await, 2 * 7 * 9 + 25 * 11);
}

#[tokio::test]
async fn a_response_that_cannot_be_read_is_told_while_the_server_keeps_its_stream_open() {
    let authority = Arc::new(MockAuthority::new().allow(WRITE));
    let stage = Stage::new("open-garbage@tools/call+");
    let mut client = Sides::Http.client(&stage, Arc::clone(&authority)).await;
    client.initialize().await;
    client.send_json(&request(1, "tools/call")).await;
    let told = response(&mut client, 1, PATIENCE).await;
    let told = told.expect("a response");
    assert!(told["error"].is_object(), "{told}");
    leave(client, Leaves::Closes).await;
    let runs = assert_permitted(&stage, &authority, "tools/call", "an open stream");
    assert_eq!(runs, 1);
}

#[tokio::test]
async fn a_call_whose_stream_is_polled_gets_its_response_however_long_it_takes() {
    let authority = Arc::new(MockAuthority::new().allow(WRITE));
    let stage = Stage::new("polls@tools/call+");
    let mut client = Sides::Http.client(&stage, Arc::clone(&authority)).await;
    client.initialize().await;
    client.send_json(&request(1, "tools/call")).await;
    let answer = response(&mut client, 1, PATIENCE).await;
    let answer = answer.expect("a response");
    assert!(is_done(&answer), "{answer}");
    leave(client, Leaves::Closes).await;
    let runs = assert_permitted(&stage, &authority, "tools/call", "a polled stream");
    assert_eq!((runs, forwarded(&stage, "tools/call")), (1, 1));
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_listened_to_again() {
    let authority = Arc::new(MockAuthority::new());
    let stage = Stage::new("away@GET");
    let mut client = Sides::Http.client(&stage, authority).await;
    client.initialize().await;
    let told = client.next().await;
    assert_eq!(told["method"], "notifications/message", "{told}");
    leave(client, Leaves::Closes).await;
}

#[tokio::test]
async fn a_stream_of_the_server_that_is_resumed_runs_nothing_again() {
    let cells = ["well"]
        .iter()
        .chain(&KINDS)
        .chain(&OF_HTTP)
        .map(|kind| async move {
            let authority = Arc::new(MockAuthority::new().allow(WRITE));
            let stage = Stage::new(format!("resume:{kind}@tools/call+"));
            let mut client = Sides::Http.client(&stage, Arc::clone(&authority)).await;
            client.initialize().await;
            client.send_json(&request(1, "tools/call")).await;
            until("the run", || stage.runs() == 1).await;
            let patience = if *kind == "hang" { SILENCE } else { PATIENCE };
            let answer = timeout(patience, client.response(1)).await;
            assert!(
                *kind == "hang" || answer.is_ok(),
                "{kind}: the client waits"
            );
            let answer = answer.ok().flatten();
            let is_done = answer.as_ref().is_some_and(is_done);
            // The answer of another request, which comes first, changes nothing.
            let comes = ["well", "others", "twice"].contains(kind);
            assert_eq!(is_done, comes, "{kind}: {answer:?}");
            leave(client, Leaves::Closes).await;
            assert_eq!(assert_permitted(&stage, &authority, "tools/call", kind), 1);
            assert_eq!(forwarded(&stage, "tools/call"), 1, "{kind}");
            assert_eq!(permits(&authority, WRITE), 1, "{kind}");
        });
    assert_eq!(run(cells).await, 1 + 7 + 18);
}
