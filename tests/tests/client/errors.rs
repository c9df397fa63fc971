//! The content of errors, by the contract's table (part A, "Errors").

use std::time::{Duration, SystemTime};

use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::wire::PermitToken;
use atlasent::{AnyAction, AuthorityExt, Error};
use atlasent_tests::server::{At, Fault, Reply, Request, Server, in_order};
use serde_json::json;

use crate::cases::{ACTION, AGENT, Call, TOKEN};
use crate::genuine;
use crate::support::{KEY, always, client, failure, ms};

#[tokio::test]
async fn a_retry_after_is_reported_in_either_form() {
    let now = SystemTime::now();
    let date = |at| httpdate::fmt_http_date(at);
    for (value, expected) in [
        ("7".to_owned(), Some(7)),
        ("0".to_owned(), Some(0)),
        (" 90 ".to_owned(), Some(90)),
        (date(now + Duration::from_secs(3600)), Some(3600)),
        (date(now - Duration::from_secs(3600)), Some(0)),
        ("-5".to_owned(), None),
        ("soon".to_owned(), None),
        (String::new(), None),
        ("2026-01-01T00:00:00Z".to_owned(), None),
    ] {
        let (error, requests, _) = always(Reply::status(429).header("retry-after", &value)).await;
        let failure = failure(&error);
        assert_eq!(
            (failure.code(), requests.len()),
            (Code::RateLimited, 1),
            "{value}"
        );
        // A date has whole seconds, and the clock advances.
        let close = |wait: Duration, secs: u64| {
            wait <= Duration::from_secs(secs) && wait + ms(60_000) >= Duration::from_secs(secs)
        };
        let agrees = match (failure.retry_after(), expected) {
            (Some(wait), Some(secs)) => close(wait, secs),
            (wait, expected) => wait.is_none() && expected.is_none(),
        };
        assert!(agrees, "{value}: {:?}", failure.retry_after());
    }
    let (error, ..) = always(Reply::status(429)).await;
    assert_eq!(failure(&error).retry_after(), None);
}

async fn message(reply: Reply) -> String {
    let (error, ..) = always(reply).await;
    failure(&error).message().to_owned()
}

#[tokio::test]
async fn the_message_is_the_servers_own() {
    for status in [400, 401, 403, 404, 429, 500, 302] {
        for (body, expected) in [
            (json!({"message": "m", "error": "e", "reason": "r"}), "m"),
            (json!({"error": "e", "reason": "r", "code": "C"}), "e"),
            (json!({"reason": "r"}), "r"),
            (
                json!({"message": null, "error": {"x": 1}, "reason": "r"}),
                "r",
            ),
            (json!({"code": "C"}), r#"{"code":"C"}"#),
        ] {
            assert_eq!(
                message(Reply::json(status, &body)).await,
                expected,
                "{status} {body}"
            );
        }
        let long = json!({"message": "é".repeat(2000)});
        assert_eq!(message(Reply::json(status, long)).await, "é".repeat(500));
        assert!(!message(Reply::status(status)).await.is_empty());
    }
}

/// Secrets are found in JSON only, so other bodies are not repeated. Stricter than the contract.
#[tokio::test]
async fn a_body_that_is_not_json_is_described_and_not_repeated() {
    for status in [400, 401, 403, 404, 429, 500, 302] {
        let html = Reply::bytes(status, "text/html; charset=utf-8", "<h1>gone</h1>");
        let html = message(html).await;
        assert!(html.contains("13 bytes of `text/html`"), "{html}");
        assert!(!html.contains("gone") && html.contains(&status.to_string()));
        let odd = Reply::bytes(status, "no type", b"\xff\x00\x1b[31m".to_vec());
        let odd = message(odd).await;
        assert!(odd.ends_with("not JSON: 7 bytes"), "{odd}");
        let huge = Reply::bytes(status, "text/plain", vec![b'x'; 3 * 1024 * 1024]);
        assert!(!message(huge).await.contains('x'), "{status}");
    }
}

#[tokio::test]
async fn a_status_counts_even_where_its_body_does_not_come() {
    for (status, code, attempts) in [
        (401, Code::InvalidApiKey, 1),
        (429, Code::RateLimited, 1),
        (503, Code::ServerError, 3),
    ] {
        for fault in [Fault::Reset, Fault::Close] {
            for at in [At::Body, At::InBody] {
                let (error, requests, _) =
                    always(Reply::json(status, json!({"message": "m"})).fault(fault, at)).await;
                assert_eq!(
                    (error.code(), requests.len()),
                    (Some(code), attempts),
                    "{status} {fault:?} {at:?}"
                );
            }
        }
    }
}

/// Returns every text form of an error.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        shown += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    shown
}

#[tokio::test]
async fn a_server_that_repeats_secrets_does_not_have_them_shown() {
    let secrets = format!("no {KEY} and {TOKEN}");
    let bodies = [
        json!({"message": secrets}).to_string(),
        json!({"error": secrets}).to_string(),
        secrets.clone(),
        json!({"valid": secrets}).to_string(),
        json!({"decision": secrets}).to_string(),
        json!({"revoked": secrets, "decision_id": [TOKEN]}).to_string(),
        format!("{}{secrets}", "x".repeat(480)),
        format!("{}{secrets}", "x".repeat(470)),
    ];
    for status in [200, 302, 400, 401, 403, 429, 500] {
        for body in bodies.clone() {
            let verify = Reply::json(status, &body);
            let server = Server::start(move |request: &Request| match request.path() {
                "/v1-evaluate" => genuine::reply(request),
                _ => verify.clone(),
            });
            let client = client(server.url())
                .virtual_time(&VirtualTime::new())
                .build()
                .unwrap();
            let token = PermitToken::new(TOKEN).unwrap();
            let errors = [
                client
                    .protect(AGENT, AnyAction::new(ACTION).unwrap())
                    .await
                    .map(drop),
                client.revoke_permit(&token, "r").await.map(drop),
                client.key_self().await.map(drop),
            ];
            for (n, result) in errors.iter().enumerate() {
                let shown = shown(result.as_ref().unwrap_err());
                assert!(
                    !shown.contains("0123456789"),
                    "{n} {status} {body}: {shown}"
                );
                // Only a call that sent the token knows that it must hide it.
                assert!(
                    n == 2 || !shown.contains("2f9d4c8b7a6e5f10"),
                    "{n} {status} {body}: {shown}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_permit_that_an_earlier_attempt_may_have_used_up_says_so() {
    let used = json!({"valid": false, "outcome": "permit_consumed", "verify_error_code": "PERMIT_ALREADY_USED"});
    let expired = json!({"valid": false, "outcome": "permit_expired"});
    for (first, second, said) in [
        (Some(Reply::status(502)), &used, true),
        (None, &used, false),
        (Some(Reply::status(502)), &expired, false),
    ] {
        let yes = Reply::json(200, Call::Evaluate.yes());
        // An evaluation that is retried consumes nothing.
        let replies = [Reply::status(500), yes]
            .into_iter()
            .chain(first)
            .chain([Reply::json(200, second)]);
        let server = Server::start(in_order(replies.collect::<Vec<_>>()));
        let client = client(server.url())
            .virtual_time(&VirtualTime::new())
            .build()
            .unwrap();
        let error = client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap_err();
        let denied = error.denied().unwrap();
        assert_eq!(denied.is_consumed(), second == &used);
        assert_eq!(
            denied.reason().contains("an earlier attempt"),
            said,
            "{denied}"
        );
        assert_eq!(
            denied.reason().contains("may have consumed it"),
            said,
            "{denied}"
        );
    }
}
