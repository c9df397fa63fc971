//! Faults of the server, the authority and the client, at each message.

use std::time::Duration;

use atlasent::error::Code;
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::Verification;
use atlasent_mcp::guard::message::MAX_MESSAGE_BYTES;
use serde_json::json;

use super::support::{PATIENCE, Stage, allowing, holding};

#[tokio::test]
async fn a_server_that_dies_leaves_no_request_unanswered() {
    for (fault, runs) in [
        ("dies-at:initialize", 0),
        ("dies-at:tools/list", 0),
        ("dies-at:tools/call", 0),
        ("dies-after-call", 1),
    ] {
        let stage = Stage::new(fault);
        let mut client = stage.client(allowing());
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
        let first = client.request(0, "initialize", params).await;
        if first.get("error").is_none() {
            let response = client.call(1, "write").await;
            assert!(response["error"].is_object(), "{fault}: {response}");
        }
        let ended = tokio::time::timeout(PATIENCE, &mut client.serving)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(ended.unwrap().code(), Some(7), "{fault}");
        assert_eq!(stage.runs(), runs, "{fault}");
    }
}

#[tokio::test]
async fn an_authority_that_fails_runs_nothing() {
    let write = "mcp.fake.write";
    let failed = || Verification::refuse(None, "no");
    let failing: [MockAuthority; 9] = [
        MockAuthority::new(),
        MockAuthority::new().on_evaluate(write, Reply::Fail(Code::Timeout)),
        MockAuthority::new().on_evaluate(write, Reply::Panic),
        MockAuthority::new().on_verify(write, Reply::Answer(failed())),
        MockAuthority::new().on_verify(write, Reply::Fail(Code::Network)),
        MockAuthority::new().on_verify(write, Reply::Panic),
        MockAuthority::new().deny("mcp.fake.write", "no"),
        MockAuthority::new().hold("mcp.fake.write", "later"),
        MockAuthority::new().escalate("mcp.fake.write", "later"),
    ];
    for authority in failing {
        let stage = Stage::new("");
        let mut client = stage.client(authority);
        client.initialize().await;
        let response = client.call(1, "write").await;
        let is_refused = response["result"]["isError"] == true || response["error"].is_object();
        assert!(is_refused, "{response}");
        client.request(2, "ping", json!({})).await;
        assert_eq!(stage.runs(), 0);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_waiting_calls_with_it() {
    let stage = Stage::new("");
    let mut client = stage.client(holding(Duration::from_secs(4)));
    client.initialize().await;
    let call = json!({"name": "write", "arguments": {"path": "/a"}});
    client
        .send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
        .await;
    client.request(2, "ping", json!({})).await;
    client.serving.abort();
    drop(client);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_not_believed() {
    let stage = Stage::new("garbage");
    let mut client = stage.client(allowing());
    client.initialize().await;
    // The server repeats `result`, and sends another answer later.
    let told = client.call(1, "write").await;
    let why = told["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("`result` is repeated"), "{told}");
    client.hears_nothing().await;
    let stage = Stage::new("answers-others");
    let mut client = stage.client(allowing());
    client.initialize().await;
    assert_eq!(
        client.call(1, "write").await["result"]["content"][0]["text"],
        "done"
    );
    client.hears_nothing().await;
}

#[tokio::test]
async fn a_response_that_is_too_long_is_an_error_of_its_request_alone() {
    let stage = Stage::new("silent");
    let text = "x".repeat(MAX_MESSAGE_BYTES);
    let result = json!({"content": [{"type": "text", "text": text}], "id": 2});
    stage.says(&[json!({"jsonrpc": "2.0", "id": 1, "result": result})]);
    let mut client = stage.client(allowing());
    client.initialize().await;
    let told = client.call(1, "write").await;
    let why = told["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("more than 16777216 bytes"), "{told}");
    assert_eq!(stage.runs(), 1);
    client.request(2, "ping", json!({})).await;
}

#[tokio::test]
async fn tools_that_cannot_be_told_apart_are_not_called() {
    for fault in ["repeats-a-tool", "ambiguous-list"] {
        let stage = Stage::new(fault);
        let mut client = stage.client(allowing());
        client.initialize().await;
        let response = client.call(1, "write").await;
        assert!(response["error"].is_object(), "{fault}: {response}");
        assert_eq!(stage.runs(), 0);
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_ends_the_server() {
    let stage = Stage::new("");
    let mut client = stage.client(allowing());
    client.initialize().await;
    client.call(1, "read").await;
    let serving = client.close();
    let ended = tokio::time::timeout(PATIENCE, serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        ended, None,
        "the client ended the session, so the server's exit code says nothing"
    );
}
