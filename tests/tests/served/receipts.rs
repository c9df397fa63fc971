//! Receipts over HTTP: the endpoint, and the client that sends them for its bodies.

use std::time::Duration;

use atlasent::wire::{PermitToken, Receipt, ReceiptOutcome, ResultHash};
use atlasent::{AnyAction, AuthorityExt, Client, Error, Permit, blocking, protect};
use atlasent_authority::keys::{ApiKey, ApiScope};
use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{AGENT, Answer, KEY, Served, deploy, memory, names, stored, token_of, with};

const LIVE: &str = "ask_live_0123456789";

/// Issues a permit: its id and its token.
async fn issued(served: &Served) -> (String, String) {
    let answer = served.evaluate(&deploy()).await;
    let id = answer.json()["permit_id"].as_str().unwrap().to_owned();
    (id, token_of(&answer))
}

/// Issues and verifies a permit: its id and its token.
async fn used(served: &Served) -> (String, String) {
    let (id, token) = issued(served).await;
    let verified = served.verify(&json!({"permit_token": token})).await;
    assert_eq!(verified.json()["valid"], true);
    (id, token)
}

fn completed(token: &str) -> Value {
    json!({"permit_token": token, "outcome": "completed", "duration_ms": 12})
}

async fn complete(served: &Served, id: &str, body: &Value) -> Answer {
    served
        .post(&format!("/v1/permits/{id}/complete"), body)
        .await
}

#[tokio::test]
async fn a_receipt_is_recorded_once_and_answered_the_same_again() {
    let served = Served::start().await;
    let (id, token) = used(&served).await;
    let hash = ResultHash::of("release 41");
    let body = with(
        completed(&token),
        &json!({"result_hash": hash.as_str(), "error": null}),
    );
    let first = complete(&served, &id, &body).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let answer = first.json();
    assert_eq!(
        names(&answer),
        [
            "audit_hash",
            "outcome",
            "permit_id",
            "receipt_id",
            "timestamp"
        ]
    );
    assert_eq!(
        (&answer["permit_id"], &answer["outcome"]),
        (&json!(id), &json!("completed"))
    );
    assert_eq!(complete(&served, &id, &body).await.json(), answer);
    assert_eq!(served.count("permit.completed").await, 1);

    let events = served.events().await;
    let event = events.last().unwrap();
    assert_eq!(event["hash"], answer["audit_hash"]);
    assert_eq!(event["id"], answer["receipt_id"]);
    let payload = &event["payload"];
    assert_eq!(payload["result_hash"], hash.as_str());
    assert_eq!(payload["duration_ms"], 12);
    assert!(payload["key_id"].is_string() && payload["x_request_id"].is_string());
    assert!(!event.to_string().contains(&token));
    // The permit stays what it was.
    let permit = served.get(&format!("/v1/permits/{id}")).await.json();
    assert_eq!(permit["status"], "consumed");
}

#[tokio::test]
async fn another_outcome_is_409_and_the_first_one_counts() {
    let served = Served::start().await;
    let (id, token) = used(&served).await;
    assert_eq!(complete(&served, &id, &completed(&token)).await.status, 200);
    for change in [
        json!({"outcome": "failed"}),
        json!({"outcome": "cancelled"}),
        json!({"duration_ms": 13}),
        json!({"error": "disk full"}),
        json!({"result_hash": ResultHash::of("").as_str()}),
    ] {
        let other = complete(&served, &id, &with(completed(&token), &change)).await;
        other.is_problem(409, "RECEIPT_CONFLICT");
    }
    assert_eq!(
        served
            .count("permit.completed,permit.failed,permit.cancelled")
            .await,
        1
    );
}

#[tokio::test]
async fn a_receipt_needs_a_used_permit_and_its_token() {
    let served = Served::start().await;
    let (id, token) = issued(&served).await;
    let unused = complete(&served, &id, &completed(&token)).await;
    unused.is_problem(409, "PERMIT_NOT_USED");
    let (used_id, used_token) = used(&served).await;
    for (id, token) in [
        (&*used_id, &*token),
        (&*id, &*used_token),
        (&*used_id, &*used_id),
        (&*used_id, ""),
        ("no-id", &*used_token),
    ] {
        let wrong = complete(&served, id, &completed(token)).await;
        wrong.is_problem(403, "PERMIT_TOKEN_MISMATCH");
    }
    let burnt = served
        .verify(&json!({"permit_token": token, "action_type": "other"}))
        .await;
    assert_eq!(burnt.json()["consumed"], true);
    let burnt = complete(&served, &id, &completed(&token)).await;
    burnt.is_problem(409, "PERMIT_NOT_USED");
}

#[tokio::test]
async fn a_receipt_that_breaks_a_rule_is_refused_before_it_is_recorded() {
    let served = Served::start().await;
    let (id, token) = used(&served).await;
    for wrong in [
        json!({"outcome": "done"}),
        json!({"outcome": null}),
        json!({"duration_ms": -1}),
        json!({"duration_ms": "12"}),
        json!({"duration_ms": 1_u64 << 53}),
        json!({"duration_ms": u64::MAX}),
        json!({"result_hash": "abc"}),
        json!({"result_hash": "A".repeat(64)}),
        json!({"error": "x".repeat(501)}),
        json!({"permit_token": 7}),
        json!({"permit_token": "x".repeat(9000)}),
    ] {
        let answer = complete(&served, &id, &with(completed(&token), &wrong)).await;
        answer.is_problem(422, "INVALID_FIELD");
    }
    let at_most = with(completed(&token), &json!({"error": "é".repeat(500)}));
    assert_eq!(complete(&served, &id, &at_most).await.status, 200);
}

#[tokio::test]
async fn the_text_of_a_receipt_loses_the_secrets_of_its_call() {
    let served = Served::start().await;
    let (id, token) = used(&served).await;
    let error = format!("{token}\nwith {KEY} failed");
    let body = with(
        completed(&token),
        &json!({"outcome": "failed", "error": error}),
    );
    assert_eq!(complete(&served, &id, &body).await.status, 200);
    let events = served.events().await;
    let text = events.last().unwrap()["payload"]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(!text.contains(&token) && !text.contains(KEY), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[tokio::test]
async fn a_receipt_needs_the_scope_and_the_environment_of_its_permit() {
    let mut evaluates_only = stored("ask_test_only_evaluate");
    evaluates_only.scopes = vec![ApiScope::Evaluate, ApiScope::PermitsRead];
    let keys: [ApiKey; 3] = [stored(KEY), stored(LIVE), evaluates_only];
    let ring = KeyRing::in_memory().unwrap();
    let served = Served::run(Server::new(memory(), ApiKeys::new(keys), ring)).await;
    let (id, token) = used(&served).await;
    let by = async |key: &str| {
        let request = served
            .bare(Method::POST, &format!("/v1/permits/{id}/complete"))
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .body(completed(&token).to_string());
        Answer::receive(request).await
    };
    by("ask_test_only_evaluate")
        .await
        .is_problem(403, "INSUFFICIENT_SCOPE");
    by(LIVE).await.is_problem(404, "PERMIT_NOT_FOUND");
    assert_eq!(by(KEY).await.status, 200);
}

#[protect(
    action = "deploy",
    agent = "deploy-bot",
    authority = client,
    receipt = |release| release.clone(),
)]
async fn release(client: &Client, fails: bool) -> Result<String, Error> {
    match fails {
        false => Ok("release 41".to_owned()),
        true => Err(Error::Invalid("card 4111".to_owned())),
    }
}

#[protect(action = "deploy", agent = "deploy-bot", authority = client)]
async fn hang(client: &Client, _permit: Permit) -> Result<(), Error> {
    std::future::pending().await
}

#[tokio::test]
async fn the_client_sends_how_its_bodies_end() {
    let served = Served::start().await;
    let client = served.client().receipts(true).build().unwrap();
    assert_eq!(release(&client, false).await.unwrap(), "release 41");
    assert!(release(&client, true).await.is_err());
    let cancelled = tokio::time::timeout(Duration::from_secs(2), hang(&client)).await;
    assert!(cancelled.is_err());
    client.flush_receipts().await;
    assert_eq!(
        client.receipt_counts().delivered,
        3,
        "{:?}",
        client.receipt_counts()
    );
    for kind in ["permit.completed", "permit.failed", "permit.cancelled"] {
        assert_eq!(served.count(kind).await, 1, "{kind}");
    }
    let events = served.events().await;
    let done = events
        .iter()
        .find(|event| event["type"] == "permit.completed");
    assert_eq!(
        done.unwrap()["payload"]["result_hash"],
        ResultHash::of("release 41").as_str()
    );
    assert!(!serde_json::to_string(&events).unwrap().contains("4111"));
}

#[tokio::test]
async fn a_body_that_ends_after_its_client_and_outside_of_a_runtime_sends_its_receipt() {
    let served = Served::start().await;
    let client = served.client().receipts(true).build().unwrap();
    let action = AnyAction::new("deploy").unwrap();
    let permit = client.protect(AGENT, action).await.unwrap();
    let execution = permit.execution();
    drop(client);
    std::thread::spawn(move || drop(execution)).join().unwrap();
    while served.count("permit.cancelled").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_client_sends_no_receipts_unless_it_is_told_to() {
    let served = Served::start().await;
    let client = served.client().build().unwrap();
    release(&client, false).await.unwrap();
    client.flush_receipts().await;
    assert_eq!(client.receipt_counts(), Default::default());
    assert_eq!(served.count("permit.completed").await, 0);
}

#[tokio::test]
async fn a_server_that_is_down_loses_receipts_and_changes_no_result() {
    let served = Served::start().await;
    let client = served
        .client()
        .receipts(true)
        .max_retries(1)
        .retry_backoff(Duration::from_millis(1))
        .build()
        .unwrap();
    let action = AnyAction::new("deploy").unwrap();
    let result = client.with_permit(AGENT, action, async |_| {
        served.stop().await.unwrap().unwrap();
        Ok::<_, Error>(7)
    });
    assert_eq!(result.await.unwrap(), 7);
    client.flush_receipts().await;
    let counts = client.receipt_counts();
    assert_eq!((counts.delivered, counts.failed, counts.waiting), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_clients_record_a_receipt_by_hand() {
    let served = Served::start().await;
    let receipt = |(id, token): (String, String)| {
        let token = PermitToken::new(token).unwrap();
        Receipt::new(id, token, ReceiptOutcome::Failed, Duration::from_secs(1))
            .with_error("the registry did not answer")
    };
    let client = served.client().build().unwrap();
    let by_hand = receipt(used(&served).await);
    let recorded = client.complete_permit(&by_hand).await.unwrap();
    assert_eq!(recorded.outcome, ReceiptOutcome::Failed);
    assert_eq!(
        client.complete_permit(&by_hand).await.unwrap().receipt_id,
        recorded.receipt_id
    );
    let mut other = by_hand;
    other.outcome = ReceiptOutcome::Completed;
    let error = client.complete_permit(&other).await.unwrap_err();
    assert_eq!(error.failure().unwrap().status(), Some(409));

    let blocking = blocking::Client::from(served.client().receipts(true).build().unwrap());
    let by_hand = receipt(used(&served).await);
    let deploy = AnyAction::new("deploy").unwrap();
    tokio::task::block_in_place(|| {
        blocking.complete_permit(&by_hand).unwrap();
        blocking::with_permit(&blocking, AGENT, deploy, |_| Ok::<_, Error>(())).unwrap();
        blocking.flush_receipts().unwrap();
    });
    assert_eq!(blocking.receipt_counts().delivered, 1);
    assert_eq!(served.count("permit.completed").await, 1);
    assert_eq!(served.count("permit.failed").await, 2);
}
