//! What bodies are taken, and what is said of the others.

use serde_json::{Value, json};

use crate::stage::Stage;

const PATHS: [&str; 5] = [
    "/v1-evaluate",
    "/v1-evaluate-stream",
    "/v1-verify-permit",
    "/v1-revoke-permit",
    "/v1-audit/exports",
];

#[tokio::test]
async fn what_is_no_json_object_is_refused_everywhere() {
    let stage = Stage::usual().await;
    for path in PATHS {
        for body in [
            "", "nonsense", "[]", "7", "null", "\"x\"", "{", "{} {}", "{\"a\":}",
        ] {
            let said = stage.post_text(path, body).await;
            assert_eq!(said.code(), (400, "INVALID_JSON"), "{path} {body}");
            assert!(said.body["message"].is_string());
            assert_eq!(said.body["request_id"], said.header("x-request-id"));
        }
        let not_utf8 = stage
            .post_text(path, b"{\"reason\":\"\xff\"}".to_vec())
            .await;
        assert_eq!(not_utf8.status, 400, "{path}");
    }
    assert_eq!(stage.events("evaluate.deny").await, 0);
}

#[tokio::test]
async fn a_body_has_to_say_that_it_is_json() {
    let stage = Stage::usual().await;
    let body = json!({ "action_type": "deploy", "actor_id": "bot" }).to_string();
    for (media_type, status) in [
        (Some("application/json"), 200),
        (Some("Application/JSON; charset=utf-8"), 200),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (None, 415),
    ] {
        let mut request = stage
            .request("POST", "/v1-evaluate")
            .bearer_auth(&stage.key)
            .body(body.clone());
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        assert_eq!(stage.send(request).await.status, status, "{media_type:?}");
    }
}

#[tokio::test]
async fn a_body_ends_at_a_mebibyte() {
    let stage = Stage::usual().await;
    let sized = |length: usize| {
        let body = json!({ "action_type": "deploy", "actor_id": "bot", "context": { "x": "" } })
            .to_string();
        body.replace("\"\"", &format!("\"{}\"", "x".repeat(length - body.len())))
    };
    let whole = 1024 * 1024;
    assert_eq!(
        stage.post_text("/v1-evaluate", sized(whole)).await.status,
        200
    );
    let over = stage.post_text("/v1-evaluate", sized(whole + 1)).await;
    assert_eq!(over.code(), (413, "BODY_TOO_LARGE"));
    // Without a length, it is found out on the way.
    let pieces = futures_util::stream::iter(
        sized(whole + 1)
            .into_bytes()
            .chunks(64 * 1024)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect::<Vec<_>>(),
    );
    let over = stage
        .post_text("/v1-evaluate", reqwest::Body::wrap_stream(pieces))
        .await;
    assert_eq!(over.code(), (413, "BODY_TOO_LARGE"));
}

#[tokio::test]
async fn names_are_1_to_256_characters() {
    let stage = Stage::usual().await;
    let ask = async |action: Value, agent: Value| {
        let body = json!({ "action_type": action, "actor_id": agent, "context": {} });
        stage.evaluate(body).await
    };
    let longest = "\u{fc}".repeat(256);
    assert_eq!(ask(json!(longest), json!(longest)).await.status, 200);
    let too_long = "x".repeat(257);
    for wrong in [
        json!(""),
        json!(too_long),
        json!(7),
        json!(null),
        json!(["x"]),
    ] {
        for said in [
            ask(wrong.clone(), json!("bot")).await,
            ask(json!("deploy"), wrong.clone()).await,
        ] {
            assert_eq!(
                said.code(),
                (422, "INVALID_FIELD"),
                "{wrong}: {}",
                said.text
            );
            assert!(!said.text.contains(&too_long));
        }
    }
    for body in [
        json!({}),
        json!({ "action_type": "deploy" }),
        json!({ "actor_id": "bot" }),
    ] {
        assert_eq!(stage.evaluate(body).await.code(), (422, "INVALID_FIELD"));
    }
}

#[tokio::test]
async fn a_context_is_an_object_or_absent() {
    let stage = Stage::usual().await;
    let with =
        |context: Value| json!({ "action_type": "deploy", "actor_id": "bot", "context": context });
    for body in [
        with(json!({})),
        with(json!(null)),
        json!({ "action_type": "deploy", "actor_id": "bot" }),
    ] {
        assert_eq!(stage.evaluate(body).await.body["decision"], "allow");
    }
    for context in [json!([]), json!("{}"), json!(7), json!(true)] {
        let said = stage.evaluate(with(context)).await;
        assert_eq!(said.code(), (422, "INVALID_FIELD"), "{}", said.text);
    }
    let deep = format!(
        "{{\"action_type\":\"deploy\",\"actor_id\":\"bot\",\"context\":{{\"a\":{}{}}}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    assert_eq!(stage.post_text("/v1-evaluate", deep).await.status, 400);
    let halved = r#"{"action_type":"deploy","actor_id":"bot","context":{"a":"\ud800"}}"#;
    assert_eq!(stage.post_text("/v1-evaluate", halved).await.status, 400);
}

#[tokio::test]
async fn the_names_of_the_first_sdks_are_taken() {
    let stage = Stage::usual().await;
    let old =
        json!({ "action": "deploy", "agent": "bot", "context": { "a": 1 }, "api_key": stage.key });
    let said = stage.evaluate(old).await;
    assert_eq!(said.body["decision"], "allow");
    let token = said.body["permit_token"].clone();
    let verified = stage.verify(json!({ "permit_token": token, "action": "deploy", "agent": "bot", "api_key": stage.key })).await;
    assert_eq!(verified["valid"], true);
    let same =
        json!({ "action": "deploy", "action_type": "deploy", "agent": "bot", "actor_id": "bot" });
    assert_eq!(stage.evaluate(same).await.status, 200);
    let torn = json!({ "action": "deploy", "action_type": "drop", "actor_id": "bot" });
    assert_eq!(stage.evaluate(torn).await.code(), (422, "INVALID_FIELD"));
}

#[tokio::test]
async fn what_is_unknown_or_null_changes_nothing() {
    let stage = Stage::usual().await;
    let body = json!({
        "action_type": "deploy", "actor_id": "bot", "context": { "a": null }, "new": { "field": [1] },
        "resource_id": null, "amount": null, "environment": null, "state_snapshot": null, "request_id": null,
        "shadow": null, "explain": null, "approval": null, "require_approval": null, "resource": null,
        "current_state": null, "proposed_state": null, "execution_binding": null, "api_key": null
    });
    assert_eq!(stage.evaluate(body).await.body["decision"], "allow");
    let token = stage.permit(json!({})).await;
    let body = json!({
        "permit_token": token, "action_type": null, "actor_id": null, "environment": null, "execution_hash": null,
        "require_approval": null, "context": {}, "more": 1
    });
    assert_eq!(stage.verify(body).await["valid"], true);
}

#[tokio::test]
async fn everything_that_later_sdks_send_is_taken() {
    let stage = Stage::usual().await;
    let body = json!({
        "action_type": "deploy", "actor_id": "bot", "context": { "environment": "production" },
        "resource_id": "service", "amount": 12.5, "environment": "production",
        "state_snapshot": { "source": "x", "complete": true }, "request_id": "r", "explain": true,
        "approval": { "approval_id": "a" }, "resource": { "id": "service" }, "current_state": {}, "proposed_state": {},
        "execution_binding": {}
    });
    assert_eq!(stage.evaluate(body).await.body["decision"], "allow");
    let approval = json!({ "action_type": "deploy", "actor_id": "bot", "require_approval": true });
    assert_eq!(
        stage.evaluate(approval).await.body["deny_code"],
        "APPROVAL_REQUIRED"
    );
    for wrong in [
        json!({ "amount": "x" }),
        json!({ "shadow": "yes" }),
        json!({ "request_id": 7 }),
        json!({ "environment": [] }),
    ] {
        let mut body = json!({ "action_type": "deploy", "actor_id": "bot" });
        body.as_object_mut()
            .unwrap()
            .extend(wrong.as_object().unwrap().clone());
        assert_eq!(
            stage.evaluate(body).await.code(),
            (422, "INVALID_FIELD"),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_message_repeats_no_value() {
    let stage = Stage::usual().await;
    for body in [
        json!({ "action_type": "deploy", "actor_id": "bot", "shadow": "hunter2" }),
        json!({ "action_type": ["hunter2"], "actor_id": "bot" }),
        json!({ "action_type": "deploy", "actor_id": "bot", "amount": "hunter2" }),
        json!({ "permit_token": { "hunter2": 1 } }),
    ] {
        for path in PATHS {
            let said = stage.post(path, &body).await;
            assert!(!said.text.contains("hunter2"), "{path}: {}", said.text);
        }
    }
}
