//! No text makes the server run a call that nobody decided on.

use serde_json::json;

use super::support::{Stage, allowing};

/// Texts that some readers take for a call of `write`, and that are refused as a whole.
const SMUGGLED: [&str; 24] = [
    r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}]"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"ping","\u006dethod":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a"},"arguments":{"path":"/b"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"/a","path":"/b"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"Method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","method":"ping","params":{"name":"write"}}"#,
    r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1e0,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":{"a":1},"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["write",{"path":"/a"}]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","result":{},"params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"notifications/x","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":true,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}} {}"#,
];

#[tokio::test]
async fn an_ambiguous_message_is_refused_and_never_reaches_the_server() {
    let stage = Stage::new("");
    let mut client = stage.client(allowing());
    client.initialize().await;
    for text in SMUGGLED {
        client.send(text).await;
        let answer = client.next().await;
        let is_refused = answer.get("error").is_some() || answer["result"]["isError"] == true;
        assert!(is_refused, "{text}: {answer}");
    }
    client.request(77, "ping", json!({})).await;
    assert_eq!(stage.runs(), 0);
    let log = stage.noted("").join("\n");
    assert!(!log.contains("write"), "{log}");
}

#[tokio::test]
async fn a_line_end_between_tokens_starts_no_line_of_the_server() {
    let stage = Stage::new("");
    // The authority allows the outer call and denies the inner one.
    let authority = atlasent::testing::MockAuthority::new().allow("mcp.fake.read");
    let mut client = stage.client(authority);
    client.initialize().await;
    let inner = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"write","arguments":{"path":"/a"}}}"#;
    let outer = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{{\"_meta\":\r{inner}\r}}}}"
    );
    client.send(&outer).await;
    assert_eq!(
        client.next().await,
        json!({"jsonrpc": "2.0", "id": 1, "result": {}})
    );
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn the_decided_message_is_forwarded_byte_for_byte() {
    let stage = Stage::new("");
    let mut client = stage.client(allowing());
    client.initialize().await;
    let call = r#"{"params" : {"arguments":{ "path":"\u002fa\/b"} , "name":"wr\u0069te"},"id":"x","method":"tools\/call","jsonrpc":"2.0"}"#;
    client.send(call).await;
    assert_eq!(client.next().await["id"], "x");
    assert!(stage.noted("got ").contains(&format!("got {call}")));
    assert_eq!(stage.noted("RAN "), ["RAN write"]);
}

#[tokio::test]
async fn arguments_that_do_not_fit_the_schema_are_refused_before_anybody_is_asked() {
    let stage = Stage::new("");
    let authority = std::sync::Arc::new(allowing());
    let mut client = stage.client(std::sync::Arc::clone(&authority));
    client.initialize().await;
    for arguments in [
        json!({}),
        json!({"path": 7}),
        json!({"path": "/a", "force": true}),
    ] {
        let params = json!({"name": "write", "arguments": arguments});
        let response = client.request(5, "tools/call", params).await;
        assert_eq!(response["result"]["isError"], true, "{response}");
    }
    let response = client.call(6, "no-such-tool").await;
    assert_eq!(response["result"]["isError"], true, "{response}");
    // Policies see the actors of a delegated token under this name.
    let params = json!({"name": "write", "arguments": {"path": "/a", "actors": ["boss"]}});
    let response = client.request(7, "tools/call", params).await;
    let text = response.to_string();
    assert!(
        text.contains("`actors`") && text.contains("delegated token"),
        "{response}"
    );
    assert!(authority.calls().is_empty());
    assert_eq!(stage.runs(), 0);
}
