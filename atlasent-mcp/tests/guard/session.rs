//! Requests in both directions, cancellation, progress, and lists.

use std::sync::Arc;
use std::time::Duration;

use atlasent::error::Code;
use atlasent::testing::{MockAuthority, Reply};
use atlasent_mcp::guard::paths::PathRules;
use serde_json::{Value, json};

use super::support::{Client, Stage, allowing, holding};

#[tokio::test]
async fn only_what_is_allowed_runs_and_only_that_is_listed() {
    let stage = Stage::new("");
    let mut client = stage.client(MockAuthority::new().allow("mcp.fake.read"));
    client.initialize().await;
    let list = client.request(1, "tools/list", json!({})).await;
    let names: Vec<_> = list["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| &tool["name"])
        .collect();
    assert_eq!(names, ["read"]);
    let refused = client.call(2, "write").await;
    assert_eq!(refused["result"]["isError"], true);
    assert_eq!(refused["result"]["structuredContent"]["decision"], "deny");
    assert_eq!(stage.runs(), 0);
    let allowed = client.call(3, "read").await;
    assert_eq!(allowed["result"]["content"][0]["text"], "done");
    assert_eq!(stage.runs(), 1);
}

#[tokio::test]
async fn a_refused_call_that_was_sent_as_a_task_gets_an_error_that_its_client_can_read() {
    let stage = Stage::new("");
    let authority = MockAuthority::new()
        .deny("mcp.fake.write", "no")
        .hold("mcp.fake.read", "ask a person");
    let mut client = stage.client(authority);
    client.initialize().await;
    for (tool, decision) in [("write", "deny"), ("read", "hold")] {
        let mut params = json!({"name": tool, "arguments": {"path": "/a"}});
        let call = client.request(1, "tools/call", params.clone()).await;
        params["task"] = json!({"ttl": 60_000});
        let task = client.request(2, "tools/call", params).await;
        let data = &task["error"]["data"];
        assert_eq!(data["decision"], decision, "{task}");
        assert_eq!(*data, call["result"]["structuredContent"], "{task}");
    }
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_tool_that_cannot_be_asked_about_hides_no_other_tool() {
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    // The name of an action has at most 256 characters.
    let long = "x".repeat(300);
    for (other, authority) in [
        (&*long, allowing()),
        (
            "odd",
            allowing().on_evaluate("mcp.fake.odd", Reply::Fail(Code::BadRequest)),
        ),
    ] {
        let stage = Stage::new("");
        let tools = [tool("write"), tool(other)];
        stage.answers(&json!({"tools/list": {"result": {"tools": tools}}}));
        let mut client = stage.client(authority);
        client.initialize().await;
        let list = client.request(1, "tools/list", json!({})).await;
        let shown = &list["result"]["tools"];
        assert_eq!(*shown, json!([tool("write")]), "{list}");
        let refused = client.call(2, other).await;
        assert_eq!(refused["result"]["isError"], true, "{refused}");
        assert!(!stage.noted("RAN ").iter().any(|line| line.contains(other)));
    }
}

#[tokio::test]
async fn a_held_call_waits_with_progress_and_runs_after_the_approval() {
    let stage = Stage::new("");
    let mut client = stage.client(holding(Duration::from_millis(100)));
    client.initialize().await;
    let params =
        json!({"name": "write", "arguments": {"path": "/a"}, "_meta": {"progressToken": "p"}});
    client
        .send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        .await;
    let progress = client.next().await;
    assert_eq!(progress["params"]["progressToken"], "p", "{progress}");
    assert_eq!(stage.runs(), 0);
    loop {
        let message = client.next().await;
        if message["id"] == 1 {
            assert_eq!(message["result"]["content"][0]["text"], "done");
            break;
        }
    }
    assert_eq!(stage.runs(), 1);
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_waits_never_runs() {
    let stage = Stage::new("");
    let mut client = stage.client(holding(Duration::from_millis(300)));
    client.initialize().await;
    let call = json!({"name": "write", "arguments": {"path": "/a"}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call});
    client.send_json(&call).await;
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.hears_nothing().await;
    // The id stays taken: an answer that is late must not become that of another request.
    client.send_json(&call).await;
    assert!(client.next().await["error"].is_object());
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn a_cancellation_of_a_running_call_reaches_the_server() {
    let stage = Stage::new("silent");
    let mut client = stage.client(allowing());
    client.initialize().await;
    let call = json!({"name": "write", "arguments": {"path": "/a"}});
    client
        .send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
        .await;
    while stage.runs() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    client.request(2, "ping", json!({})).await;
    assert!(
        stage
            .noted("got ")
            .iter()
            .any(|line| line.contains("cancelled"))
    );
}

#[tokio::test]
async fn what_was_sent_before_the_input_ended_is_answered_by_a_server_that_starts_slowly() {
    let stage = Stage::new("pause@initialize");
    let mut client = stage.client(allowing());
    let params = json!({"name": "write", "arguments": {"path": "/a"}});
    for message in [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}),
    ] {
        client.send_json(&message).await;
    }
    client.end_input().await;
    // Longer than the requests of a client that is gone may run.
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.go_on();
    assert_eq!(client.next().await["id"], 0);
    let answer = client.next().await;
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    assert_eq!(stage.runs(), 1);
    // The server gets the messages in the client's order, and the guard's own list is no earlier.
    let got = stage.noted("got ");
    let methods = [
        "initialize",
        "notifications/initialized",
        "tools/list",
        "tools/call",
    ];
    assert_eq!(got.len(), methods.len(), "{got:?}");
    for (line, method) in got.iter().zip(methods) {
        assert!(line.contains(&format!("\"{method}\"")), "{got:?}");
    }
}

#[tokio::test]
async fn what_waits_for_initialize_is_answered_when_the_server_ends() {
    let stage = Stage::new("close@initialize");
    let mut client = stage.client(allowing());
    for (id, method) in [(0, "initialize"), (1, "tools/list"), (2, "ping")] {
        let params = json!({"protocolVersion": "2025-11-25"});
        client
            .send_json(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
    }
    let mut answered = Vec::new();
    for _ in 0..3 {
        let answer = client.next().await;
        assert!(answer.get("error").is_some(), "{answer}");
        answered.push(answer["id"].as_i64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, [0, 1, 2]);
}

#[tokio::test]
async fn a_request_that_is_open_when_the_session_ends_is_answered() {
    let stage = Stage::new("silent");
    let mut client = stage.client(allowing());
    client.initialize().await;
    let call = json!({"name": "write", "arguments": {"path": "/a"}});
    client
        .send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
        .await;
    client.end_input().await;
    let told = client.next().await;
    assert_eq!(told["id"], 1, "{told}");
    let why = told["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains("the session ended"), "{told}");
    assert_eq!(stage.runs(), 1);
}

#[tokio::test]
async fn two_requests_cannot_have_one_id() {
    let stage = Stage::new("silent");
    let mut client = stage.client(allowing());
    client.initialize().await;
    let call = json!({"name": "write", "arguments": {"path": "/a"}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call});
    client.send_json(&call).await;
    client.send_json(&call).await;
    let refused = client.next().await;
    assert!(
        refused["error"].is_object() && refused["id"].is_null(),
        "{refused}"
    );
    client.request(2, "ping", json!({})).await;
    assert!(stage.runs() <= 1);
}

#[tokio::test]
async fn progress_of_the_server_is_passed_on() {
    let stage = Stage::new("progress");
    let mut client = stage.client(allowing());
    client.initialize().await;
    let params =
        json!({"name": "write", "arguments": {"path": "/a"}, "_meta": {"progressToken": 7}});
    client
        .send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
        .await;
    assert_eq!(client.next().await["params"]["progressToken"], 7);
    assert_eq!(client.next().await["id"], 1);
}

#[tokio::test]
async fn requests_of_the_server_need_a_permit_too() {
    for is_allowed in [true, false] {
        let stage = Stage::new("samples");
        let authority = match is_allowed {
            true => allowing().allow("mcp.fake:sampling/createMessage"),
            false => allowing(),
        };
        let mut client = stage.client(authority);
        client.initialize().await;
        let call = json!({"name": "write", "arguments": {"path": "/a"}});
        client
            .send_json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}))
            .await;
        let mut seen = vec![client.next().await];
        if is_allowed {
            seen.push(client.next().await);
        } else {
            client.hears_nothing().await;
        }
        let sampled = seen
            .iter()
            .filter(|message| message["method"] == "sampling/createMessage")
            .count();
        assert_eq!(sampled, usize::from(is_allowed), "{seen:?}");
        if is_allowed {
            client
                .send(r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"assistant"}}"#)
                .await;
            // A second answer is to nothing.
            client
                .send(r#"{"jsonrpc":"2.0","id":"s1","result":{"role":"evil"}}"#)
                .await;
        }
        client.request(2, "ping", json!({})).await;
        let answers = stage
            .noted("got ")
            .into_iter()
            .filter(|line| line.contains("s1"));
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(answers[0].contains("assistant"), is_allowed, "{answers:?}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_mapped_is_refused() {
    let stage = Stage::new("");
    let mut client = stage.client(allowing());
    client.initialize().await;
    let refused = client
        .request(1, "acme/deploy", json!({"name": "write"}))
        .await;
    assert!(refused["error"].is_object(), "{refused}");
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/acme","params":{}}"#)
        .await;
    client.request(2, "ping", json!({})).await;
    assert!(!stage.noted("").join("").contains("acme"));
}

#[tokio::test]
async fn clients_are_told_when_the_policies_change_and_only_if_that_is_known() {
    for is_known in [true, false] {
        let stage = Stage::new("static-tools");
        let guard = stage.new_guard(allowing());
        let guard = Arc::new(match is_known {
            true => guard.announcing_lists(),
            false => guard,
        });
        let mut client = Client::start(Arc::clone(&guard), stage.upstream());
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
        let response = client.request(0, "initialize", params).await;
        let server = json!({
            "protocolVersion": "2025-11-25", "serverInfo": {"name": "fake", "version": "1"},
            "capabilities": {"tools": if is_known { json!({"listChanged": true}) } else { json!({}) }},
        });
        assert_eq!(response["result"], server);
        client.request(1, "ping", json!({})).await;
        guard.gate().lists_changed();
        if is_known {
            // The server has no prompts and no resources.
            let told = client.next().await;
            assert_eq!(told["method"], "notifications/tools/list_changed");
        }
        client.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_server_that_writes_escapes_has_its_lists_announced_too() {
    let stage = Stage::new("");
    // Python writes the name with `\u00e9`, and the guard checks such a result more closely.
    let server = |tools: Value| {
        json!({
            "protocolVersion": "2025-11-25", "serverInfo": {"name": "caf\u{e9}", "version": "1"},
            "capabilities": {"tools": tools},
        })
    };
    stage.answers(&json!({"initialize": {"result": server(json!({}))}}));
    let guard = Arc::new(stage.new_guard(allowing()).announcing_lists());
    let mut client = Client::start(Arc::clone(&guard), stage.upstream());
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let response = client.request(0, "initialize", params).await;
    assert_eq!(response["result"], server(json!({"listChanged": true})));
    client.request(1, "ping", json!({})).await;
    guard.gate().lists_changed();
    let told = client.next().await;
    assert_eq!(told["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn an_error_of_a_server_stays_an_error_when_lists_are_announced() {
    for message in ["no", "caf\u{e9}"] {
        let stage = Stage::new("");
        let error = json!({"code": 1, "message": message, "capabilities": {"tools": {}}});
        stage.answers(&json!({"initialize": {"error": error}}));
        let guard = Arc::new(stage.new_guard(allowing()).announcing_lists());
        let mut client = Client::start(guard, stage.upstream());
        let response = client.request(0, "initialize", json!({})).await;
        assert_eq!(response["error"], error, "{response}");
    }
}

#[tokio::test]
async fn a_path_rule_for_an_argument_that_no_tool_has_refuses_all_calls() {
    for (arguments, runs) in [(&["path"][..], 1), (&["path", "paht"], 0)] {
        let stage = Stage::new("");
        let root = stage.folder.path().canonicalize().unwrap();
        let rules = PathRules::new(&root, arguments.iter().copied()).unwrap();
        let guard = Arc::new(stage.new_guard(allowing()).with_paths(rules));
        let mut client = Client::start(guard, stage.upstream());
        client.initialize().await;
        let params = json!({"name": "write", "arguments": {"path": root}});
        let answer = client.request(1, "tools/call", params).await;
        assert_eq!(answer.get("error").is_some(), runs == 0, "{answer}");
        assert_eq!(stage.runs(), runs, "{answer}");
        let list = client.request(2, "tools/list", json!({})).await;
        assert_eq!(list.get("error").is_some(), runs == 0, "{list}");
    }
}
