//! Faults of the connections between client and guard: a client that comes back, posts again,
//! breaks off while it sends, or uses the ids of another.

use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::DynAuthority;
use atlasent::testing::{MockAuthority, ScriptedApproval};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{
    Leaves, MOMENTS, OVER_HTTP, Sides, WRITE, assert_permitted, authority_at, cancellation,
    forwarded, permits, reaches, request, run,
};
use crate::over_http::{Listening, Messages, Session};
use crate::support::{PATIENCE, SILENCE, Stage, holding};

const READ: &str = "mcp.fake.read";

/// Starts a server, and a listening guard in front of it.
pub(super) async fn listen(
    sides: Sides,
    stage: &Stage,
    authority: impl DynAuthority + 'static,
) -> Listening {
    Listening::open(stage.guard(authority), sides.upstream(stage).await).await
}

/// A call that asks for progress.
fn call(id: i64, tool: &str, path: &str) -> Value {
    let meta = json!({"progressToken": id});
    let params = json!({"name": tool, "arguments": {"path": path}, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

/// When a client comes back to the stream of a held call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    WhileItIsRead,
    AfterACut,
    AfterTheAnswer,
}

/// Returns the position in the id of an event.
fn position(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

async fn comes_back(sides: Sides, back: Back, has: usize) {
    let cell = format!("{sides:?}, {back:?}, {has}");
    let people = Arc::new(holding(Duration::from_secs(1)));
    let stage = Stage::new("");
    let guard = listen(sides, &stage, Arc::clone(&people)).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let mut first = Messages::new(session.post(call(1, "write", "/a")).await);
    let enough = match back {
        Back::AfterTheAnswer => usize::MAX,
        Back::WhileItIsRead | Back::AfterACut => has,
    };
    let mut ids = Vec::new();
    while ids.len() < enough
        && let Some((id, _)) = first.next().await
    {
        ids.push(id);
    }
    let former = match back {
        Back::WhileItIsRead => Some(first),
        Back::AfterACut | Back::AfterTheAnswer => {
            drop(first);
            None
        }
    };
    let resumed = session.listen(Some(&ids[has - 1])).await.unwrap();
    assert_eq!(resumed.status(), StatusCode::OK, "{cell}");
    let rest = timeout(PATIENCE, Messages::new(resumed).rest()).await;
    let rest = rest.expect("a stream that ends");
    if let Some(former) = former {
        let former = timeout(PATIENCE, former.rest()).await;
        former.expect("a stream that ends when another connection reads it");
    }
    // Each event comes once, and the response is the last one.
    let positions: Vec<_> = rest.iter().map(|(id, _)| position(id)).collect();
    let next = position(&ids[has - 1]) + 1;
    let expected: Vec<_> = (next..).take(rest.len()).collect();
    assert_eq!(positions, expected, "{cell}");
    let (last, message) = rest.last().unwrap();
    assert_eq!(message["id"], 1, "{cell}");
    assert_eq!(message["result"]["content"][0]["text"], "done", "{cell}");
    let nothing = session.listen(Some(last)).await.unwrap();
    assert_eq!(nothing.status(), StatusCode::METHOD_NOT_ALLOWED, "{cell}");
    guard.stop().await;
    let counts = (
        stage.runs(),
        forwarded(&stage, "tools/call"),
        permits(&people.authority, WRITE),
    );
    assert_eq!(counts, (1, 1, 1), "{cell}");
}

#[tokio::test]
async fn a_client_that_reconnects_resumes_its_stream_and_the_call_runs_once() {
    let mut cells = Vec::new();
    for sides in OVER_HTTP {
        for back in [Back::WhileItIsRead, Back::AfterACut, Back::AfterTheAnswer] {
            for has in [1, 2, 3] {
                cells.push(comes_back(sides, back, has));
            }
        }
    }
    assert_eq!(run(cells).await, 2 * 3 * 3);
}

/// Breaks the connection of a client in a call, and lets it post a request again. `has_head` tells
/// whether the client got the head of the response before, and `again` is the id of the request
/// that it posts.
async fn posts_again(
    sides: Sides,
    (moment, fault, expected): (&str, &str, usize),
    has_head: bool,
    again: i64,
) {
    let cell = format!("{sides:?}, {moment}, {has_head}, {again}");
    let authority = authority_at(fault);
    let stage = Stage::new(fault);
    let guard = listen(sides, &stage, Arc::clone(&authority)).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let posted = |id| {
        let session = session.clone();
        tokio::spawn(async move { session.post(request(id, "tools/call")).await })
    };
    let is_answered = fault.is_empty();
    let first = posted(1);
    if is_answered {
        Messages::new(first.await.unwrap()).rest().await;
    } else {
        reaches(fault, &stage, &authority, 1).await;
        match has_head {
            // The response becomes a stream, and its connection is dropped.
            true => drop(timeout(PATIENCE, first).await.unwrap().unwrap()),
            false => first.abort(),
        }
    }
    let second = posted(again);
    let status = if is_answered || again == 1 {
        let response = timeout(PATIENCE, second).await.unwrap().unwrap();
        let status = response.status();
        Messages::new(response).rest().await;
        status
    } else {
        reaches(fault, &stage, &authority, 2).await;
        second.abort();
        StatusCode::OK
    };
    let is_taken = is_answered || again == 2;
    assert_eq!(status == StatusCode::OK, is_taken, "{cell}: {status}");
    guard.stop().await;
    let runs = assert_permitted(&stage, &authority, "tools/call", &cell);
    let requests = if is_taken { 2 } else { 1 };
    assert_eq!(runs, expected * requests, "{cell}");
}

#[tokio::test]
async fn a_call_that_is_posted_again_runs_again_only_with_another_permit() {
    let mut cells = Vec::new();
    for sides in OVER_HTTP {
        for again in [1, 2] {
            for moment in MOMENTS {
                cells.push(posts_again(sides, moment, false, again));
                cells.push(posts_again(sides, moment, true, again));
            }
            let answered = ("after the answer", "", 1);
            cells.push(posts_again(sides, answered, true, again));
        }
    }
    assert_eq!(run(cells).await, 2 * 2 * (5 * 2 + 1));
}

/// The part of a request that a client sends before it breaks off: its name, and a function that
/// computes its length from the lengths of the head and of the whole request.
type Part = (&'static str, fn(usize, usize) -> usize);

async fn breaks_off(sides: Sides, (part, length): Part) {
    let cell = format!("{sides:?}, {part}");
    let authority = authority_at("");
    let stage = Stage::new("");
    let guard = listen(sides, &stage, Arc::clone(&authority)).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let body = request(1, "tools/call").to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nmcp-session-id: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        guard.address,
        session.id.as_deref().unwrap(),
        body.len()
    );
    let whole = format!("{head}{body}");
    let sent = length(head.len(), whole.len());
    let mut connection = TcpStream::connect(guard.address).await.unwrap();
    connection
        .write_all(&whole.as_bytes()[..sent])
        .await
        .unwrap();
    drop(connection);
    sleep(SILENCE).await;
    let is_whole = sent == whole.len();
    assert!(is_whole || authority.calls().is_empty(), "{cell}");
    let again = timeout(PATIENCE, async {
        loop {
            let again = session.post(&body).await;
            // The call that broke off may still run.
            match again.status() {
                StatusCode::BAD_REQUEST => sleep(SILENCE).await,
                _ => return Messages::new(again).rest().await,
            }
        }
    });
    let again = again.await.unwrap();
    let (_, again) = again.last().unwrap();
    assert_eq!(again["result"]["content"][0]["text"], "done", "{cell}");
    guard.stop().await;
    let runs = assert_permitted(&stage, &authority, "tools/call", &cell);
    assert_eq!(runs, permits(&authority, WRITE), "{cell}");
    assert!(runs == 1 || (is_whole && runs == 2), "{cell}: {runs}");
}

#[tokio::test]
async fn a_call_that_is_not_sent_to_its_end_is_not_decided_on() {
    const PARTS: [Part; 4] = [
        ("in the head", |head, _| head / 2),
        ("after the head", |head, _| head),
        ("in the body", |head, whole| head.midpoint(whole)),
        ("after the body", |_, whole| whole),
    ];
    let cells = OVER_HTTP.map(|sides| PARTS.map(|part| breaks_off(sides, part)));
    assert_eq!(run(cells.into_iter().flatten()).await, 2 * 4);
}

/// Lets one of two sessions leave, while each waits for a person with the same request id.
async fn leaves_the_other(sides: Sides, way: Leaves) {
    let cell = format!("{sides:?}, {way:?}");
    // People take longer than the requests of an ended session may still run.
    let mut people = holding(Duration::from_secs(3));
    people.authority =
        (people.authority).hold_for_approval(READ, "ask a person", ScriptedApproval::approve());
    let people = Arc::new(people);
    let stage = Stage::new("");
    let guard = listen(sides, &stage, Arc::clone(&people)).await;
    let (mut ours, mut other) = (Session::new(&guard), Session::new(&guard));
    ours.initialize().await;
    other.initialize().await;
    let posted = |session: &Session, tool: &str, path: &str| {
        let (session, call) = (session.clone(), call(1, tool, path));
        tokio::spawn(async move { Messages::new(session.post(call).await).rest().await })
    };
    let (our_call, other_call) = (
        posted(&ours, "write", "/ours"),
        posted(&other, "read", "/other"),
    );
    sleep(SILENCE).await;
    let expected = match way {
        Leaves::Cancels => {
            let taken = ours.post(cancellation(1)).await;
            assert_eq!(taken.status(), StatusCode::ACCEPTED, "{cell}");
            1
        }
        Leaves::Closes => {
            let ended = ours.delete().await.unwrap();
            assert_eq!(ended.status(), StatusCode::NO_CONTENT, "{cell}");
            1
        }
        // A session outlives a connection, so that its client can come back.
        Leaves::Dies | Leaves::IsLeft => {
            our_call.abort();
            2
        }
    };
    let answer = timeout(PATIENCE, other_call).await.unwrap().unwrap();
    let (_, answer) = answer.last().unwrap();
    assert_eq!(answer["id"], 1, "{cell}");
    assert_eq!(answer["result"]["_meta"]["path"], "/other", "{cell}");
    if way != Leaves::Dies {
        let ended = timeout(PATIENCE, our_call).await.unwrap().unwrap();
        let is_done = ended
            .iter()
            .any(|(_, message)| message["result"].is_object());
        assert!(!is_done, "{cell}: {ended:?}");
        // What is cancelled has no response.
        let is_told = ended
            .iter()
            .any(|(_, message)| message["error"].is_object());
        assert_eq!(is_told, way == Leaves::Closes, "{cell}: {ended:?}");
    }
    sleep(SILENCE).await;
    guard.stop().await;
    let permits = [WRITE, READ].map(|action| permits(&people.authority, action));
    let counts = (stage.runs(), forwarded(&stage, "tools/call"));
    assert_eq!(counts, (expected, expected), "{cell}");
    assert_eq!(permits, [expected - 1, 1], "{cell}");
    let is_ours = |line: &String| line.contains("tools/call") && line.contains("/ours");
    assert_eq!(
        stage.noted("got ").iter().any(is_ours),
        expected == 2,
        "{cell}"
    );
}

#[tokio::test]
async fn a_session_that_ends_affects_no_request_of_another_with_the_same_id() {
    let mut cells = Vec::new();
    for sides in OVER_HTTP {
        for way in [Leaves::Cancels, Leaves::Closes, Leaves::Dies] {
            cells.push(leaves_the_other(sides, way));
        }
    }
    assert_eq!(run(cells).await, 2 * 3);
}

#[tokio::test]
async fn sessions_with_the_same_ids_get_their_own_answers() {
    const SESSIONS: i64 = 3;
    const CALLS: i64 = 8;
    let cells = OVER_HTTP.map(|sides| async move {
        let authority = Arc::new(MockAuthority::new().allow(WRITE));
        let stage = Stage::new("");
        let guard = listen(sides, &stage, Arc::clone(&authority)).await;
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..SESSIONS {
            let mut session = Session::new(&guard);
            session.initialize().await;
            for id in 1..=CALLS {
                let session = session.clone();
                calls.spawn(async move {
                    let path = format!("/{number}/{id}");
                    let response = session.post(call(id, "write", &path)).await;
                    let answer = Messages::new(response).rest().await;
                    let (_, answer) = answer.last().unwrap();
                    assert_eq!(answer["id"], id);
                    assert_eq!(answer["result"]["_meta"]["path"], path);
                });
            }
        }
        while let Some(ended) = calls.join_next().await {
            ended.unwrap();
        }
        guard.stop().await;
        let runs = assert_permitted(&stage, &authority, "tools/call", &format!("{sides:?}"));
        assert_eq!(i64::try_from(runs).unwrap(), SESSIONS * CALLS);
        assert_eq!(permits(&authority, WRITE), runs);
    });
    assert_eq!(run(cells).await, 2);
}

#[tokio::test]
async fn a_client_whose_session_the_server_lost_starts_another() {
    let authority = Arc::new(MockAuthority::new().allow(WRITE));
    let stage = Stage::new("lost@ping");
    let guard = listen(Sides::Http, &stage, Arc::clone(&authority)).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let told = Messages::new(session.post(&ping).await).rest().await;
    assert!(told[0].1["error"].is_object(), "{told:?}");
    let over = session.post(request(2, "tools/call")).await;
    assert_eq!(over.status(), StatusCode::NOT_FOUND);
    session.id = None;
    session.initialize().await;
    let answer = session.call(1).await;
    assert_eq!(answer["result"]["content"][0]["text"], "done");
    guard.stop().await;
    let runs = assert_permitted(&stage, &authority, "tools/call", "a session that was lost");
    assert_eq!((runs, permits(&authority, WRITE)), (1, 1));
}
