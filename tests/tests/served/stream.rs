//! `POST /v1-evaluate-stream`: the decision as server-sent events.

use atlasent::client::StreamEvent;
use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Decision};
use atlasent_authority::{LocalAuthority, Policies};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::support::{AGENT, KEY, Served, deploy, evaluate_body, server};

const TARGET: &str = "/v1-evaluate-stream";

/// The events of a stream, each as its name and its data.
fn events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split_terminator("\n\n");
    blocks
        .map(|block| {
            let (event, data) = block.split_once('\n').unwrap();
            let name = event.strip_prefix("event: ").unwrap().to_owned();
            (
                name,
                serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_stream_is_a_decision_and_then_done() {
    let served = Served::start().await;
    for body in [
        deploy(),
        json!({"action": "deploy", "agent": AGENT, "context": {}, "api_key": KEY}),
    ] {
        let answer = served.post(TARGET, &body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let events = events(&answer.text);
        let [(decision, said), (done, nothing)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(
            (&**decision, &**done, nothing),
            ("decision", "done", &json!({}))
        );
        assert_eq!(
            (&said["permitted"], &said["decision"], &said["is_final"]),
            (&json!(true), &json!("allow"), &json!(true))
        );
        assert_eq!(said["decision_id"], said["permit_token"]);
        assert!(!answer.text.contains("null"));
        let answer = served
            .verify(&json!({"permit_token": said["permit_token"]}))
            .await
            .json();
        assert_eq!(answer["valid"], true);
    }
}

#[tokio::test]
async fn a_refusal_is_a_decision_too() {
    let served = Served::start().await;
    for (action, decision) in [
        ("drop", "deny"),
        ("release", "hold"),
        ("migrate", "escalate"),
        ("unheard-of", "deny"),
    ] {
        let answer = served.post(TARGET, &evaluate_body(action)).await;
        let said = events(&answer.text).remove(0).1;
        assert_eq!(
            (&said["permitted"], &said["decision"]),
            (&json!(false), &json!(decision))
        );
        assert!(
            said.get("permit_token").is_none() && said["reason"].is_string(),
            "{said}"
        );
        assert!(served.count(&format!("evaluate.{decision}")).await > 0);
    }
    served
        .post(TARGET, &json!({"action": "deploy"}))
        .await
        .is_problem(422, "INVALID_FIELD");
    served
        .post_text(TARGET, "[]")
        .await
        .is_problem(400, "INVALID_JSON");
}

#[tokio::test]
async fn our_client_reads_the_stream() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    for (action, decision) in [
        ("deploy", Decision::Allow),
        ("drop", Decision::Deny),
        ("release", Decision::Hold),
        ("migrate", Decision::Escalate),
    ] {
        let request =
            EvaluateRequest::new(Agent::new(AGENT).unwrap(), &AnyAction::new(action).unwrap())
                .unwrap();
        let events: Vec<_> = client
            .evaluate_stream(&request)
            .try_collect()
            .await
            .unwrap();
        let [StreamEvent::Decision(said)] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!((said.decision, said.is_final), (decision, true));
        assert_eq!(said.permit_token.is_some(), decision.is_allow());
    }
}

#[tokio::test]
async fn no_line_of_a_stream_breaks_where_readers_break_lines() {
    let policies = r#"@reason("a\u{85}b\u{2028}c\u{2029}d\u{b}e\u{c}f\ng\r\nevent: done")
        forbid (principal, action, resource);"#;
    let authority = LocalAuthority::in_memory(Policies::parse(policies).unwrap()).unwrap();
    let served = Served::run(server(authority)).await;
    let answer = served.post(TARGET, &deploy()).await;
    assert!(
        !answer
            .text
            .contains(['\u{85}', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}', '\r'])
    );
    let events = events(&answer.text);
    assert_eq!(events.len(), 2);
    assert_eq!(
        events[0].1["reason"],
        "a\u{85}b\u{2028}c\u{2029}d\u{b}e\u{c}f\ng\r\nevent: done"
    );
}
