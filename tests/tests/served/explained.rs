//! The server explains a refusal to callers that ask for it, and to no other.

use atlasent::{AnyAction, AuthorityExt};
use atlasent_authority::{LocalAuthority, Policies};
use serde_json::{Value, json};

use crate::support::{Served, evaluate_body, names, server, with};

const POLICIES: &str = r#"
    @id("deployers") permit (principal, action == Action::"deploy", resource);
    @id("limit") forbid (principal, action == Action::"deploy", resource) when { context.replicas > 50 };
    @id("never") @decision("hold") forbid (principal, action == Action::"drop", resource);
"#;

const LINE: &str =
    "<policies>:3:82: policy `limit`: `context.replicas`: type error: expected long, got string";

async fn served() -> Served {
    let policies = Policies::parse(POLICIES).unwrap();
    Served::run(server(LocalAuthority::in_memory(policies).unwrap())).await
}

fn deploy() -> Value {
    with(
        evaluate_body("deploy"),
        &json!({"context": {"replicas": "SECRET"}}),
    )
}

#[tokio::test]
async fn a_refusal_is_explained_when_that_is_asked_for_only() {
    let served = served().await;
    for explain in [json!(false), Value::Null] {
        let answer = served
            .evaluate(&with(deploy(), &json!({"explain": explain})))
            .await;
        assert!(
            !names(&answer.json()).contains(&"explanation"),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains("replicas"), "{}", answer.text);
    }
    let answer = served
        .evaluate(&with(deploy(), &json!({"explain": true})))
        .await;
    assert_eq!(answer.json()["explanation"], json!([LINE]));
    assert_eq!(answer.json()["deny_code"], "POLICY_EVALUATION_ERROR");
    assert!(!answer.text.contains("SECRET"), "{}", answer.text);

    let answer = served
        .evaluate(&with(evaluate_body("drop"), &json!({"explain": true})))
        .await;
    assert_eq!(
        answer.json()["explanation"],
        json!(["<policies>:4:5: policy `never`: hold"])
    );
}

#[tokio::test]
async fn a_stream_explains_alike() {
    let served = served().await;
    let request = |explain: bool| with(deploy(), &json!({"explain": explain}));
    let answer = served.post("/v1-evaluate-stream", &request(true)).await;
    assert!(
        answer.text.contains("\"explanation\":[\""),
        "{}",
        answer.text
    );
    let answer = served.post("/v1-evaluate-stream", &request(false)).await;
    assert!(!answer.text.contains("explanation"), "{}", answer.text);
}

#[tokio::test]
async fn each_question_of_a_batch_is_explained_by_itself() {
    let served = served().await;
    let items = json!([with(deploy(), &json!({"explain": true})), deploy()]);
    let answer = served
        .post("/v1/evaluate/batch", &json!({"items": items}))
        .await;
    let items = &answer.json()["items"];
    assert_eq!(items[0]["explanation"], json!([LINE]), "{}", answer.text);
    assert_eq!(items[1]["deny_code"], "POLICY_EVALUATION_ERROR");
    assert!(items[1].get("explanation").is_none(), "{}", answer.text);
}

#[tokio::test]
async fn our_client_hands_the_explanation_on() {
    let served = served().await;
    let client = served.client().build().unwrap();
    let action = AnyAction::new("deploy")
        .unwrap()
        .with_field("replicas", "SECRET")
        .unwrap();
    let ask = client
        .ask("bot", action)
        .options(|options| options.explain(true));
    let error = ask.protect().await.unwrap_err();
    assert_eq!(error.denied().unwrap().explanation(), [LINE]);
}

#[tokio::test]
async fn the_audit_event_holds_the_errors_whoever_asked() {
    let served = served().await;
    served.evaluate(&deploy()).await;
    let events = served.events().await;
    let denial = events
        .iter()
        .find(|event| event["type"] == "evaluate.deny")
        .unwrap();
    assert_eq!(denial["payload"]["errors"], json!([LINE]), "{denial}");
}
