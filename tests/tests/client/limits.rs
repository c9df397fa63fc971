//! The rate limit in every response, and the size limits of responses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atlasent::client::{EventFilter, PermitFilter};
use atlasent::error::Code;
use atlasent::wire::{EscalationFilter, RateLimit, VerifyRequest};
use atlasent::{AnyAction, AuthorityExt};
use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use serde_json::{Value, json};

use crate::cases::{ACTION, AGENT};
use crate::genuine;
use crate::support::{LIMIT, LIST_LIMIT, client, question, saying, token};

fn limited(reply: Reply, [limit, remaining, reset]: [&str; 3]) -> Reply {
    [
        ("X-RateLimit-Limit", limit),
        ("x-ratelimit-remaining", remaining),
        ("X-RATELIMIT-RESET", reset),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .fold(reply, |reply, (name, value)| reply.header(name, value))
}

#[tokio::test]
async fn every_answer_states_the_rate_limit() {
    let server = Server::start(|request: &Request| {
        let reset = (1_800_000_000 + request.attempt).to_string();
        limited(genuine::reply(request), ["600", "599", &reset])
    });
    let client = client(server.url()).build().unwrap();
    let filter = EventFilter::default();
    let permit = client
        .gate(AGENT, AnyAction::new(ACTION).unwrap())
        .await
        .unwrap();
    let evaluation = client.evaluate(&question()).await.unwrap();
    for (n, stated) in [
        (1, permit.evaluation.rate_limit),
        (1, permit.verification.rate_limit),
        (2, evaluation.rate_limit),
        (
            1,
            client
                .evaluate_preflight(&question())
                .await
                .unwrap()
                .rate_limit,
        ),
        (
            2,
            client
                .verify(&VerifyRequest::new(token()))
                .await
                .unwrap()
                .rate_limit,
        ),
        (
            1,
            client.revoke_permit(&token(), "").await.unwrap().rate_limit,
        ),
        (1, client.key_self().await.unwrap().rate_limit),
        (1, client.audit_events(&filter).await.unwrap().rate_limit),
        (1, client.audit_export(&filter).await.unwrap().rate_limit),
        (1, client.signing_keys().await.unwrap().rate_limit),
    ] {
        let RateLimit {
            limit,
            remaining,
            reset_at,
            ..
        } = stated.unwrap();
        assert_eq!((limit, remaining), (600, 599));
        assert_eq!(
            reset_at,
            UNIX_EPOCH + Duration::from_secs(1_800_000_000 + n)
        );
    }
}

#[tokio::test]
async fn a_malformed_rate_limit_is_none_and_no_error() {
    let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    let cases: [([&str; 3], Option<SystemTime>); 13] = [
        (["1", "2", "1800000000"], at(1_800_000_000)),
        (["1", "2", "2027-01-15T08:00:00Z"], at(1_800_000_000)),
        (["1", "2", "2027-01-15T09:00:00+01:00"], at(1_800_000_000)),
        (["", "2", "1800000000"], None),
        (["1", "", "1800000000"], None),
        (["1", "2", ""], None),
        (["one", "2", "1800000000"], None),
        (["1", "-2", "1800000000"], None),
        (["1.5", "2", "1800000000"], None),
        (["1", "2", "soon"], None),
        (["1", "2", "-1"], None),
        (["99999999999999999999", "2", "1800000000"], None),
        (["1", "2\u{e9}", "1800000000"], None),
    ];
    for (headers, reset) in cases {
        let (client, _server) = saying([
            limited(Reply::json(200, json!({"permitted": false})), headers),
            limited(Reply::json(429, "{}"), headers),
        ]);
        let evaluation = client.evaluate(&question()).await.unwrap();
        assert_eq!(
            evaluation.rate_limit.map(|limit| limit.reset_at),
            reset,
            "{headers:?}"
        );
        let error = client.evaluate(&question()).await.unwrap_err();
        let stated = error.failure().unwrap().rate_limit();
        assert_eq!(stated.map(|limit| limit.reset_at), reset, "{headers:?}");
    }
    let twice = limited(
        limited(
            Reply::json(200, json!({"permitted": false})),
            ["1", "2", "3"],
        ),
        ["1", "1", "3"],
    );
    let (client, _server) = saying([twice]);
    assert_eq!(client.evaluate(&question()).await.unwrap().rate_limit, None);
}

/// Returns a body with spaces before it, of this many bytes in all.
fn padded(body: &Value, length: usize) -> String {
    let body = body.to_string();
    format!("{}{body}", " ".repeat(length - body.len()))
}

#[tokio::test]
async fn a_body_is_bounded() {
    let padded = |length: usize| padded(&json!({"permitted": false}), length);
    for shape in [
        |reply: Reply| reply,
        |reply: Reply| reply.chunked(50_000),
        |reply: Reply| reply.until_closed(),
    ] {
        let (client, _server) = saying([
            shape(Reply::json(200, padded(LIMIT))),
            shape(Reply::json(200, padded(LIMIT + 1))),
            // The end never comes, and the client does not wait for it.
            shape(Reply::json(200, padded(4 * LIMIT))).fault(Fault::Stall, At::InBody),
        ]);
        assert!(client.evaluate(&question()).await.is_ok());
        for _ in 0..2 {
            let error = client.evaluate(&question()).await.unwrap_err();
            assert_eq!(error.code(), Some(Code::BadResponse), "{error}");
        }
    }
    let far = Reply::json(200, "{}")
        .claims(usize::MAX / 2)
        .fault(Fault::Stall, At::InBody);
    let (client, _server) = saying([far]);
    assert_eq!(
        client.evaluate(&question()).await.unwrap_err().code(),
        Some(Code::BadResponse)
    );
}

#[tokio::test]
async fn a_list_may_be_larger_than_other_answers() {
    let server = Server::start(|request: &Request| {
        let list = match request.path() {
            "/v1-audit/events" => json!({"events": [], "total": 0}),
            "/v1/permits" => json!({"permits": [], "total": 0}),
            "/v1/stops" => json!({"stops": []}),
            "/v1/hitl" => json!({"escalations": [], "total": 0}),
            "/v1/hitl/esc_1/approvals" => json!({"approvals": []}),
            _ => json!({"chain": []}),
        };
        Reply::json(200, padded(&list, 2 * LIMIT))
    });
    let client = client(server.url()).build().unwrap();
    let events = client.audit_events(&EventFilter::default()).await;
    assert!(events.unwrap().events.is_empty());
    let permits = client.list_permits(&PermitFilter::default()).await;
    assert!(permits.unwrap().permits.is_empty());
    assert!(client.stops().await.unwrap().is_empty());
    let escalations = client.escalations(&EscalationFilter::default()).await;
    assert!(escalations.unwrap().escalations.is_empty());
    assert!(client.escalation_votes("esc_1").await.unwrap().is_empty());
    assert!(client.escalation_chain("esc_1").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_list_is_bounded() {
    let list = json!({"stops": []});
    let (client, _server) = saying([
        Reply::json(200, padded(&list, LIST_LIMIT)),
        Reply::json(200, padded(&list, LIST_LIMIT + 1)),
        Reply::json(200, padded(&list, LIST_LIMIT + 1)).until_closed(),
        Reply::json(200, &list)
            .claims(LIST_LIMIT + 1)
            .fault(Fault::Stall, At::InBody),
    ]);
    assert!(client.stops().await.unwrap().is_empty());
    for _ in 0..3 {
        let error = client.stops().await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{error}");
    }
}
