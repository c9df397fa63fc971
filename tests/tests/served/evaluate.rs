//! The answers of `POST /v1-evaluate`: each decision with exactly its fields, shadows, traces, and
//! repeated requests.

use std::collections::HashSet;

use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, KEY, Served, deploy, evaluate_body, keyed, memory, names, stored, token_of, with,
};

#[tokio::test]
async fn an_allow_has_exactly_its_fields() {
    let served = Served::start().await;
    let answer = served.evaluate(&deploy()).await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    assert_eq!(
        names(&json),
        [
            "audit_hash",
            "decision",
            "decision_id",
            "expires_at",
            "permit_id",
            "permit_token",
            "permitted",
            "policy_version",
            "reason",
            "request_id",
            "timestamp"
        ]
    );
    assert_eq!(
        (&json["decision"], &json["permitted"]),
        (&json!("allow"), &json!(true))
    );
    assert_eq!(json["decision_id"], json["permit_token"]);
    assert_eq!(json["request_id"], answer.header("x-request-id").unwrap());
    let time = |name: &str| {
        json[name]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    assert_eq!(
        time("expires_at")
            .duration_since(time("timestamp"))
            .as_secs(),
        3_600
    );
    let last = served.events().await.pop().unwrap();
    assert_eq!(
        (&last["type"], &last["hash"]),
        (&json!("evaluate.allow"), &json["audit_hash"])
    );
}

#[tokio::test]
async fn a_refusal_has_exactly_its_fields_and_no_token() {
    let served = Served::start().await;
    let cases = [
        (
            "drop",
            "deny",
            Some("NEVER"),
            "nobody drops the database",
            None,
        ),
        (
            "release",
            "hold",
            Some("CHANGE_FREEZE"),
            "nothing changes on fridays",
            Some("3600"),
        ),
        (
            "migrate",
            "escalate",
            Some("ASK_A_PERSON"),
            "a person has to decide",
            None,
        ),
        ("unheard-of", "deny", None, "", None),
    ];
    for (action, decision, code, reason, wait) in cases {
        let answer = served.evaluate(&evaluate_body(action)).await;
        assert_eq!(answer.status, 200, "{action}");
        assert_eq!(answer.header("retry-after"), wait, "{action}");
        let json = answer.json();
        let mut expected = vec![
            "audit_hash",
            "decision",
            "decision_id",
            "denial",
            "deny_code",
            "deny_reason",
            "permitted",
            "policy_version",
            "reason",
            "request_id",
            "timestamp",
        ];
        if json.get("deny_code").is_none() {
            assert_eq!(code, None, "{action}");
            expected.retain(|name| *name != "deny_code");
        }
        assert_eq!(names(&json), expected, "{action}");
        assert_eq!(
            (&json["decision"], &json["permitted"]),
            (&json!(decision), &json!(false))
        );
        assert_eq!(json["denial"]["reason"], json["deny_reason"]);
        assert_eq!(json["denial"]["code"], json["deny_code"]);
        assert_eq!(json["reason"], json["deny_reason"]);
        if let Some(code) = code {
            assert_eq!(
                (&json["deny_code"], &json["reason"]),
                (&json!(code), &json!(reason))
            );
        }
        assert!(!answer.text.contains("null"), "{}", answer.text);
        let last = served.events().await.pop().unwrap();
        assert_eq!(last["type"], format!("evaluate.{decision}"));
        assert_eq!(last["hash"], json["audit_hash"]);
    }
}

#[tokio::test]
async fn no_form_of_answer_holds_a_null() {
    let served = Served::start().await;
    let mut answers = Vec::new();
    for action in ["deploy", "drop", "release", "migrate", "unheard-of"] {
        for more in [
            json!({}),
            json!({"shadow": true}),
            json!({"request_id": format!("id-{action}")}),
        ] {
            answers.push(served.evaluate(&with(evaluate_body(action), &more)).await);
        }
    }
    let token = served.token().await;
    for _ in 0..2 {
        answers.push(served.verify(&json!({"permit_token": token})).await);
        answers.push(
            served
                .post("/v1-revoke-permit", &json!({"decision_id": token}))
                .await,
        );
    }
    answers.push(served.get("/v1-api-key-self").await);
    answers.push(served.get("/v1-signing-keys").await);
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.text.contains("null"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_shadow_is_recorded_and_mints_nothing() {
    let served = Served::start().await;
    let json = served
        .evaluate(&with(deploy(), &json!({"shadow": true})))
        .await
        .json();
    assert_eq!(json["decision"], "allow");
    for name in ["permit_token", "decision_id", "expires_at"] {
        assert!(json.get(name).is_none(), "{json}");
    }
    let last = served.events().await.pop().unwrap();
    assert_eq!(
        (&last["type"], &last["payload"]["shadow"]),
        (&json!("evaluate.allow"), &json!(true))
    );
    assert!(last["payload"].get("permit_hash").is_none());
    let metrics = served.get("/metrics").await.text;
    assert!(metrics.contains("atlasent_ledger_entries 0"), "{metrics}");
}

#[tokio::test]
async fn a_trace_names_the_policies_that_were_considered() {
    let served = Served::start().await;
    let target = "/v1-evaluate?include=constraint_trace";
    let answer = served.post(target, &evaluate_body("drop")).await.json();
    let trace = &answer["constraint_trace"];
    assert_eq!(trace["matching_policy_id"], "never");
    let considered = trace["rules_evaluated"].as_array().unwrap();
    let ids: Vec<_> = considered.iter().map(|rule| &rule["policy_id"]).collect();
    assert!(ids.contains(&&json!("never")), "{trace}");

    let answer = served.post(target, &deploy()).await.json();
    assert_eq!(
        answer["constraint_trace"]["matching_policy_id"],
        Value::Null
    );
    let answer = served.evaluate(&deploy()).await.json();
    assert!(answer.get("constraint_trace").is_none());
}

#[tokio::test]
async fn a_request_that_requires_an_approval_waits_for_one() {
    let served = Served::start().await;
    let body = with(deploy(), &json!({"require_approval": true}));
    let json = served.evaluate(&body).await.json();
    assert_eq!(
        (&json["decision"], &json["deny_code"]),
        (&json!("hold"), &json!("APPROVAL_REQUIRED"))
    );
    assert!(json.get("permit_token").is_none());
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_permit_and_the_trail_says_so() {
    let served = Served::start().await;
    let body = with(deploy(), &json!({"request_id": "request-1"}));
    let first = served.evaluate(&body).await;
    let again = served.evaluate(&body).await;
    assert_eq!(first.json(), again.json());
    assert_eq!(first.json()["request_id"], "request-1");
    let events = served.events().await;
    let kinds: Vec<_> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(
        kinds,
        ["policy.loaded", "evaluate.allow", "evaluate.replayed"]
    );
    let (granted, replayed) = (&events[1]["payload"], &events[2]["payload"]);
    assert_eq!(granted["permit_hash"], replayed["permit_hash"]);
    assert_eq!(replayed["request_id"], "request-1");
}

#[tokio::test]
async fn a_refused_request_is_decided_anew_under_the_same_id() {
    let served = Served::start().await;
    for action in ["release", "migrate", "drop", "unheard-of"] {
        let body = with(
            evaluate_body(action),
            &json!({"request_id": format!("id-{action}")}),
        );
        let first = served.evaluate(&body).await.json();
        let again = served.evaluate(&body).await.json();
        assert_eq!(first["decision"], again["decision"]);
        assert_ne!(first["audit_hash"], again["audit_hash"], "{action}");
        // Another body is another request, since no request with this id was allowed.
        let other = with(body.clone(), &json!({"context": {"more": true}}));
        assert_eq!(served.evaluate(&other).await.status, 200, "{action}");
    }
    assert_eq!(served.count("evaluate.replayed").await, 0);
    assert_eq!(served.events().await.len(), 1 + 4 * 3);
}

#[tokio::test]
async fn a_request_id_is_good_for_one_request() {
    let served = Served::start().await;
    let body = with(deploy(), &json!({"request_id": "the-first"}));
    token_of(&served.evaluate(&body).await);
    for other in [
        with(
            body.clone(),
            &json!({"context": {"environment": "staging"}}),
        ),
        with(body.clone(), &json!({"actor_id": "another-bot"})),
        with(body.clone(), &json!({"action_type": "drop"})),
        with(body.clone(), &json!({"shadow": true})),
        with(body.clone(), &json!({"resource_id": "api"})),
        with(body.clone(), &json!({"amount": 1})),
    ] {
        served
            .evaluate(&other)
            .await
            .is_problem(409, "REQUEST_ID_REUSED");
    }
}

#[tokio::test]
async fn the_request_ids_of_another_key_are_other_ids() {
    let another = "ask_test_another";
    let keys = ApiKeys::new([stored(KEY), stored(another)]);
    let served = Served::run(Server::new(memory(), keys, KeyRing::in_memory().unwrap())).await;
    let body = with(deploy(), &json!({"request_id": "the-first"}));
    let theirs = with(
        body.clone(),
        &json!({"context": {"environment": "staging"}}),
    );
    let ask = async |body: &Value| {
        let request = served.bare(Method::POST, "/v1-evaluate");
        let request = request.header("authorization", format!("Bearer {another}"));
        let request = request.header("content-type", "application/json");
        token_of(&Answer::receive(request.body(body.to_string())).await)
    };
    let ours = token_of(&served.evaluate(&body).await);
    let first = ask(&theirs).await;
    assert_ne!(first, ours);
    assert_eq!(ask(&theirs).await, first);
    assert_eq!(token_of(&served.evaluate(&body).await), ours);
}

#[tokio::test]
async fn a_repetition_does_not_bring_a_used_permit_back() {
    let served = Served::start().await;
    let body = with(deploy(), &json!({"request_id": "the-first"}));
    let token = token_of(&served.evaluate(&body).await);
    assert_eq!(
        served.verify(&json!({"permit_token": token})).await.json()["valid"],
        true
    );
    // The request is decided again, and gets a new permit.
    assert_ne!(token_of(&served.evaluate(&body).await), token);
    let again = served.verify(&json!({"permit_token": token})).await.json();
    assert_eq!(
        (&again["valid"], &again["outcome"]),
        (&json!(false), &json!("permit_consumed"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_repeat_one_request_at_once_get_one_permit() {
    let served = Served::start().await;
    let body = with(deploy(), &json!({"request_id": "all-at-once"}));
    let answers = join_all((0..32).map(|_| served.evaluate(&body))).await;
    let tokens: HashSet<_> = answers.iter().map(token_of).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(served.count("evaluate.allow").await, 1);
}

#[tokio::test]
async fn a_request_is_read_with_all_that_newer_clients_send() {
    let served = Served::start().await;
    let more = json!({"resource_id": "api", "amount": 12.5, "environment": "production", "explain": true,
        "state_snapshot": {"source": "x", "complete": true}, "approval": {"by": "y"}, "require_approval": false,
        "resource": {}, "current_state": 1, "proposed_state": "z", "execution_binding": [], "never_heard_of": {"a": null}});
    let answer = served.evaluate(&with(deploy(), &more)).await;
    token_of(&answer);
    let nulls: serde_json::Map<_, _> = more
        .as_object()
        .unwrap()
        .keys()
        .map(|name| (name.clone(), Value::Null))
        .collect();
    token_of(
        &served
            .evaluate(&with(deploy(), &Value::Object(nulls)))
            .await,
    );
    let last = served.events().await;
    assert_eq!(last[1]["resource_id"], "api");
    // An id of the connection, for a client that sends no request id.
    let request = keyed(served.bare(Method::POST, "/v1-evaluate"));
    let request = request
        .header("x-request-id", "abcdef-0123")
        .body(deploy().to_string());
    let answer = Answer::receive(request).await;
    assert_eq!(answer.json()["request_id"], "abcdef-0123");
}
