//! Batches: each request gets its own answer at its own position. Otherwise the client refuses the
//! whole response.

use atlasent::client::{Batch, BatchAnswer};
use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Authority, Decision, Error, blocking};
use atlasent_tests::server::{Reply, Request, Server};
use serde_json::{Value, json};

use crate::cases::{Says, TOKEN};
use crate::faults::{bodies_gone_wrong, statuses};
use crate::support::{KEY, LIMIT, client, json_of, question, saying};

const UUID: &str = "7e0c2a34-6a8e-4f0e-9a58-0d4b1c1f6a55";

fn batch(count: usize) -> Batch {
    Batch::new(std::iter::repeat_n(question(), count)).unwrap()
}

fn shadows(count: usize) -> Batch {
    Batch::new(std::iter::repeat_n(question().shadow(true), count)).unwrap()
}

async fn ask(batch: &Batch, answer: &Value) -> Result<BatchAnswer, Error> {
    let (client, _server) = saying([Reply::json(200, answer)]);
    client.evaluate_batch(batch).await
}

fn items(items: &Value) -> Value {
    json!({"batch_id": "b", "items": items, "partial": false})
}

#[tokio::test]
async fn a_batch_is_sent_as_the_contract_has_it() {
    let answer = json!({"batch_id": UUID, "items": [{"index": 0, "decision": "deny"}, {"index": 1, "decision": "deny"}],
        "partial": false});
    let server = Server::start(move |_: &Request| Reply::json(200, &answer));
    let client = client(server.url()).snapshot_source("s").build().unwrap();
    let action = AnyAction::new("other")
        .unwrap()
        .with_field("n", &1e-5)
        .unwrap();
    let other = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    let options = RequestOptions::default()
        .environment("e")
        .state_snapshot(json!({"own": 1}));
    let batch = Batch::new([question().shadow(true), other.with_options(options)]).unwrap();
    client.evaluate_batch(&batch).await.unwrap();
    client
        .evaluate_batch(&batch.batch_id(UUID).unwrap())
        .await
        .unwrap();
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.target == "/v1/evaluate/batch")
    );
    assert!(!requests[0].text().contains(KEY));
    assert!(
        requests[0].text().contains("1e-05"),
        "as Python spells it: {}",
        requests[0].text()
    );
    let mut expected = json!({"items": [
        {"action_type": "deploy.production", "actor_id": "deploy-bot", "context": {}, "shadow": true,
            "state_snapshot": {"source": "s", "complete": true}},
        {"action_type": "other", "actor_id": "bot", "context": {"n": 1e-5}, "environment": "e",
            "state_snapshot": {"own": 1}}]});
    assert_eq!(json_of(requests[0].text()), expected);
    expected["batch_id"] = json!(UUID);
    assert_eq!(json_of(requests[1].text()), expected);
}

#[tokio::test]
async fn many_requests_go_in_batches_and_are_answered_in_their_order() {
    let server = Server::start(|request: &Request| {
        let sent = json_of(request.text());
        let sent = sent["items"].as_array().unwrap().iter().enumerate();
        let answers = sent.map(|(index, item)| {
            json!({"index": index, "decision": "deny", "reason": item["resource_id"]})
        });
        Reply::json(200, items(&answers.collect()))
    });
    let client = client(server.url()).build().unwrap();
    let requests = (0..201).map(|number: u32| {
        let action = AnyAction::new("read").unwrap();
        let action = action.with_resource(number.to_string());
        EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
    });
    let requests: Vec<_> = requests.collect();
    let answers = client.evaluate_all(&requests).await.unwrap();
    assert_eq!(server.requests().len(), 3);
    assert_eq!(answers.len(), requests.len());
    for (request, answer) in requests.iter().zip(answers) {
        assert_eq!(answer.unwrap().reason, request.resource_id);
    }
    assert!(client.evaluate_all(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn each_item_is_an_answer_or_an_error_of_its_own() {
    let answer = json!({"batch_id": "b", "partial": true, "items": [
        {"index": 0, "decision": "allow", "permit_token": TOKEN, "reason": "r", "new": 1},
        {"index": 1, "decision": "allow", "decision_id": TOKEN},
        {"index": 2, "decision": "hold", "decision_id": "d", "reason": "waits", "escalation_id": "e"},
        {"index": 3, "decision": null, "error_code": "RATE_LIMITED", "error_message": "slow\ndown"},
        {"index": 4, "decision": "maybe", "permit_token": TOKEN},
        {"index": 5, "decision": 1, "permit_token": TOKEN},
        {"index": 6, "decision": "allow"},
        {"index": 7},
        {"index": 8, "decision": "allow", "permit_token": TOKEN, "error_code": "INTERNAL"},
        {"index": 9, "decision": "allow", "permitted": false, "permit_token": TOKEN},
        {"index": 10, "decision": "ALLOW", "permit_token": TOKEN},
    ]});
    let answer = ask(&batch(11), &answer).await.unwrap();
    assert!(answer.partial);
    let decided = |n: usize| answer.items[n].as_ref().unwrap();
    for n in [0, 1] {
        assert_eq!(decided(n).decision, Decision::Allow);
        assert_eq!(decided(n).permit_token.as_ref().unwrap().expose(), TOKEN);
        assert!(decided(n).x_request_id().is_some());
    }
    assert_eq!(decided(0).other.get("new"), Some(&json!(1)));
    assert_eq!(
        (
            decided(2).decision,
            decided(2).reason.as_deref(),
            decided(2).escalation_id.as_deref()
        ),
        (Decision::Hold, Some("waits"), Some("e"))
    );
    for n in [4, 5, 10] {
        assert_eq!(decided(n).decision, Decision::Deny, "{n}");
        assert_eq!(decided(n).permit_token, None, "{n}");
    }
    for (n, code) in [
        (3, Code::RateLimited),
        (6, Code::BadResponse),
        (7, Code::BadResponse),
        (8, Code::ServerError),
        (9, Code::BadResponse),
    ] {
        let error = answer.items[n].as_ref().unwrap_err();
        assert_eq!(error.code(), Some(code), "{n}: {error}");
        assert!(!error.to_string().contains('\n'), "{n}: {error}");
        assert!(
            !format!("{error} {error:?}").contains(TOKEN),
            "{n}: {error}"
        );
    }
    assert!(!format!("{answer:?}").contains(TOKEN));
}

#[tokio::test]
async fn a_shadow_item_may_be_allowed_without_a_token_and_no_other() {
    let allow = items(&json!([{"index": 0, "decision": "allow", "reason": "r"}]));
    let answer = ask(&shadows(1), &allow).await.unwrap();
    let shadow = answer.items[0].as_ref().unwrap();
    assert_eq!(
        (shadow.decision, &shadow.permit_token),
        (Decision::Allow, &None)
    );
    assert!(ask(&batch(1), &allow).await.unwrap().items[0].is_err());
}

#[tokio::test]
async fn answers_that_are_not_one_each_in_their_order_are_none() {
    let deny = |index: Value| json!({"index": index, "decision": "deny"});
    for wrong in [
        json!([]),
        json!([deny(json!(0))]),
        json!([deny(json!(1)), deny(json!(0))]),
        json!([deny(json!(0)), deny(json!(0))]),
        json!([deny(json!(1)), deny(json!(2))]),
        json!([deny(json!(0)), deny(json!(1)), deny(json!(2))]),
        json!([deny(json!(0)), deny(json!("1"))]),
        json!([deny(json!(-1)), deny(json!(0))]),
        json!([deny(json!(0)), {"decision": "deny"}]),
        json!([deny(json!(0)), ["deny"]]),
        json!({"0": deny(json!(0))}),
        Value::Null,
    ] {
        let error = ask(&batch(2), &items(&wrong)).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{wrong}");
    }
    let good = json!([deny(json!(0)), deny(json!(1))]);
    for wrong in [
        json!({"items": good, "partial": false}),
        json!({"batch_id": "b", "items": good}),
        json!({"batch_id": "b", "items": good, "partial": "false"}),
        json!([good]),
    ] {
        let error = ask(&batch(2), &wrong).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{wrong}");
    }
    let error = ask(&batch(2).batch_id(UUID).unwrap(), &items(&good))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(Code::BadResponse), "another batch");
    assert!(ask(&batch(2), &items(&good)).await.is_ok());
}

#[tokio::test]
async fn a_token_limit_in_the_context_hides_no_number_of_the_answer() {
    let action = AnyAction::new("ask.model").unwrap();
    let action = action.with_field("max_tokens", &1).unwrap();
    let action = action.with_field("tokens", &0).unwrap();
    let action = action.with_field("key", "allow").unwrap();
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    let batch = Batch::new([request.clone(), request]).unwrap();
    let answer = items(&json!([
        {"index": 0, "decision": "allow", "permit_token": TOKEN},
        {"index": 1, "decision": "deny"},
    ]));
    let answer = ask(&batch, &answer).await.unwrap();
    let decisions: Vec<_> = (answer.items.iter())
        .map(|item| item.as_ref().unwrap().decision)
        .collect();
    assert_eq!(decisions, [Decision::Allow, Decision::Deny]);
}

#[tokio::test]
async fn a_batch_that_did_not_come_through_allows_nothing() {
    let yes = items(&json!([{"index": 0, "decision": "allow", "permit_token": TOKEN}])).to_string();
    let mut cases = statuses(&yes);
    cases.extend(bodies_gone_wrong(&yes, LIMIT));
    for case in cases {
        let reply = case.reply.clone();
        let server = Server::start(move |_: &Request| reply.clone());
        let builder = client(server.url()).virtual_time(&VirtualTime::new());
        let answered = builder.build().unwrap().evaluate_batch(&batch(1)).await;
        assert!(answered.is_err(), "{}", case.name);
        let attempts = if case.says == Says::Again { 3 } else { 1 };
        assert_eq!(server.requests().len(), attempts, "{}", case.name);
    }
}

#[test]
fn a_batch_works_without_async() {
    let (client, _server) = saying([Reply::json(
        200,
        items(&json!([{"index": 0, "decision": "deny"}])),
    )]);
    let answer = blocking::Client::from(client)
        .evaluate_batch(&batch(1))
        .unwrap();
    assert_eq!(answer.items[0].as_ref().unwrap().decision, Decision::Deny);
}
