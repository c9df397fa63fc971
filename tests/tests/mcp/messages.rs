//! Tests each method of the protocol, and messages that try to pass as others.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent_mcp::{Mapping, Rule};
use serde_json::{Value, json};

use crate::support::{connect, deploys, gate, local, shop};

const EVERYTHING: &str = "permit (principal, action, resource);";

/// The requests that need a permit, and what reaches the server.
fn requests() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "tools/call",
            json!({"name": "echo", "arguments": {"a": 1}}),
            "echo",
        ),
        (
            "tools/call",
            json!({"name": "echo", "task": {"ttl": 1000}}),
            "echo",
        ),
        ("tools/call", json!({"name": "task"}), "task"),
        ("prompts/get", json!({"name": "review"}), "review"),
        ("resources/read", json!({"uri": "file:///a"}), "read"),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "review"}, "argument": {"name": "a", "value": ""}}),
            "complete",
        ),
        ("tasks/get", json!({"taskId": "task-1"}), "get_task"),
        ("tasks/cancel", json!({"taskId": "task-1"}), "cancel_task"),
        ("tasks/result", json!({"taskId": "task-1"}), "tasks/result"),
        ("tasks/list", json!({}), "tasks/list"),
    ]
}

#[tokio::test]
async fn every_request_that_does_something_needs_a_permit() {
    for (method, params, what) in requests() {
        let (mut client, reached) = connect(shop(Arc::new(MockAuthority::new()))).await;
        match client.request(method, params.clone()).await {
            Ok(result) => assert_eq!(result["isError"], json!(true), "{method}"),
            Err(error) => assert_eq!(error["data"]["decision"], json!("deny"), "{method}"),
        }
        assert_eq!(reached.count(), 0, "{method}");

        let (mut client, reached) = connect(shop(local(EVERYTHING))).await;
        let _ = client.request(method, params).await;
        let all = reached.all();
        assert_eq!(all.len(), 1, "{method}");
        assert_eq!(all[0].0, what);
    }
}

#[tokio::test]
async fn an_unmapped_operation_is_refused_whatever_the_policies_say() {
    let closed = || Mapping::closed("shop").unwrap().tool("echo", Rule::new());
    for (method, params, what) in requests() {
        let (mut client, reached) = connect(gate(local(EVERYTHING), closed())).await;
        let result = client.request(method, params).await;
        let expected = usize::from(what == "echo");
        assert_eq!(reached.count(), expected, "{method}: {result:?}");
    }
    let (mut client, reached) = connect(shop(local(EVERYTHING))).await;
    for method in [
        "acme/deploy",
        "tools/Call",
        "tools/call/",
        "sampling/createMessage",
        "roots/list",
    ] {
        assert!(
            client
                .request(method, json!({"name": "echo"}))
                .await
                .is_err(),
            "{method}"
        );
    }
    assert_eq!(reached.count(), 0);
}

#[tokio::test]
async fn a_method_that_only_the_server_knows_runs_when_it_is_mapped() {
    let mapping = deploys().method("acme/deploy", Rule::new().resource("to"));
    let policy = r#"permit (principal, action == Action::"mcp.shop:acme/deploy", resource == Resource::"test");"#;
    let (mut client, reached) = connect(gate(local(policy), mapping)).await;
    assert!(
        client
            .request("acme/deploy", json!({"to": "prod"}))
            .await
            .is_err()
    );
    assert!(
        client
            .request("acme/deploy", json!({"to": ["test"]}))
            .await
            .is_err()
    );
    assert_eq!(reached.count(), 0);
    client
        .request("acme/deploy", json!({"to": "test"}))
        .await
        .unwrap();
    assert_eq!(
        reached.all(),
        [("acme/deploy".to_owned(), json!({"to": "test"}))]
    );
}

#[tokio::test]
async fn no_text_passes_as_another_message() {
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{params}}}"#)
    };
    for text in [
        // Members that stand twice, for readers that take the first or the last.
        call(r#"{"name":"deploy","name":"echo"}"#),
        call(r#"{"name":"echo","arguments":{},"name":"deploy"}"#),
        call(r#"{"name":"deploy","arguments":{},"arguments":{"a":1}}"#),
        // Members of another type or case.
        call(r#"{"name":["deploy"]}"#),
        call(r#"{"Name":"deploy"}"#),
        call(r#"["deploy",{}]"#),
        call(r#""deploy""#),
        call(r#"{"name":"deploy","arguments":"{}"}"#),
        call(r#"{"name":"deploy","arguments":[]}"#),
        // A call without an id, as a notification.
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"deploy"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"resources/read","params":{"uri":"file:///a"}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"acme/deploy","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"notifications/run","params":{"name":"deploy"}}"#.to_owned(),
        // A batch.
        format!("[{}]", call(r#"{"name":"deploy"}"#)),
    ] {
        let (mut client, reached) = connect(shop(local(EVERYTHING))).await;
        client.send(&text).await;
        client.settle().await;
        assert_eq!(reached.count(), 0, "{text}");
    }
}

#[tokio::test]
async fn messages_of_the_connection_need_no_permit() {
    let (mut client, reached) = connect(shop(Arc::new(MockAuthority::new()))).await;
    client.request("ping", json!({})).await.unwrap();
    for method in [
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ] {
        client.request(method, json!({})).await.unwrap();
    }
    assert_eq!(reached.count(), 0);
}

#[tokio::test]
async fn how_a_call_ended_is_recorded_with_the_hash_of_its_result() {
    use atlasent::wire::ReceiptOutcome;

    let authority = Arc::new(
        MockAuthority::new()
            .allow("mcp.shop.echo")
            .allow("mcp.shop.fails")
            .allow("mcp.shop:tasks/get"),
    );
    let (mut client, _) = connect(shop(authority.clone())).await;
    client.call("echo", json!({"a": 1})).await.unwrap();
    client.call("fails", json!({})).await.unwrap();
    let _ = client
        .request("tasks/get", json!({"taskId": "task-1"}))
        .await;
    let receipts = authority.receipts();
    let outcomes: Vec<_> = receipts.iter().map(|receipt| receipt.outcome).collect();
    assert_eq!(
        outcomes,
        [
            ReceiptOutcome::Completed,
            ReceiptOutcome::Failed,
            ReceiptOutcome::Failed
        ]
    );
    assert!(receipts[0].result_hash.is_some());
}
