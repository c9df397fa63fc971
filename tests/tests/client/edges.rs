//! Edge cases: lists of encodings, secrets in responses, truncated messages,
//! proxies, endless pages, refusals that stall.

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use atlasent::client::EventFilter;
use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::{AnyAction, AuthorityExt, blocking};
use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use serde_json::json;

use crate::cases::{ACTION, AGENT, Call, TOKEN};
use crate::genuine;
use crate::support::{KEY, client, ms, question};

#[tokio::test]
async fn an_encoding_is_refused_wherever_it_stands_among_others() {
    let twice = Reply::json(200, Call::Evaluate.yes())
        .header("content-encoding", "identity")
        .header("content-encoding", "gzip");
    let server = Server::start(move |_: &Request| twice.clone());
    let client = client(server.url()).build().unwrap();
    let error = client.evaluate(&question()).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Network));
}

#[tokio::test]
async fn a_refusal_that_repeats_the_key_does_not_have_it_shown() {
    let secret = format!("no {KEY} here");
    for (evaluate, verify) in [
        (
            json!({"decision": "deny", "reason": secret, "deny_code": secret, "request_id": secret, "audit_hash": secret}),
            json!({}),
        ),
        (
            Call::Evaluate.yes(),
            json!({"valid": false, "outcome": secret, "verify_error_code": secret}),
        ),
        (
            json!({"decision": "allow", "permit_token": TOKEN, "reason": secret}),
            json!({"valid": true}),
        ),
    ] {
        let server = Server::start(move |request: &Request| match request.path() {
            "/v1-evaluate" => Reply::json(200, &evaluate),
            _ => Reply::json(200, &verify),
        });
        let client = client(server.url()).build().unwrap();
        let result = client.protect(AGENT, AnyAction::new(ACTION).unwrap()).await;
        let shown = match &result {
            Ok(permit) => format!("{permit:?} {:?}", permit.record()),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(KEY), "{shown}");
    }
}

/// Truncating a message must not leave most of a secret at its end.
#[tokio::test]
async fn a_message_that_is_cut_within_a_secret_shows_nothing_of_it() {
    for secret in [KEY, TOKEN] {
        for shown in 10..secret.len() {
            let text = format!("{}{secret}", "x".repeat(500 - shown));
            let server = Server::start(move |request: &Request| match request.path() {
                "/v1-evaluate" => genuine::reply(request),
                _ => Reply::json(400, json!({"message": text})),
            });
            let client = client(server.url()).build().unwrap();
            let action = AnyAction::new(ACTION).unwrap();
            let error = client.protect(AGENT, action).await.unwrap_err().to_string();
            assert!(!error.contains(&secret[..10]), "{error}");
        }
    }
}

/// The key is sent in plain text to a local host only because it does not leave the machine.
#[test]
fn plain_http_to_this_machine_does_not_go_through_a_proxy() {
    const URL: &str = "ATLASENT_TEST_PROXIED_URL";
    if let Ok(url) = env::var(URL) {
        let client = blocking::Client::from(client(&url).build().unwrap());
        client.evaluate(&question()).unwrap();
        return;
    }
    let (server, proxy) = (genuine::server(), genuine::server());
    let child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "edges::plain_http_to_this_machine_does_not_go_through_a_proxy",
        ])
        .envs([
            (URL, server.url()),
            ("HTTP_PROXY", proxy.url()),
            ("http_proxy", proxy.url()),
            ("ALL_PROXY", proxy.url()),
        ])
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    let heard: Vec<_> = proxy
        .requests()
        .iter()
        .filter_map(|request| request.header("authorization").map(str::to_owned))
        .collect();
    assert!(heard.is_empty(), "the proxy heard {heard:?}");
    assert!(child.status.success(), "{child:?}");
    assert_eq!(server.requests().len(), 1);
}

/// An endless series of new cursors without events: the caller gets neither an event nor an error.
#[tokio::test]
async fn pages_without_events_come_to_an_end() {
    let next = AtomicU64::new(0);
    let server = Server::start(move |_: &Request| {
        let cursor = next.fetch_add(1, Ordering::SeqCst).to_string();
        Reply::json(200, genuine::page(&[], Some(&cursor)))
    });
    let client = client(server.url())
        .timeout(ms(500))
        .deadline(ms(500))
        .build()
        .unwrap();
    let mut events = std::pin::pin!(client.audit_event_stream(EventFilter::default()));
    let first = tokio::time::timeout(ms(3000), events.try_next()).await;
    assert!(
        first.is_ok(),
        "after {} requests there was still no end",
        server.accepted()
    );
}

/// By the table, 401, 403, 429 and other 4xx are reported as they are and not retried, whatever
/// their bodies are.
#[tokio::test]
async fn a_status_counts_even_where_its_body_stalls() {
    let statuses = [
        (401, Code::InvalidApiKey),
        (403, Code::Forbidden),
        (429, Code::RateLimited),
        (400, Code::BadRequest),
        (302, Code::BadResponse),
    ];
    join_all(statuses.map(async |(status, code)| {
        let server = Server::start(move |_: &Request| {
            Reply::json(status, "{\"message\":\"m\"}").fault(Fault::Stall, At::InBody)
        });
        let client = client(server.url())
            .timeout(ms(1000))
            .virtual_time(&VirtualTime::new())
            .build()
            .unwrap();
        let error = client.evaluate(&question()).await.unwrap_err();
        assert_eq!(
            (error.code(), server.requests().len()),
            (Some(code), 1),
            "{status}"
        );
    }))
    .await;
}

/// JSON is UTF-8 (RFC 8259, 8.1), also in parts that the client does not read.
#[tokio::test]
async fn what_is_not_utf8_is_no_json_even_in_a_field_that_nobody_reads() {
    for call in Call::BOTH {
        let server = Server::start(move |request: &Request| {
            let yes = if request.path() == "/v1-evaluate" {
                Call::Evaluate
            } else {
                Call::Verify
            };
            let mut body = yes.yes().to_string().into_bytes();
            if yes == call {
                body.splice(1..1, *b"\"new\":\"\x80\",");
            }
            Reply::bytes(200, "application/json", body)
        });
        let client = client(server.url()).build().unwrap();
        let result = client.protect(AGENT, AnyAction::new(ACTION).unwrap()).await;
        assert_eq!(
            result.map(drop).unwrap_err().code(),
            Some(Code::BadResponse),
            "{call:?}"
        );
    }
}

/// A key that is written with escapes is the same key.
#[tokio::test]
async fn a_key_that_is_repeated_in_escapes_is_not_shown() {
    let spelled = KEY.replace('_', "\\u005f");
    let server = Server::start(move |_: &Request| {
        Reply::json(
            200,
            format!("{{\"decision\":\"deny\",\"reason\":\"no {spelled}\"}}"),
        )
    });
    let client = client(server.url()).build().unwrap();
    let action = AnyAction::new(ACTION).unwrap();
    let error = client.protect(AGENT, action).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY), "{error}");
}
