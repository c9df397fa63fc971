//! Which calls are retried, and when: the contract's table (part A, "Errors"), row by row.

use std::net::TcpListener;
use std::time::Duration;

use atlasent::client::EventFilter;
use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::wire::{PermitToken, VerifyRequest};
use atlasent::{AnyAction, AuthorityExt, Client};
use atlasent_tests::http::plain;
use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::json;

use crate::cases::{ACTION, AGENT, Call, TOKEN};
use crate::genuine;
use crate::support::{always, client, failure, ms, question};

#[tokio::test]
async fn each_status_has_its_code_and_only_a_failing_server_is_asked_again() {
    let said = |status| Reply::json(status, json!({"message": "so it is"}));
    for (status, code, attempts) in [
        (300, Code::BadResponse, 1),
        (301, Code::BadResponse, 1),
        (302, Code::BadResponse, 1),
        (304, Code::BadResponse, 1),
        (307, Code::BadResponse, 1),
        (308, Code::BadResponse, 1),
        (400, Code::BadRequest, 1),
        (401, Code::InvalidApiKey, 1),
        (402, Code::BadRequest, 1),
        (403, Code::Forbidden, 1),
        (404, Code::BadRequest, 1),
        (405, Code::BadRequest, 1),
        (408, Code::BadRequest, 1),
        (409, Code::BadRequest, 1),
        (413, Code::BadRequest, 1),
        (415, Code::BadRequest, 1),
        (422, Code::BadRequest, 1),
        (425, Code::BadRequest, 1),
        (429, Code::RateLimited, 1),
        (499, Code::BadRequest, 1),
        (500, Code::ServerError, 3),
        (501, Code::ServerError, 3),
        (502, Code::ServerError, 3),
        (503, Code::ServerError, 3),
        (504, Code::ServerError, 3),
        (599, Code::ServerError, 3),
    ] {
        let (error, requests, _) = always(said(status)).await;
        let failure = failure(&error);
        assert_eq!(
            (failure.code(), failure.status()),
            (code, Some(status)),
            "{status}"
        );
        assert_eq!(requests.len(), attempts, "{status}");
        assert_eq!(
            failure.request_id(),
            requests[0].header("x-request-id"),
            "{status}"
        );
        // A 304 has no body.
        assert_eq!(
            failure.message() == "so it is",
            status != 304,
            "{status}: {}",
            failure.message()
        );
    }
}

#[tokio::test]
async fn every_call_is_tried_again_in_the_same_way() {
    let server = Server::start(|_: &Request| Reply::status(500));
    let client = client(server.url())
        .virtual_time(&VirtualTime::new())
        .build()
        .unwrap();
    let token = PermitToken::new(TOKEN).unwrap();
    let filter = EventFilter::default();
    let stream = || async {
        client
            .evaluate_stream(&question())
            .try_collect::<Vec<_>>()
            .await
            .map(drop)
    };
    let pages = || async {
        client
            .audit_event_stream(EventFilter::default())
            .try_collect::<Vec<_>>()
            .await
            .map(drop)
    };
    let errors = [
        client.evaluate(&question()).await.map(drop),
        client.evaluate_preflight(&question()).await.map(drop),
        client
            .verify(&VerifyRequest::new(token.clone()))
            .await
            .map(drop),
        client.revoke_permit(&token, "").await.map(drop),
        client.key_self().await.map(drop),
        client.audit_events(&filter).await.map(drop),
        pages().await,
        client.audit_export(&filter).await.map(drop),
        client.signing_keys().await.map(drop),
        stream().await,
    ];
    for (n, result) in errors.iter().enumerate() {
        let error = result.as_ref().unwrap_err();
        assert_eq!(error.code(), Some(Code::ServerError), "{n}");
    }
    assert_eq!(server.requests().len(), 3 * errors.len());
}

#[tokio::test]
async fn a_timeout_is_tried_again() {
    join_all(
        [At::Start, At::InHead, At::Body, At::InBody].map(async |at| {
            let reply = Reply::json(200, Call::Evaluate.yes()).fault(Fault::Stall, at);
            let server = Server::start(move |_: &Request| reply.clone());
            let time = VirtualTime::new();
            let client = client(server.url())
                .timeout(ms(1000))
                .virtual_time(&time)
                .build()
                .unwrap();
            let error = client.evaluate(&question()).await.unwrap_err();
            assert_eq!(
                (error.code(), failure(&error).status()),
                (Some(Code::Timeout), None),
                "{at:?}"
            );
            let requests = server.requests();
            assert_eq!((requests.len(), time.waits().len()), (3, 2), "{at:?}");
            assert_eq!(
                failure(&error).request_id(),
                requests[0].header("x-request-id")
            );
        }),
    )
    .await;
}

#[tokio::test]
async fn a_stall_and_then_a_good_answer_is_a_good_answer() {
    join_all(Call::BOTH.map(async |call| {
        let server = Server::start(move |request: &Request| {
            let reply = genuine::reply(request);
            match request.path() == call.path() && request.attempt < 3 {
                true => reply.fault(Fault::Stall, At::InBody),
                false => reply,
            }
        });
        let client = client(server.url())
            .timeout(ms(2000))
            .virtual_time(&VirtualTime::new())
            .build()
            .unwrap();
        drop(
            client
                .protect(AGENT, AnyAction::new(ACTION).unwrap())
                .await
                .unwrap(),
        );
        assert_eq!(server.requests().len(), 4, "{call:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_is_tried_again() {
    // A port that was free a moment ago, without a listener.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for url in [
        format!("http://127.0.0.1:{port}"),
        "https://name.invalid".to_owned(),
    ] {
        let time = VirtualTime::new();
        let client = client(&url)
            .http_client(plain())
            .virtual_time(&time)
            .build()
            .unwrap();
        let error = client.evaluate(&question()).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Network), "{error}");
        assert_eq!(time.waits().len(), 2, "{error}");
        assert_eq!(failure(&error).status(), None);
        assert!(failure(&error).request_id().is_some());
    }
}

#[tokio::test]
async fn a_connection_that_broke_may_have_been_heard_and_is_not_tried_again() {
    for fault in [Fault::Reset, Fault::Close] {
        for at in [At::Start, At::InHead, At::Body, At::InBody] {
            let (error, requests, time) =
                always(Reply::json(200, Call::Evaluate.yes()).fault(fault, at)).await;
            assert_eq!(error.code(), Some(Code::Network), "{fault:?} {at:?}");
            assert_eq!(
                (requests.len(), time.waits().len()),
                (1, 0),
                "{fault:?} {at:?}"
            );
            assert_eq!(
                failure(&error).request_id(),
                requests[0].header("x-request-id")
            );
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_tried_again() {
    let zipped =
        Reply::bytes(200, "application/json", *b"\x1f\x8b\x08").header("content-encoding", "gzip");
    for (reply, code) in [
        (Reply::json(200, "{"), Code::BadResponse),
        (Reply::json(200, "<html>"), Code::BadResponse),
        (Reply::json(200, "{}"), Code::BadResponse),
        (Reply::status(204), Code::BadResponse),
        (zipped, Code::Network),
        (Reply::raw("nonsense\r\n\r\n"), Code::Network),
        (
            Reply::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n"),
            Code::Network,
        ),
    ] {
        let (error, requests, _) = always(reply.clone()).await;
        assert_eq!(error.code(), Some(code), "{reply:?}");
        assert_eq!(requests.len(), 1, "{reply:?}");
        assert_eq!(
            failure(&error).request_id(),
            requests[0].header("x-request-id")
        );
    }
}

/// Returns a client of a server that always fails, and the waits between its attempts.
async fn waits(
    set: impl FnOnce(atlasent::client::ClientBuilder) -> atlasent::client::ClientBuilder,
    reply: Reply,
) -> (Vec<Duration>, usize) {
    let server = Server::start(move |_: &Request| reply.clone());
    let time = VirtualTime::new();
    let client = set(client(server.url()).virtual_time(&time))
        .build()
        .unwrap();
    let error = client.evaluate(&question()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::ServerError));
    (time.waits(), server.requests().len())
}

#[tokio::test]
async fn waits_double_up_to_a_cap() {
    let by_default = waits(|builder| builder, Reply::status(500)).await;
    assert_eq!(by_default, (vec![ms(500), ms(1000)], 3));
    let many = waits(
        |builder| builder.max_retries(8).retry_backoff(ms(300)),
        Reply::status(500),
    )
    .await;
    let expected = [300, 600, 1200, 2400, 4800, 9600, 16_000, 16_000].map(ms);
    assert_eq!(many, (expected.to_vec(), 9));
    let none = waits(|builder| builder.max_retries(0), Reply::status(500)).await;
    assert_eq!(none, (vec![], 1));
    let at_once = waits(
        |builder| builder.retry_backoff(Duration::ZERO),
        Reply::status(500),
    )
    .await;
    assert_eq!(at_once, (vec![Duration::ZERO; 2], 3));
}

#[tokio::test]
async fn the_server_may_ask_for_a_longer_wait() {
    let later = |value: &str| Reply::status(503).header("retry-after", value);
    let all = |wait| (vec![wait, wait], 3);
    assert_eq!(waits(|builder| builder, later("7")).await, all(ms(7000)));
    assert_eq!(
        waits(|builder| builder, later("0")).await,
        (vec![ms(500), ms(1000)], 3)
    );
    assert_eq!(
        waits(|builder| builder, later("nonsense")).await,
        (vec![ms(500), ms(1000)], 3)
    );
    // The client does not retry before `Retry-After`. If the deadline is earlier, it does not retry
    // at all.
    assert_eq!(
        waits(
            |builder| builder.timeout(ms(20_000)).deadline(ms(20_000)),
            later("30")
        )
        .await,
        (vec![], 1)
    );
    assert_eq!(
        waits(
            |builder| builder.timeout(ms(20_000)).deadline(ms(20_000)),
            later("12")
        )
        .await,
        (vec![ms(12_000)], 2)
    );
}

#[tokio::test]
async fn the_deadline_is_for_all_attempts_together() {
    let cut = waits(
        |builder| builder.max_retries(10).timeout(ms(5000)).deadline(ms(5000)),
        Reply::status(500),
    )
    .await;
    // 500 + 1000 + 2000 ms fit; 4000 ms more do not.
    assert_eq!(cut, (vec![ms(500), ms(1000), ms(2000)], 4));
}

#[tokio::test]
async fn an_attempt_does_not_outlive_the_deadline() {
    let server = Server::start(|_: &Request| Reply::status(200).fault(Fault::Stall, At::Start));
    let client = client(server.url())
        .timeout(ms(100))
        .deadline(ms(100))
        .build()
        .unwrap();
    let start = std::time::Instant::now();
    let error = client.evaluate(&question()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Timeout));
    assert!(start.elapsed() < ms(30_000));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn each_call_has_a_deadline_of_its_own() {
    let server = Server::start(|request: &Request| match request.attempt {
        1 => Reply::status(503).header("retry-after", "8"),
        _ => genuine::reply(request),
    });
    let time = VirtualTime::new();
    let client = client(server.url())
        .timeout(ms(10_000))
        .deadline(ms(10_000))
        .virtual_time(&time)
        .build()
        .unwrap();
    drop(
        client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap(),
    );
    assert_eq!(time.waits(), [ms(8000), ms(8000)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// With any limits, a call ends within them and makes no more attempts than they allow.
    #[test]
    fn no_limits_are_overstepped(
        retries in 0_u32..6, backoff in 0_u64..5000, deadline in 1_u64..20_000, after in prop::option::of(0_u64..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reply = match after {
            Some(after) => Reply::status(503).header("retry-after", after.to_string()),
            None => Reply::status(503),
        };
        let server = Server::start(move |_: &Request| reply.clone());
        let time = VirtualTime::new();
        let client: Client = client(server.url())
            .max_retries(retries)
            .retry_backoff(ms(backoff))
            .timeout(ms(deadline))
            .deadline(ms(deadline))
            .virtual_time(&time)
            .build()
            .unwrap();
        let error = runtime.block_on(client.evaluate(&question())).unwrap_err();
        let waits = time.waits();
        // A deadline of a few milliseconds may pass before the first response.
        prop_assert!(matches!(error.code(), Some(Code::ServerError | Code::Timeout)), "{}", error);
        prop_assert!(waits.len() <= retries as usize);
        prop_assert!(server.requests().len() <= waits.len() + 1);
        prop_assert!(waits.iter().sum::<Duration>() < ms(deadline));
        prop_assert!(waits.iter().all(|wait| *wait >= ms(after.unwrap_or(0) * 1000)));
        runtime.shutdown_background();
    }
}
