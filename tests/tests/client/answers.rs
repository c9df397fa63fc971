//! The client's result for each answer of each call, and which answers are invalid.

use atlasent::client::EventFilter;
use atlasent::error::{Code, PermitOutcome};
use atlasent::testing::VirtualTime;
use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Agent, AnyAction, AuthorityExt, Client, Decision, Error};
use atlasent_tests::server::{Reply, Request, Server};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::cases::{ACTION, AGENT, TOKEN};
use crate::genuine;
use crate::support::{client, question, saying, token};

fn saying_json(body: &Value) -> (Client, Server) {
    saying([Reply::json(200, body)])
}

/// Returns the error code of each call for these answers, or `None` for a success.
async fn codes_of_all_calls(reply: &Reply) -> Vec<(&'static str, Option<Code>)> {
    let reply = reply.clone();
    let server = Server::start(move |_: &Request| reply.clone());
    let client = client(server.url())
        .virtual_time(&VirtualTime::new())
        .build()
        .unwrap();
    let filter = EventFilter::default();
    let pages = client
        .audit_event_stream(filter.clone())
        .try_collect::<Vec<_>>();
    let events = client.evaluate_stream(&question()).try_collect::<Vec<_>>();
    let code = |result: Result<(), Error>| match result {
        Ok(()) => None,
        Err(error) => Some(error.code().unwrap_or_else(|| panic!("{error:?}"))),
    };
    vec![
        (
            "evaluate",
            code(client.evaluate(&question()).await.map(drop)),
        ),
        (
            "preflight",
            code(client.evaluate_preflight(&question()).await.map(drop)),
        ),
        (
            "verify",
            code(client.verify(&VerifyRequest::new(token())).await.map(drop)),
        ),
        (
            "revoke",
            code(client.revoke_permit(&token(), "").await.map(drop)),
        ),
        ("key", code(client.key_self().await.map(drop))),
        ("events", code(client.audit_events(&filter).await.map(drop))),
        ("pages", code(pages.await.map(drop))),
        ("export", code(client.audit_export(&filter).await.map(drop))),
        ("keys", code(client.signing_keys().await.map(drop))),
        ("stream", code(events.await.map(drop))),
    ]
}

#[tokio::test]
async fn what_is_no_object_is_an_answer_to_no_call() {
    let big = format!("{{\"x\":\"{}\"}}", "y".repeat(1024 * 1024));
    for body in [
        "",
        " ",
        "null",
        "true",
        "1",
        "\"x\"",
        "[]",
        "[{}]",
        "{",
        "{}",
        "{}{}",
        "x",
        "<html>",
        "\u{feff}{}",
        &big,
    ] {
        let codes = codes_of_all_calls(&Reply::json(200, body)).await;
        for (call, code) in codes {
            // Lists and exports may be larger than other answers, but these are unreadable as well.
            assert_eq!(
                code,
                Some(Code::BadResponse),
                "{call}: {}",
                &body[..body.len().min(40)]
            );
        }
    }
    for (call, code) in codes_of_all_calls(&Reply::status(204)).await {
        assert_eq!(code, Some(Code::BadResponse), "{call}");
    }
}

#[tokio::test]
async fn an_evaluation_is_read_in_full() {
    let (client, _server) = saying_json(&json!({
        "decision": "allow", "permitted": true, "permit_token": TOKEN, "decision_id": "d", "reason": "r",
        "request_id": "q", "expires_at": "e", "audit_entry_hash": "a", "timestamp": "t", "risk_score": 0.25, "new": {}
    }));
    let evaluation = client.evaluate(&question()).await.unwrap();
    assert_eq!(
        (evaluation.decision, evaluation.permit_token),
        (Decision::Allow, Some(token()))
    );
    let texts = [
        evaluation.reason,
        evaluation.request_id,
        evaluation.expires_at,
        evaluation.audit_hash,
        evaluation.timestamp,
    ];
    assert_eq!(texts.map(Option::unwrap), ["r", "q", "e", "a", "t"]);
    assert_eq!(evaluation.risk_score, Some(0.25));
    assert_eq!(evaluation.constraint_trace, None);
}

#[tokio::test]
async fn hold_and_escalate_stay_what_they_are() {
    for (word, decision) in [
        ("deny", Decision::Deny),
        ("hold", Decision::Hold),
        ("escalate", Decision::Escalate),
    ] {
        let refusal = json!({"decision": word, "denial": {"reason": "r", "code": "C"}, "request_id": "q", "audit_hash": "a"});
        let (client, _server) = saying([
            Reply::json(200, &refusal),
            Reply::json(200, &refusal),
            Reply::json(200, &refusal),
        ]);
        let evaluation = client.evaluate(&question()).await.unwrap();
        assert_eq!(
            (evaluation.decision, evaluation.code.as_deref()),
            (decision, Some("C"))
        );
        let error = client
            .protect(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap_err();
        let denied = error.denied().unwrap();
        assert_eq!(
            (denied.decision(), denied.reason(), denied.code()),
            (decision, "r", Some("C"))
        );
        assert_eq!(
            (denied.evaluation_id(), denied.audit_hash()),
            (Some("q"), Some("a"))
        );
        let authorization = client
            .authorize(AGENT, AnyAction::new(ACTION).unwrap())
            .await
            .unwrap();
        assert_eq!(authorization.denied().unwrap().decision(), decision);
    }
}

#[tokio::test]
async fn a_preflight_tells_its_trace_and_a_refusal_is_no_error() {
    let trace = json!({"rules_evaluated": [{"policy_id": "p", "decision": "hold", "fingerprint": "f", "risk_score": 1.5,
        "stages": [{"stage": "s", "rule": "r", "matched": true, "detail": "d", "order": 0}]}], "matching_policy_id": "p"});
    for (decision, expected) in [
        ("hold", Decision::Hold),
        ("deny", Decision::Deny),
        ("escalate", Decision::Escalate),
    ] {
        let (client, _server) =
            saying_json(&json!({"decision": decision, "reason": "r", "constraint_trace": trace}));
        // A context that names secrets takes no number and no decision out of the answer.
        let action = AnyAction::new(ACTION).unwrap();
        let action = action.with_field("tokens", &0).unwrap();
        let action = action.with_field("key", decision).unwrap();
        let question = EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action).unwrap();
        let evaluation = client.evaluate_preflight(&question).await.unwrap();
        assert_eq!(evaluation.decision, expected);
        let read = evaluation.constraint_trace.unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), trace);
        assert_eq!(read.matching_policy_id.as_deref(), Some("p"));
    }
}

#[tokio::test]
async fn a_permit_carries_what_the_two_answers_said() {
    let (client, _server) = saying([
        Reply::json(
            200,
            json!({"decision": "allow", "permit_token": TOKEN, "reason": "r", "audit_hash": "a", "expires_at": "e"}),
        ),
        Reply::json(
            200,
            json!({"valid": true, "permit_hash": "h", "timestamp": "t"}),
        ),
    ]);
    let permit = client
        .protect(AGENT, AnyAction::new(ACTION).unwrap())
        .await
        .unwrap();
    assert_eq!(
        (permit.reason(), permit.audit_hash(), permit.expires_at()),
        (Some("r"), Some("a"), Some("e"))
    );
    assert_eq!((permit.hash(), permit.timestamp()), (Some("h"), Some("t")));
    assert_eq!(permit.id(), TOKEN);
}

#[tokio::test]
async fn a_verification_says_what_is_wrong() {
    for (word, code, outcome) in [
        (
            "permit_consumed",
            "PERMIT_ALREADY_USED",
            PermitOutcome::Consumed,
        ),
        ("permit_expired", "PERMIT_EXPIRED", PermitOutcome::Expired),
        ("permit_revoked", "PERMIT_REVOKED", PermitOutcome::Revoked),
        (
            "permit_not_found",
            "PERMIT_NOT_FOUND",
            PermitOutcome::NotFound,
        ),
    ] {
        for body in [
            json!({"valid": false, "outcome": word}),
            json!({"verified": false, "outcome": "deny", "verify_error_code": code}),
        ] {
            let (client, _server) = saying([
                Reply::json(200, json!({"decision": "allow", "permit_token": TOKEN})),
                Reply::json(200, &body),
            ]);
            let error = client
                .protect(AGENT, AnyAction::new(ACTION).unwrap())
                .await
                .unwrap_err();
            let denied = error.denied().unwrap();
            assert_eq!(denied.permit_outcome(), Some(outcome), "{body}");
            assert!(
                denied.reason().starts_with("Permit failed verification ("),
                "{denied}"
            );
        }
    }
    let (client, _server) = saying_json(
        &json!({"valid": false, "outcome": "permit_eaten", "approval": {"by": "x"}, "consumed": false}),
    );
    let verification = client.verify(&VerifyRequest::new(token())).await.unwrap();
    assert_eq!(
        (verification.valid, verification.permit_outcome()),
        (false, None)
    );
    assert_eq!(
        (verification.approval, verification.consumed),
        (Some(json!({"by": "x"})), Some(false))
    );
}

#[tokio::test]
async fn a_revocation_a_key_and_signing_keys_are_read_in_full() {
    let (client, _server) = saying([
        Reply::json(
            200,
            json!({"revoked": false, "decision_id": TOKEN, "revoked_at": "t", "audit_hash": "h"}),
        ),
        Reply::json(200, genuine::key()),
        Reply::json(
            200,
            json!({"key_id": "k", "org_id": "o", "environment": "live", "scopes": null, "allowed_cidrs": ["::1/128"],
            "rate_limit_per_minute": 1, "expires_at": "e"}),
        ),
        Reply::json(
            200,
            json!({"keys": [{"key_id": "k", "algorithm": "Ed25519", "public_key_pem": "p", "status": "active",
            "created_at": "c", "new": 1}]}),
        ),
    ]);
    let revocation = client.revoke_permit(&token(), "r").await.unwrap();
    assert_eq!(
        (
            revocation.revoked,
            revocation.revoked_at.as_deref(),
            revocation.audit_hash.as_deref()
        ),
        (false, Some("t"), Some("h"))
    );
    let key = client.key_self().await.unwrap();
    assert_eq!(
        (&*key.key_id, &*key.organization_id, &*key.environment),
        ("k", "o", "test")
    );
    assert_eq!(
        (key.scopes, key.rate_limit_per_minute),
        (vec!["evaluate".to_owned()], 600)
    );
    assert_eq!(
        (key.client_ip.as_deref(), key.allowed_cidrs, key.expires_at),
        (Some("127.0.0.1"), None, None)
    );
    let key = client.key_self().await.unwrap();
    assert_eq!(
        (&*key.organization_id, key.expires_at.as_deref()),
        ("o", Some("e"))
    );
    assert_eq!(key.allowed_cidrs, Some(vec!["::1/128".to_owned()]));
    let keys = client.signing_keys().await.unwrap().keys;
    assert_eq!(
        (
            &*keys[0].key_id,
            &*keys[0].public_key_pem,
            keys[0].status.as_deref()
        ),
        ("k", "p", Some("active"))
    );
}

#[tokio::test]
async fn what_an_answer_cannot_do_without_is_asked_for() {
    for (path, bodies) in [
        (
            "revoke",
            vec![
                json!({"revoked": true}),
                json!({"decision_id": "p"}),
                json!({"revoked": 1, "decision_id": "p"}),
                json!({"revoked": true, "decision_id": 1}),
            ],
        ),
        (
            "key",
            vec![
                json!({"key_id": "k"}),
                json!({"key_id": 7, "org_id": "o", "environment": "e", "rate_limit_per_minute": 1}),
            ],
        ),
        (
            "events",
            vec![
                json!({"events": []}),
                json!({"events": {}, "total": 1}),
                json!({"events": [{}], "total": 1}),
                json!({"events": [], "total": "1"}),
                json!({"events": [], "total": -1}),
                json!({"events": [], "total": 1, "next_cursor": 5}),
            ],
        ),
        (
            "export",
            vec![
                json!({"export_id": "x", "chain_head_hash": "h"}),
                json!({"export_id": "x", "events": []}),
                json!({"chain_head_hash": "h", "events": []}),
                json!({"export_id": "x", "chain_head_hash": "h", "events": {}}),
            ],
        ),
        (
            "keys",
            vec![
                json!({"keys": {}}),
                json!({"keys": [{}]}),
                json!({"keys": null}),
            ],
        ),
    ] {
        for body in bodies {
            let codes = codes_of_all_calls(&Reply::json(200, &body)).await;
            let (_, code) = codes.iter().find(|(call, _)| *call == path).unwrap();
            assert_eq!(*code, Some(Code::BadResponse), "{path}: {body}");
        }
    }
}
