//! Tests that the scopes and rates of a caller's token hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use ati_client::{Claims, ClaimsBuilder, RateSpec, RateUnit, delegate};
use atlasent::Agent;
use atlasent::testing::{Call, MockAuthority};
use atlasent_mcp::server::{Callers, GuardedServer};
use atlasent_mcp::{Caller, Refusal};
use serde_json::json;

use crate::support::{Connection, Reached, Recorder, names, shop, tools};

async fn open(callers: Callers, authority: &Arc<MockAuthority>) -> (Connection, Reached) {
    let recorder = Recorder::default();
    let reached = recorder.reached.clone();
    let gate = shop(authority.clone());
    let server = GuardedServer::new(recorder, tools(), gate, callers).unwrap();
    (Connection::open(server).await, reached)
}

fn token(claims: ClaimsBuilder) -> Callers {
    Callers::configured(Caller::from_claims(claims.build().unwrap()).unwrap())
}

fn allows() -> Arc<MockAuthority> {
    Arc::new(
        MockAuthority::new()
            .allow("mcp.shop.echo")
            .allow("mcp.shop.pay")
            .allow("deploy.production"),
    )
}

#[tokio::test]
async fn a_token_without_the_scope_of_a_tool_asks_nobody() {
    for scope in [
        "tool:shop:pay",
        "tool:echo",
        "tool:other:echo",
        "tool:Shop:echo",
        "skill:shop:echo",
    ] {
        let authority = allows();
        let (mut client, reached) =
            open(token(Claims::builder("bot").scope(scope)), &authority).await;
        let result = client.call("echo", json!({})).await.unwrap();
        assert_eq!(
            result["structuredContent"]["missing_scope"], "tool:shop:echo",
            "{scope}"
        );
        assert_eq!(
            (reached.count(), authority.calls().len()),
            (0, 0),
            "{scope}"
        );
    }
    for scope in ["tool:shop:echo", "tool:shop:*", "tool:*", "*"] {
        let authority = allows();
        let (mut client, reached) =
            open(token(Claims::builder("bot").scope(scope)), &authority).await;
        client.call("echo", json!({})).await.unwrap();
        assert_eq!(reached.count(), 1, "{scope}");
    }
}

#[tokio::test]
async fn a_list_shows_no_tool_without_its_scope() {
    let claims = Claims::builder("bot").scope("tool:shop:echo");
    let (mut client, _) = open(token(claims), &allows()).await;
    let list = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(names(&list, "tools", "name"), ["echo"]);
}

#[tokio::test]
async fn a_rate_that_is_used_up_refuses() {
    let twice = RateSpec::new(2, RateUnit::Hour);
    let claims = Claims::builder("bot")
        .scope("tool:shop:*")
        .rate("tool:shop:echo", twice);
    let (mut client, reached) = open(token(claims), &allows()).await;
    for _ in 0..4 {
        client.call("echo", json!({})).await.unwrap();
    }
    assert_eq!(reached.count(), 2);
    let result = client.call("echo", json!({})).await.unwrap();
    assert_eq!(result["structuredContent"]["code"], "RATE_EXCEEDED");
    assert!(result["structuredContent"]["retry_after"].as_u64() > Some(3_000));
    client.call("deploy", json!({})).await.unwrap();
    assert_eq!(reached.count(), 3, "another tool has its own rate");
}

#[tokio::test]
async fn a_scope_opens_the_part_that_requires_it() {
    let arguments = json!({"to": "a", "cents": 5, "urgent": true});
    let claims = Claims::builder("bot").scope("tool:shop:pay");
    let (mut client, reached) = open(token(claims), &allows()).await;
    client.call("pay", arguments.clone()).await.unwrap();
    assert_eq!(reached.count(), 0);
    let claims = Claims::builder("bot")
        .scope("tool:shop:pay")
        .scope("tool:shop:pay:urgent");
    let (mut client, reached) = open(token(claims), &allows()).await;
    client.call("pay", arguments).await.unwrap();
    assert_eq!(reached.count(), 1);
}

#[tokio::test]
async fn a_message_of_nobody_reaches_nothing() {
    let nobody = [
        Callers::from_tokens(),
        Callers::from_request(|_| Err(Refusal::deny("NO_TOKEN", "nobody"))),
    ];
    for callers in nobody {
        let authority = allows();
        let (mut client, reached) = open(callers, &authority).await;
        let result = client.call("echo", json!({})).await.unwrap();
        assert_eq!(result["structuredContent"]["code"], "NO_TOKEN");
        assert!(client.request("tools/list", json!({})).await.is_err());
        assert!(
            client
                .request("resources/read", json!({"uri": "file:///a"}))
                .await
                .is_err()
        );
        assert_eq!((reached.count(), authority.calls().len()), (0, 0));
    }
}

#[tokio::test]
async fn every_question_about_a_delegate_names_its_actors() {
    let parent = Claims::builder("bot").scope("tool:shop:*").build().unwrap();
    let claims = delegate(&parent, "helper").scope("tool:shop:pay").build();
    let callers = Callers::configured(Caller::from_claims(claims.unwrap()).unwrap());
    let authority = allows();
    let (mut client, _) = open(callers, &authority).await;
    client.request("tools/list", json!({})).await.unwrap();
    let urgent = json!({"to": "a", "cents": 5, "urgent": true});
    for arguments in [json!({"to": "a", "cents": 5}), urgent] {
        drop(client.call("pay", arguments).await);
    }
    drop(
        client
            .request("resources/read", json!({"uri": "file:///a"}))
            .await,
    );
    let calls = authority.calls().into_iter();
    let questions = calls.filter_map(|call| match call {
        Call::Evaluate(request) => Some(request),
        _ => None,
    });
    let mut actions = BTreeSet::new();
    for question in questions {
        let actors: Vec<_> = question.actors.iter().map(Agent::as_str).collect();
        assert_eq!(actors, ["helper"], "{question:?}");
        actions.insert(question.action_type);
    }
    assert!(
        actions.contains("mcp.shop.pay") && actions.len() > 1,
        "{actions:?}"
    );
}
