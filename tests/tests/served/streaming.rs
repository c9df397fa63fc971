//! `POST /v1-evaluate-stream`: the decision as events.

use serde_json::{Value, json};

use crate::stage::Stage;

/// The events of a stream: their names and data.
fn events(text: &str) -> Vec<(String, Value)> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    let events = blocks.map(|block| {
        let (name, data) = block.split_once('\n').unwrap();
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        (
            name,
            serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
        )
    });
    events.collect()
}

#[tokio::test]
async fn a_stream_is_a_decision_and_an_end() {
    let stage = Stage::usual().await;
    for (agent, permitted, decision) in [("bot", true, "allow"), ("intern", false, "deny")] {
        let body =
            json!({ "action": "deploy", "agent": agent, "context": {}, "api_key": stage.key });
        let said = stage.post("/v1-evaluate-stream", &body).await;
        assert_eq!(
            (said.status, said.header("content-type")),
            (200, "text/event-stream")
        );
        let events = events(&said.text);
        assert_eq!(events.len(), 2);
        assert_eq!((&*events[1].0, &events[1].1), ("done", &json!({})));
        let (name, data) = &events[0];
        assert_eq!(name, "decision");
        assert_eq!(
            (&data["permitted"], &data["decision"], &data["is_final"]),
            (&json!(permitted), &json!(decision), &json!(true))
        );
        assert_eq!(data["permit_token"], data["decision_id"]);
        assert_eq!(data["permit_token"].is_string(), permitted);
        if permitted {
            let verified = stage
                .verify(json!({ "permit_token": data["permit_token"] }))
                .await;
            assert_eq!(verified["valid"], true);
        }
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_is_an_ordinary_error() {
    let stage = Stage::usual().await;
    let said = stage
        .post("/v1-evaluate-stream", &json!({ "action": "deploy" }))
        .await;
    assert_eq!(said.code(), (422, "INVALID_FIELD"));
}
