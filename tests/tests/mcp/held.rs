//! Tests that a held call waits for people, says so, and runs once if they agree.

use std::sync::Arc;
use std::time::Duration;

use atlasent_authority::LocalAuthority;
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_mcp::{Gate, Rule};
use serde_json::{Value, json};

use crate::support::{Connection, connect, deploys, local};

const HOLDS: &str = r#"
    permit (principal, action, resource);
    @id("ask") @decision("hold") @reason("a person has to agree") @approvers("role:sre")
    forbid (principal, action == Action::"deploy.production", resource);
"#;

fn waits(authority: Arc<LocalAuthority>, at_most: Duration) -> Gate {
    Gate::builder(authority, deploys())
        .max_wait(at_most)
        .progress_interval(Duration::from_millis(20))
        .build()
}

async fn start(client: &mut Connection, commit: &str) -> u64 {
    let params = json!({
        "name": "deploy", "arguments": {"commit": commit}, "_meta": {"progressToken": "p1"},
    });
    client.start("tools/call", params).await
}

/// Returns the next notification of progress.
async fn progress(client: &mut Connection) -> Value {
    loop {
        let message = client.next().await;
        if message["method"] == "notifications/progress" {
            return message["params"].clone();
        }
    }
}

/// Returns the id of the escalation that a message is about.
fn escalation(message: &str) -> String {
    message.split('`').nth(1).unwrap().to_owned()
}

async fn vote(authority: &LocalAuthority, id: &str, vote: fn(Approver) -> Ballot) {
    let approver = Approver::new("alice", ["sre"]).unwrap();
    authority
        .vote(id.parse().unwrap(), vote(approver))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_held_call_is_released_by_a_person_while_the_client_waits() {
    let authority = local(HOLDS);
    let (mut client, reached) = connect(waits(authority.clone(), Duration::from_secs(60))).await;
    let id = start(&mut client, "4f2a").await;
    let first = progress(&mut client).await;
    assert_eq!(first["progressToken"], "p1");
    let message = first["message"].as_str().unwrap();
    assert!(message.contains("a person has to agree"), "{message}");
    let second = progress(&mut client).await;
    assert!(second["progress"].as_f64() > first["progress"].as_f64());
    assert_eq!(reached.count(), 0);

    vote(&authority, &escalation(message), Ballot::approve).await;
    let result = client.response(id).await.unwrap();
    assert_eq!(result["isError"], json!(false), "{result}");
    assert_eq!(
        reached.all(),
        [("deploy".to_owned(), json!({"commit": "4f2a"}))]
    );
}

#[tokio::test]
async fn a_rejected_call_never_runs() {
    let authority = local(HOLDS);
    let (mut client, reached) = connect(waits(authority.clone(), Duration::from_secs(60))).await;
    let id = start(&mut client, "4f2a").await;
    let message = progress(&mut client).await;
    let escalation = escalation(message["message"].as_str().unwrap());
    vote(&authority, &escalation, Ballot::reject).await;
    let result = client.response(id).await.unwrap();
    assert_eq!(result["structuredContent"]["decision"], "deny");
    assert_eq!(result["structuredContent"]["code"], "APPROVAL_REJECTED");
    assert_eq!(reached.count(), 0);
}

#[tokio::test]
async fn a_wait_ends_as_pending_and_the_same_call_joins_it() {
    let authority = local(HOLDS);
    let (mut client, reached) = connect(waits(authority.clone(), Duration::from_millis(50))).await;
    let mut pending = async |commit: &str| {
        let id = start(&mut client, commit).await;
        let result = client.response(id).await.unwrap();
        let content = result["structuredContent"].clone();
        (
            content["decision"].clone(),
            content["escalation_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let (decision, first) = pending("4f2a").await;
    assert_eq!(decision, "hold");
    assert_eq!(pending("4f2a").await, (json!("hold"), first.clone()));
    assert_ne!(pending("ffff").await.1, first);
    vote(&authority, &first, Ballot::approve).await;
    let id = start(&mut client, "4f2a").await;
    let result = client.response(id).await.unwrap();
    assert_eq!(result["isError"], json!(false), "{result}");
    assert_eq!(reached.count(), 1);
    // The approval was for one execution.
    let id = start(&mut client, "4f2a").await;
    let result = client.response(id).await.unwrap();
    assert_eq!(result["structuredContent"]["decision"], "hold");
    assert_eq!(reached.count(), 1);
}

#[tokio::test]
async fn an_approval_covers_every_member_that_the_server_acts_on() {
    const HOLDS_BOTH: &str = r#"
        permit (principal, action, resource);
        @id("ask") @decision("hold") @reason("a person has to agree") @approvers("role:sre")
        forbid (principal, action in [Action::"deploy.production", Action::"mcp.shop:acme/deploy"], resource);
    "#;
    let deploy = |answer: &str| {
        json!({
            "name": "deploy", "arguments": {"commit": "4f2a"},
            "inputResponses": {"q": {"action": "accept", "content": {"to": answer}}},
        })
    };
    for (method, approved, others) in [
        (
            "acme/deploy",
            json!({"task": "staging"}),
            vec![
                json!({"task": "prod"}),
                json!({"task": "staging", "cursor": "prod"}),
                json!({"task": "staging", "requestState": "prod"}),
                json!({"task": "staging", "inputResponses": {"to": "prod"}}),
            ],
        ),
        (
            "tools/call",
            deploy("staging"),
            vec![
                deploy("prod"),
                json!({"name": "deploy", "arguments": {"commit": "4f2a"}}),
                json!({"name": "deploy", "arguments": {"commit": "4f2a"}, "requestState": "prod"}),
            ],
        ),
    ] {
        let authority = local(HOLDS_BOTH);
        let mapping = deploys().method("acme/deploy", Rule::new());
        let gate = Gate::builder(authority.clone(), mapping)
            .max_wait(Duration::ZERO)
            .build();
        let (mut client, reached) = connect(gate).await;
        let held = client.request(method, approved.clone()).await;
        vote(&authority, &escalation_of(held), Ballot::approve).await;
        for other in others {
            let held = client.request(method, other).await;
            escalation_of(held);
            assert_eq!(reached.count(), 0);
        }
        client.request(method, approved).await.unwrap();
        assert_eq!(reached.count(), 1);
    }
}

/// Returns the id of the escalation of a held request.
fn escalation_of(held: Result<Value, Value>) -> String {
    let refusal = match held {
        Ok(result) => result["structuredContent"].clone(),
        Err(error) => error["data"].clone(),
    };
    assert_eq!(refusal["decision"], "hold", "{refusal}");
    refusal["escalation_id"].as_str().unwrap().to_owned()
}
