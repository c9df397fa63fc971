//! Many requests in one batch, each decided and recorded separately.

use atlasent::client::Batch;
use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Decision};
use serde_json::{Value, json};

use crate::support::{AGENT, Served, deploy, evaluate_body, with};

async fn batch(served: &Served, items: &Value) -> Value {
    let answer = served
        .post("/v1/evaluate/batch", &json!({"items": items}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn items_are_answered_in_order_each_by_itself() {
    let served = Served::start().await;
    let items = json!([
        deploy(),
        evaluate_body("release"),
        evaluate_body("drop"),
        with(deploy(), &json!({"shadow": true})),
        {"action_type": "deploy"},
        7,
        deploy(),
    ]);
    let answer = batch(&served, &items).await;
    assert_eq!(answer["partial"], true);
    assert!(uuid(&answer["batch_id"]));
    let items = answer["items"].as_array().unwrap();
    let indices: Vec<_> = items
        .iter()
        .map(|item| item["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, (0..7).collect::<Vec<_>>());
    let decisions: Vec<_> = items.iter().map(|item| &item["decision"]).collect();
    assert_eq!(
        decisions,
        ["allow", "hold", "deny", "allow", "deny", "deny", "allow"]
    );
    for (index, token) in [
        (0, true),
        (1, false),
        (2, false),
        (3, false),
        (4, false),
        (6, true),
    ] {
        assert_eq!(items[index].get("permit_token").is_some(), token, "{index}");
    }
    assert_eq!(items[4]["error_code"], "INVALID_FIELD");
    assert_eq!(items[5]["error_code"], "INVALID_JSON");
    assert!(items[0].get("error_code").is_none());
    assert_ne!(items[0]["permit_token"], items[6]["permit_token"]);
    // The chain contains only the decided requests.
    assert_eq!(served.count("evaluate.allow").await, 3);
    assert_eq!(served.events().await.len(), 1 + 5);
    let whole = batch(&served, &json!([deploy()])).await;
    assert_eq!(whole["partial"], false);
}

#[tokio::test]
async fn our_client_reads_a_batch() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    let ask = |action: &'static str| {
        EvaluateRequest::new(Agent::new(AGENT).unwrap(), &AnyAction::new(action).unwrap()).unwrap()
    };
    let requests = Batch::new([ask("deploy"), ask("release"), ask("deploy").shadow(true)]);
    let id = "7e0c2a34-6a8e-4f0e-9a58-0d4b1c1f6a55";
    let requests = requests.unwrap().batch_id(id).unwrap();
    let answer = client.evaluate_batch(&requests).await.unwrap();
    assert_eq!(answer.batch_id, id);
    let decisions: Vec<_> = answer
        .items
        .iter()
        .map(|item| item.as_ref().unwrap().decision)
        .collect();
    assert_eq!(
        decisions,
        [Decision::Allow, Decision::Hold, Decision::Allow]
    );
    let token = answer.items[0]
        .as_ref()
        .unwrap()
        .permit_token
        .clone()
        .unwrap();
    let verified = served
        .verify(&json!({"permit_token": token.expose()}))
        .await;
    assert_eq!(verified.json()["valid"], true);
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_decides_nothing() {
    let served = Served::start().await;
    let many: Vec<_> = (0..101).map(|_| deploy()).collect();
    for body in [
        json!({}),
        json!({"items": []}),
        json!({"items": many}),
        json!({"items": {}}),
        json!({"items": [deploy()], "batch_id": "one"}),
        json!({"items": [deploy()], "batch_id": 7}),
    ] {
        let answer = served.post("/v1/evaluate/batch", &body).await;
        answer.is_problem(422, "INVALID_FIELD");
    }
    assert_eq!(served.events().await.len(), 1);
}

#[tokio::test]
async fn two_items_with_one_request_id_get_one_permit() {
    let served = Served::start().await;
    let item = with(deploy(), &json!({"request_id": "the-same"}));
    let answer = batch(&served, &json!([item, item])).await;
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items[0]["permit_token"], items[1]["permit_token"]);
    assert_eq!(served.count("evaluate.allow").await, 1);
    assert_eq!(served.count("evaluate.replayed").await, 1);
}

fn uuid(id: &Value) -> bool {
    let id = id.as_str().unwrap();
    id.len() == 36 && id.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}
