//! `POST /v1-verify-permit` and `POST /v1-revoke-permit`: a permit is good once, for what it was issued for.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::stage::Stage;

fn hash(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn a_permit_is_good_once() {
    let stage = Stage::usual().await;
    let token = stage.permit(json!({})).await;
    let question = json!({ "permit_token": token, "action_type": "deploy", "actor_id": "bot" });
    let good = stage.verify(question.clone()).await;
    assert_eq!(
        (&good["valid"], &good["outcome"], &good["consumed"]),
        (&json!(true), &json!("allow"), &json!(true))
    );
    assert_eq!(good["permit_hash"], hash(&token));
    assert!(good["timestamp"].is_string() && good["reason"].is_string());
    assert!(good.get("verify_error_code").is_none());
    let again = stage.verify(question).await;
    assert_eq!(
        (&again["valid"], &again["outcome"]),
        (&json!(false), &json!("permit_consumed"))
    );
    assert_eq!(again["verify_error_code"], "PERMIT_ALREADY_USED");
    assert!(!again.to_string().contains("null") && !good.to_string().contains("null"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_present_it_at_once_one_gets_it() {
    let stage = Stage::usual().await;
    let token = stage.permit(json!({})).await;
    let asking = (0..64).map(|_| stage.verify(json!({ "permit_token": token })));
    let answers = futures_util::future::join_all(asking).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer["valid"] == true)
            .count(),
        1
    );
    assert_eq!(stage.events("permit.verified").await, 1);
    assert_eq!(stage.events("permit.verify_failed").await, 63);
}

#[tokio::test]
async fn a_permit_presented_for_something_else_is_refused_and_burnt() {
    let stage = Stage::usual().await;
    for (more, code) in [
        (json!({ "actor_id": "other" }), "ACTOR_MISMATCH"),
        (json!({ "action_type": "other" }), "ACTION_TYPE_MISMATCH"),
        (
            json!({ "execution_hash": "0".repeat(64) }),
            "EXECUTION_HASH_MISMATCH",
        ),
        (json!({ "environment": "staging" }), "ENVIRONMENT_MISMATCH"),
        (json!({ "require_approval": true }), "APPROVAL_REQUIRED"),
    ] {
        let token = stage.permit(json!({ "environment": "production" })).await;
        let mut question = json!({ "permit_token": token });
        question
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let refused = stage.verify(question).await;
        assert_eq!(
            (&refused["valid"], &refused["outcome"]),
            (&json!(false), &json!("deny")),
            "{code}"
        );
        assert_eq!(refused["verify_error_code"], code);
        let again = stage.verify(json!({ "permit_token": token })).await;
        assert_eq!(again["outcome"], "permit_consumed", "{code}");
    }
}

#[tokio::test]
async fn what_is_not_restated_is_not_compared() {
    let stage = Stage::usual().await;
    for question in [
        json!({}),
        json!({ "action_type": "", "actor_id": "" }),
        json!({ "action_type": "deploy" }),
    ] {
        let mut question = question;
        question["permit_token"] = json!(stage.permit(json!({})).await);
        assert_eq!(stage.verify(question).await["valid"], true);
    }
}

#[tokio::test]
async fn a_permit_that_is_none_is_said_to_be_none() {
    let stage = Stage::usual().await;
    let unknown = stage
        .verify(json!({ "permit_token": "permit_nobody_knows" }))
        .await;
    assert_eq!(
        (&unknown["outcome"], &unknown["verify_error_code"]),
        (&json!("permit_not_found"), &json!("PERMIT_NOT_FOUND"))
    );
    for question in [
        json!({}),
        json!({ "permit_token": "" }),
        json!({ "permit_token": null }),
    ] {
        let missing = stage.verify(question).await;
        assert_eq!(
            (&missing["valid"], &missing["verify_error_code"]),
            (&json!(false), &json!("MISSING_PERMIT"))
        );
    }
    let endless = stage
        .post(
            "/v1-verify-permit",
            &json!({ "permit_token": "x".repeat(10_000) }),
        )
        .await;
    assert_eq!(endless.status, 422);
}

/// Each of these contexts as Python writes it into a body, and as it is hashed: keys sorted, all else as it was written.
#[tokio::test]
async fn a_permit_is_bound_to_the_context_as_it_was_written() {
    let stage = Stage::usual().await;
    for (written, canonical) in [
        (r#"{"b": 1, "a": 2}"#, r#"{"a":2,"b":1}"#),
        (
            r#"{"x":1e+16,"y":1.0,"z":-0.0}"#,
            r#"{"x":1e+16,"y":1.0,"z":-0.0}"#,
        ),
        (
            r#"{"x":1e-07,"big":123456789012345678901234567890}"#,
            r#"{"big":123456789012345678901234567890,"x":1e-07}"#,
        ),
        (
            r#"{"n":{"z":[{"b":1,"a":[]}],"a":null},"ü":"漢\u00fc\n"}"#,
            r#"{"n":{"a":null,"z":[{"a":[],"b":1}]},"ü":"漢ü\n"}"#,
        ),
        ("{}", "{}"),
    ] {
        let body = format!(r#"{{"action_type":"deploy","actor_id":"bot","context":{written}}}"#);
        let said = stage.post_text("/v1-evaluate", body).await;
        let hash = hash(&format!(
            r#"{{"action_type":"deploy","actor_id":"bot","context":{canonical}}}"#
        ));
        let question = json!({ "permit_token": said.body["permit_token"], "execution_hash": hash });
        assert_eq!(stage.verify(question).await["valid"], true, "{written}");
    }
}

#[tokio::test]
async fn a_permit_can_be_taken_back_until_it_is_used() {
    let stage = Stage::usual().await;
    let revoke = async |token: &str| {
        let body =
            json!({ "decision_id": token, "reason": "the bot misbehaved", "api_key": stage.key });
        stage.post("/v1-revoke-permit", &body).await.body
    };
    let token = stage.permit(json!({})).await;
    let revoked = revoke(&token).await;
    assert_eq!(
        (&revoked["revoked"], &revoked["decision_id"]),
        (&json!(true), &json!(token))
    );
    assert!(revoked["revoked_at"].is_string() && revoked["audit_hash"].is_string());
    assert_eq!(
        stage.verify(json!({ "permit_token": token })).await["outcome"],
        "permit_revoked"
    );
    assert_eq!(revoke(&token).await["revoked"], false);

    let used = stage.permit(json!({})).await;
    stage.verify(json!({ "permit_token": used })).await;
    assert_eq!(revoke(&used).await["revoked"], false);
    assert_eq!(revoke("permit_nobody_knows").await["revoked"], false);
    for body in [
        json!({}),
        json!({ "decision_id": "" }),
        json!({ "decision_id": 7 }),
    ] {
        assert_eq!(stage.post("/v1-revoke-permit", &body).await.status, 422);
    }
    let long = json!({ "decision_id": "x", "reason": "x".repeat(5_000) });
    assert_eq!(stage.post("/v1-revoke-permit", &long).await.status, 422);
}

#[tokio::test]
async fn no_token_is_on_record() {
    let stage = Stage::usual().await;
    let token = stage.permit(json!({ "secret": "hunter2" })).await;
    stage.verify(json!({ "permit_token": token })).await;
    let trail: Value = stage.get("/v1-audit/events").await.body;
    let trail = trail.to_string();
    assert!(!trail.contains(&token) && !trail.contains("hunter2") && !trail.contains(&stage.key));
    assert!(trail.contains(&hash(&token)));
    let metrics = stage.get("/metrics").await.text;
    assert!(!metrics.contains(&token) && !metrics.contains(&stage.key));
}
