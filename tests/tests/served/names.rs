//! Agent and action of a request: the field names of all versions, and their limits.

use serde_json::{Value, json};

use crate::support::{AGENT, KEY, Served, deploy, token_of, with};

#[tokio::test]
async fn the_first_clients_are_understood() {
    let served = Served::start().await;
    let body = json!({"action": "deploy", "agent": AGENT, "context": {}, "api_key": KEY});
    let token = token_of(&served.evaluate(&body).await);
    let question = json!({"decision_id": "ignored", "permit_token": token, "action": "deploy", "agent": AGENT, "api_key": KEY});
    assert_eq!(served.verify(&question).await.json()["valid"], true);
    // Version 1.4.1 of the Python SDK and the Go SDK send the token under one name.
    let token = token_of(&served.evaluate(&body).await);
    let question = json!({"decision_id": token, "action": "deploy", "agent": AGENT, "context": {}, "api_key": KEY});
    let verified = served.verify(&question).await.json();
    assert_eq!(
        (&verified["verified"], &verified["outcome"]),
        (&json!(true), &json!("allow"))
    );
    let event = served.events().await.remove(1);
    assert_eq!(event["actor_id"], AGENT);
    assert_eq!(event["payload"]["action_type"], "deploy");
}

#[tokio::test]
async fn two_names_for_one_thing_must_agree() {
    let served = Served::start().await;
    token_of(
        &served
            .evaluate(&with(
                deploy(),
                &json!({"action": "deploy", "agent": AGENT}),
            ))
            .await,
    );
    for other in [json!({"action": "drop"}), json!({"agent": "another"})] {
        served
            .evaluate(&with(deploy(), &other))
            .await
            .is_problem(422, "INVALID_FIELD");
        let token = served.token().await;
        let question = json!({"permit_token": token, "action_type": "deploy", "actor_id": AGENT});
        served
            .verify(&with(question, &other))
            .await
            .is_problem(422, "INVALID_FIELD");
        // The request was no verification, so the permit is still valid.
        assert_eq!(
            served.verify(&json!({"permit_token": token})).await.json()["valid"],
            true
        );
    }
    let both = json!({"decision_id": "a", "permit_token": "b"});
    served
        .post("/v1-revoke-permit", &both)
        .await
        .is_problem(422, "INVALID_FIELD");
}

#[tokio::test]
async fn an_empty_name_beside_the_other_one_counts_as_missing() {
    let served = Served::start().await;
    let asked = json!({"action_type": "", "action": "deploy", "actor_id": AGENT, "agent": ""});
    let token = token_of(&served.evaluate(&asked).await);
    let question = json!({"permit_token": token, "action_type": "", "action": "deploy",
        "actor_id": AGENT, "agent": ""});
    assert_eq!(served.verify(&question).await.json()["valid"], true);
    // The name that is not empty still counts.
    let question = json!({"permit_token": served.token().await, "action_type": "", "action": "x"});
    let verified = served.verify(&question).await.json();
    assert_eq!(verified["verify_error_code"], "ACTION_TYPE_MISMATCH");

    let question = json!({"permit_token": "", "decision_id": served.token().await});
    assert_eq!(served.verify(&question).await.json()["valid"], true);
    for (name, empty) in [
        ("decision_id", "permit_token"),
        ("permit_token", "decision_id"),
    ] {
        let body = json!({name: served.token().await, empty: ""});
        let revoked = served.post("/v1-revoke-permit", &body).await.json();
        assert_eq!(revoked["revoked"], true, "{revoked}");
    }
    let nothing = json!({"permit_token": "", "decision_id": ""});
    let verified = served.verify(&nothing).await.json();
    assert_eq!(verified["verify_error_code"], "MISSING_PERMIT");
}

#[tokio::test]
async fn requests_with_an_empty_request_id_are_not_repetitions() {
    let served = Served::start().await;
    let one = with(deploy(), &json!({"request_id": ""}));
    let other = with(one.clone(), &json!({"context": {"commit": "4f2a"}}));
    let first = token_of(&served.evaluate(&one).await);
    assert_ne!(token_of(&served.evaluate(&one).await), first);
    let answer = served.evaluate(&other).await;
    assert_eq!(
        answer.json()["request_id"],
        answer.header("x-request-id").unwrap()
    );
}

#[tokio::test]
async fn a_name_has_1_to_256_characters() {
    let served = Served::start().await;
    for name in ["action_type", "actor_id"] {
        for long in ["x".repeat(256), "ü".repeat(256)] {
            let answer = served.evaluate(&with(deploy(), &json!({name: long}))).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        for wrong in [
            json!(""),
            json!("x".repeat(257)),
            json!("ü".repeat(257)),
            json!(null),
        ] {
            let answer = served
                .evaluate(&with(deploy(), &json!({name: wrong})))
                .await;
            answer.is_problem(422, "INVALID_FIELD");
        }
        for wrong in [json!(7), json!([]), json!({}), json!(true)] {
            let answer = served
                .evaluate(&with(deploy(), &json!({name: wrong})))
                .await;
            answer.is_problem(422, "INVALID_FIELD");
            assert!(
                answer.json()["message"]
                    .as_str()
                    .unwrap()
                    .contains("invalid type")
            );
        }
        let mut without = deploy();
        without.as_object_mut().unwrap().remove(name);
        let answer = served.evaluate(&without).await;
        answer.is_problem(422, "INVALID_FIELD");
        assert!(answer.json()["message"].as_str().unwrap().contains(name));
    }
    let allowed = served.count("evaluate.allow").await;
    assert_eq!(allowed, 2, "the two long agents");
}

#[tokio::test]
async fn a_verification_that_restates_no_name_is_refused_and_consumes_nothing() {
    let served = Served::start().await;
    for (name, code) in [
        ("action_type", "ACTION_TYPE_MISMATCH"),
        ("actor_id", "ACTOR_MISMATCH"),
    ] {
        let question = json!({"permit_token": token_of(&served.evaluate(&deploy()).await)});
        for wrong in [json!("x".repeat(257)), json!("ü".repeat(257)), json!(7)] {
            let restated = with(question.clone(), &json!({name: wrong}));
            served
                .verify(&restated)
                .await
                .is_problem(422, "INVALID_FIELD");
        }
        // The permit is unused so far. A request with another name uses it up.
        let longest = with(question.clone(), &json!({name: "x".repeat(256)}));
        let answer = served.verify(&longest).await.json();
        assert_eq!(
            (&answer["valid"], &answer["verify_error_code"]),
            (&json!(false), &json!(code))
        );
        let answer = served.verify(&question).await.json();
        assert_eq!(answer["verify_error_code"], "PERMIT_ALREADY_USED");

        let question =
            json!({"permit_token": token_of(&served.evaluate(&deploy()).await), name: ""});
        assert_eq!(served.verify(&question).await.json()["valid"], true);
    }
}

#[tokio::test]
async fn a_context_is_an_object_or_left_out() {
    let served = Served::start().await;
    let without = json!({"action_type": "deploy", "actor_id": AGENT});
    token_of(&served.evaluate(&without).await);
    token_of(
        &served
            .evaluate(&with(without.clone(), &json!({"context": null})))
            .await,
    );
    token_of(
        &served
            .evaluate(&with(without.clone(), &json!({"context": {}})))
            .await,
    );
    for wrong in [json!([]), json!("{}"), json!(1), json!(false)] {
        let answer = served
            .evaluate(&with(without.clone(), &json!({"context": wrong})))
            .await;
        answer.is_problem(422, "INVALID_FIELD");
    }
}

#[tokio::test]
async fn a_message_repeats_no_value() {
    let served = Served::start().await;
    for (target, body) in [
        (
            "/v1-evaluate",
            json!({"action_type": "deploy", "actor_id": AGENT, "context": "hunter2"}),
        ),
        (
            "/v1-evaluate",
            json!({"action_type": "deploy", "actor_id": AGENT, "shadow": "hunter2"}),
        ),
        (
            "/v1-evaluate",
            json!({"action_type": "deploy", "actor_id": AGENT, "amount": "hunter2 \" hunter2"}),
        ),
        (
            "/v1-evaluate",
            json!({"action_type": "deploy", "actor_id": AGENT, "api_key": "hunter2"}),
        ),
        ("/v1-verify-permit", json!({"permit_token": ["hunter2"]})),
        (
            "/v1-verify-permit",
            json!({"permit_token": "hunter2", "require_approval": "hunter2"}),
        ),
        (
            "/v1-revoke-permit",
            json!({"decision_id": "hunter2", "reason": "x".repeat(5_000)}),
        ),
        ("/v1-audit/exports", json!({"from": "hunter2"})),
        ("/v1-audit/exports", json!({"types": {"hunter2": 1}})),
    ] {
        let answer = served.post(target, &body).await;
        assert!(
            (400..500).contains(&answer.status),
            "{target} {body}: {}",
            answer.text
        );
        assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    }
    let text = r#"{"action_type": "deploy", "hunter2": hunter2}"#;
    let answer = served.post_text("/v1-evaluate", text).await;
    answer.is_problem(400, "INVALID_JSON");
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
    let none: Vec<Value> = served.events().await.split_off(1);
    assert!(none.is_empty(), "{none:?}");
}
