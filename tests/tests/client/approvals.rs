//! Waiting for the end of an escalation by long polling, alone and on the way to a permit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::wire::EscalationStatus;
use atlasent::{AnyAction, Authority, AuthorityExt, Client, Error, blocking, protect};
use atlasent_tests::Ran;
use atlasent_tests::server::{At, Fault, Reply, Request, Server, in_order};
use serde_json::{Value, json};

use crate::cases::{ACTION, AGENT, TOKEN};
use crate::escalations::{ID, row};
use crate::support::{KEY, client, ms};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn status(word: &str) -> Reply {
    Reply::json(200, json!({"id": ID, "status": word}))
}

/// Waits for a server with these responses, on a clock on which pauses take no time.
async fn wait(
    at_most: Duration,
    replies: impl IntoIterator<Item = Reply>,
) -> (Result<EscalationStatus, Error>, Server, VirtualTime) {
    let server = Server::start(in_order(replies.into_iter().collect::<Vec<_>>()));
    let time = VirtualTime::new();
    let client = client(server.url()).virtual_time(&time).build().unwrap();
    let status = client.wait(ID, at_most).await;
    (status, server, time)
}

#[tokio::test]
async fn the_end_of_an_escalation_ends_the_wait_whatever_else_the_row_says() {
    for (word, ended) in [
        ("approved", EscalationStatus::Approved),
        ("rejected", EscalationStatus::Rejected),
        ("timed_out", EscalationStatus::TimedOut),
        ("auto_approved", EscalationStatus::AutoApproved),
        ("APPROVED", EscalationStatus::Unknown("APPROVED".to_owned())),
        ("", EscalationStatus::Unknown(String::new())),
    ] {
        for reply in [status(word), Reply::json(200, row(word))] {
            let (found, server, time) = wait(s(600), [status("pending"), reply]).await;
            assert_eq!(found.unwrap(), ended);
            assert_eq!(time.waits(), [ms(500)]);
            let requests = server.requests();
            assert_eq!(requests.len(), 2);
            assert_eq!(requests[0].target, format!("/v1/hitl/{ID}?wait=30"));
            assert_eq!(requests[0].method, "GET");
        }
    }
}

#[tokio::test]
async fn a_server_that_answers_at_once_is_asked_less_and_less_often_until_the_time_is_over() {
    let (found, server, time) = wait(s(60), [(); 20].map(|()| status("escalated"))).await;
    assert_eq!(found.unwrap(), EscalationStatus::Escalated);
    let pauses: Vec<_> = time.waits().iter().map(Duration::as_millis).collect();
    assert_eq!(
        pauses[..6],
        [500, 1000, 2000, 4000, 8000, 15_000],
        "{pauses:?}"
    );
    assert!(pauses.len() <= 9, "{pauses:?}");
    let total: Duration = time.waits().iter().sum();
    assert!(total <= s(60) && total > s(58), "{pauses:?}");
    let asked: Vec<_> = (server.requests().iter())
        .map(|request| request.query().map(str::to_owned))
        .collect();
    assert_eq!(asked[0].as_deref(), Some("wait=30"));
    // No request asks the server for more time than is left.
    let last = asked[asked.len() - 2].as_deref().unwrap_or("wait=0");
    let seconds: u64 = last.strip_prefix("wait=").unwrap().parse().unwrap();
    assert!(seconds < 30, "{asked:?}");
}

#[tokio::test]
async fn a_server_that_holds_its_answers_back_is_asked_again_at_once() {
    // A bit more than a second passes before the last piece of each answer. The server may hold the
    // first one back for two seconds.
    let held = |word: &str| {
        let reply = status(word).header("x-filling", "x".repeat(400));
        reply.slowly(100, ms(200))
    };
    let (found, _server, time) = wait(ms(2990), [held("pending"), held("approved")]).await;
    assert_eq!(found.unwrap(), EscalationStatus::Approved);
    assert_eq!(time.waits(), [ms(0)]);
}

#[tokio::test]
async fn an_answer_may_be_held_back_for_longer_than_the_timeout_of_other_calls() {
    let body = json!({"id": ID, "status": "approved"}).to_string();
    let reply = Reply::json(200, &body).slowly(body.len() / 2 + 1, ms(300));
    let server = Server::start(move |_: &Request| reply.clone());
    let client = client(server.url()).timeout(ms(200)).build().unwrap();
    let found = client.wait(ID, s(20)).await.unwrap();
    assert_eq!(found, EscalationStatus::Approved);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn faults_within_the_time_do_not_end_a_wait() {
    let replies = [
        Reply::status(503),
        Reply::status(502).fault(Fault::Reset, At::InBody),
        status("approved").fault(Fault::Reset, At::InHead),
        status("approved").fault(Fault::Close, At::InBody),
        Reply::json(429, json!({"message": "slow down"})).header("Retry-After", "20"),
        Reply::raw("nonsense"),
        status("approved"),
    ];
    let (found, server, time) = wait(s(600), replies).await;
    assert_eq!(found.unwrap(), EscalationStatus::Approved);
    assert_eq!(server.requests().len(), 7);
    // Counted from the end: a request that does not reach the server adds a wait before this one.
    let waits = time.waits();
    let asked_for = waits[waits.len() - 2];
    assert_eq!(asked_for, s(20), "the wait that the server asked for");
}

#[tokio::test]
async fn a_fault_that_lasts_ends_a_wait_when_the_time_is_over_and_is_told() {
    let (found, server, _) = wait(s(60), [(); 40].map(|()| Reply::status(503))).await;
    assert_eq!(found.unwrap_err().code(), Some(Code::ServerError));
    assert!(
        (6..=10).contains(&server.requests().len()),
        "{}",
        server.requests().len()
    );
    // What was known before the fault counts: the escalation is open.
    let down = [(); 40].map(|()| Reply::status(503));
    let (found, _, _) = wait(s(60), [status("pending")].into_iter().chain(down)).await;
    assert_eq!(found.unwrap(), EscalationStatus::Pending);
    // Nothing is sent before the time that the server asks for.
    let busy = Reply::status(503).header("Retry-After", "120");
    let (found, server, time) = wait(s(60), [busy, status("approved")]).await;
    assert_eq!(found.unwrap_err().code(), Some(Code::ServerError));
    assert_eq!((server.requests().len(), time.waits().len()), (1, 0));
}

#[tokio::test]
async fn an_answer_that_waiting_cannot_change_ends_the_wait_at_once() {
    let other = Reply::json(200, json!({"id": "esc_other", "status": "approved"}));
    for (reply, code) in [
        (Reply::status(401), Code::InvalidApiKey),
        (Reply::status(403), Code::Forbidden),
        (Reply::status(404), Code::BadRequest),
        (Reply::status(302), Code::BadResponse),
        (Reply::json(200, "{}"), Code::BadResponse),
        (Reply::json(200, "[]"), Code::BadResponse),
        (
            Reply::json(200, json!({"id": ID, "status": null})),
            Code::BadResponse,
        ),
        (
            Reply::json(200, json!({"id": ID, "status": true})),
            Code::BadResponse,
        ),
        (
            Reply::json(200, json!({"status": "approved"})),
            Code::BadResponse,
        ),
        (
            Reply::json(200, r#"{"id":"esc_0","id":"esc_0","status":"approved"}"#),
            Code::BadResponse,
        ),
        (Reply::json(200, json!([ID, "approved"])), Code::BadResponse),
        (other, Code::BadResponse),
    ] {
        let (found, server, _) = wait(s(60), [reply.clone(), status("approved")]).await;
        assert_eq!(found.unwrap_err().code(), Some(code), "{reply:?}");
        assert_eq!(server.requests().len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn a_wait_of_no_time_looks_once_and_the_longest_wait_is_no_panic() {
    let (found, server, _) = wait(s(0), [status("pending"), status("approved")]).await;
    assert_eq!(found.unwrap(), EscalationStatus::Pending);
    assert_eq!(server.requests()[0].query(), None);
    let (found, _, _) = wait(Duration::MAX, [status("pending"), status("approved")]).await;
    assert_eq!(found.unwrap(), EscalationStatus::Approved);
}

#[tokio::test]
async fn a_server_that_hangs_is_left_soon_after_the_time() {
    let server = Server::start(|_: &Request| status("approved").fault(Fault::Stall, At::Start));
    let client = client(server.url()).timeout(ms(200)).build().unwrap();
    let started = Instant::now();
    let error = client.wait(ID, ms(300)).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Timeout));
    assert!(started.elapsed() < s(20), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_dropped_ends_its_request_and_starts_no_other() {
    let server = Server::start(|_: &Request| status("approved").fault(Fault::Stall, At::Start));
    let client = client(server.url()).build().unwrap();
    let task = tokio::spawn(async move { client.wait(ID, s(600)).await });
    while server.busy() == 0 {
        tokio::time::sleep(ms(5)).await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    while server.busy() != 0 {
        tokio::time::sleep(ms(5)).await;
    }
    tokio::time::sleep(ms(100)).await;
    assert_eq!(server.requests().len(), 1);
}

/// Answers evaluations with a hold, and with an allow after the approval.
fn held_until_approved(waits: usize) -> Server {
    let waited = AtomicUsize::new(0);
    Server::start(move |request: &Request| match request.path() {
        "/v1-evaluate" if waited.load(Ordering::SeqCst) > waits => {
            Reply::json(200, json!({"decision": "allow", "permit_token": TOKEN}))
        }
        "/v1-evaluate" => Reply::json(
            200,
            json!({"decision": "hold", "reason": "two people", "escalation_id": ID,
                "approval_url": "https://console.example/1"}),
        ),
        "/v1-verify-permit" => Reply::json(
            200,
            json!({"valid": true, "outcome": "allow", "consumed": true, "approval": {
                "approval_id": ID, "artifact_hash": "h", "reviewer_id": "alice",
                "issuer_id": "local", "kid": "k"}}),
        ),
        _ => match waited.fetch_add(1, Ordering::SeqCst) {
            count if count < waits => status("pending"),
            _ => status("approved"),
        },
    })
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority, wait = "10m")]
async fn deploy(authority: &impl Authority, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority, wait = s(600))]
fn deploy_blocking(authority: &blocking::Client, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

fn client_of(server: &Server) -> Client {
    let time = VirtualTime::new();
    client(server.url()).virtual_time(&time).build().unwrap()
}

fn paths(server: &Server) -> Vec<String> {
    let requests = server.requests();
    requests
        .iter()
        .map(|request| request.path().to_owned())
        .collect()
}

#[tokio::test]
async fn a_held_call_runs_after_the_approval_and_says_who_approved() {
    let server = held_until_approved(2);
    let (client, ran) = (client_of(&server), Ran::new());
    let action = AnyAction::new(ACTION).unwrap();
    let ask = client.ask(AGENT, action);
    let permit = ask.wait(s(600)).protect().await.unwrap();
    assert_eq!(permit.approvals()[0].reviewer_id, "alice");
    assert_eq!(permit.record().approvals, permit.approvals());
    let row = format!("/v1/hitl/{ID}");
    assert_eq!(
        paths(&server),
        [
            "/v1-evaluate",
            &row,
            &row,
            &row,
            "/v1-evaluate",
            "/v1-verify-permit"
        ]
    );

    let server = held_until_approved(1);
    deploy(&client_of(&server), &ran).await.unwrap();
    assert_eq!(ran.count(), 1);
}

#[test]
fn a_held_call_runs_after_the_approval_without_async() {
    let server = held_until_approved(1);
    let (client, ran) = (blocking::Client::from(client_of(&server)), Ran::new());
    deploy_blocking(&client, &ran).unwrap();
    assert_eq!(ran.count(), 1);
}

#[tokio::test]
async fn both_evaluations_of_a_held_call_say_the_same() {
    let server = held_until_approved(0);
    let client = client_of(&server);
    let ask = client.ask(AGENT, AnyAction::new(ACTION).unwrap());
    let ask = ask.options(|o| o.request_id("req-1").environment("production"));
    drop(ask.wait(s(600)).protect().await.unwrap());
    let bodies: Vec<_> = (server.requests().iter())
        .filter(|request| request.path() == "/v1-evaluate")
        .map(|request| serde_json::from_str::<Value>(request.text()).unwrap())
        .collect();
    assert_eq!(
        (bodies.len(), &bodies[0]["request_id"]),
        (2, &json!("req-1"))
    );
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_held_call_without_an_approval_is_a_refusal_and_runs_nothing() {
    for (word, code) in [
        ("rejected", "APPROVAL_REJECTED"),
        ("timed_out", "APPROVAL_EXPIRED"),
        ("auto_approved", "NOT_APPROVED"),
        ("granted\n", "NOT_APPROVED"),
    ] {
        let server = Server::start(move |request: &Request| match request.path() {
            "/v1-evaluate" => Reply::json(200, json!({"decision": "hold", "escalation_id": ID})),
            _ => status(word),
        });
        let ran = Ran::new();
        let error = deploy(&client_of(&server), &ran).await.unwrap_err();
        let denied = error.denied().unwrap();
        assert_eq!(
            (denied.code(), denied.escalation_id()),
            (Some(code), Some(ID))
        );
        assert!(denied.reason().contains(ID), "{denied}");
        assert!(!denied.to_string().contains('\n'), "{denied}");
        assert_eq!((ran.count(), server.requests().len()), (0, 2));
    }
}

#[tokio::test]
async fn no_error_of_a_wait_repeats_the_key() {
    let error = json!({"message": format!("{KEY} may not look")});
    let (found, ..) = wait(s(60), [Reply::json(403, error)]).await;
    let error = found.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
}
