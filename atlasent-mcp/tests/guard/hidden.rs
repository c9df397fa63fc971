//! Arguments that the token of a caller does not grant: no list shows them, also while the guard
//! cannot use the tools of the server.

use std::sync::Arc;

use atlasent_mcp::guard::Guard;
use atlasent_mcp::guard::pins::Pins;
use atlasent_mcp::schema::Requirement;
use atlasent_mcp::{Gate, Mapping, Rule};
use serde_json::{Value, json};

use super::support::{Client, Stage, allowing};

/// A tool with two arguments that no caller of these tests may set: the settings hide `force`, and
/// the server itself hides `secret_mode`.
fn tool(name: &str) -> Value {
    let hidden = json!({"type": "boolean", "x-atlasent-requires": "tool:fake:secret"});
    let properties = json!({
        "path": {"type": "string"},
        "force": {"type": "boolean"},
        "secret_mode": hidden,
    });
    json!({"name": name, "inputSchema": {"type": "object", "properties": properties}})
}

/// Settings that hide the argument `force` of `write`.
fn hiding_force() -> Mapping {
    let force = Requirement::Scope("tool:fake:force".to_owned());
    let rule = Rule::new().require("force", force);
    Mapping::standard("fake").unwrap().tool("write", rule)
}

/// Starts a guard and its client. The server lists these tools.
fn client(stage: &Stage, tools: &[Value], mapping: Mapping) -> Client {
    stage.answers(&json!({"tools/list": {"result": {"tools": tools}}}));
    let gate = Gate::builder(Arc::new(allowing()), mapping).build();
    let pins = Pins::open(&stage.folder.path().join("pins"), "fake").unwrap();
    Client::start(Arc::new(Guard::new(gate, pins)), stage.upstream())
}

fn assert_hidden(list: &Value) {
    let text = list.to_string();
    let is_shown = text.contains("force") || text.contains("secret_mode");
    assert!(!is_shown, "{text}");
}

#[tokio::test]
async fn a_list_shows_no_hidden_argument_while_the_tools_cannot_be_used() {
    let (write, read) = (tool("write"), tool("read"));
    let no_tool = hiding_force().tool("gone", Rule::new());
    for (tools, mapping, is_usable) in [
        (vec![write.clone()], hiding_force(), true),
        // A setting fits no tool.
        (vec![write.clone()], no_tool, false),
        // Two tools have one name.
        (vec![write, read.clone(), read], hiding_force(), false),
    ] {
        let stage = Stage::new("");
        let mut client = client(&stage, &tools, mapping);
        client.initialize().await;
        let list = client.request(1, "tools/list", json!({})).await;
        assert_eq!(list.get("result").is_some(), is_usable, "{list}");
        assert_hidden(&list);
        let params = json!({"name": "write", "arguments": {"path": "/a", "force": true}});
        let refused = client.request(2, "tools/call", params).await;
        let is_refused = refused["result"]["isError"] == true || refused["error"].is_object();
        assert!(is_refused, "{refused}");
        assert!(!stage.noted("RAN ").contains(&"RAN write".to_owned()));
    }
}

#[tokio::test]
async fn a_list_shows_no_hidden_argument_after_the_guard_could_not_list_the_tools() {
    let stage = Stage::new("error-once@tools/list");
    let mut client = client(&stage, &[tool("write")], hiding_force());
    client.initialize().await;
    // The server refuses the list of the guard, and answers that of the client.
    let refused = client.request(1, "tools/list", json!({})).await;
    let data = &refused["error"]["data"];
    assert_eq!(data["code"], "TOOLS_UNKNOWN", "{refused}");
    assert_hidden(&refused);
    let list = client.request(2, "tools/list", json!({})).await;
    let shown = &list["result"]["tools"][0];
    assert_eq!(shown["name"], "write", "{list}");
    assert_eq!(
        shown["inputSchema"]["properties"],
        json!({"path": {"type": "string"}})
    );
}

#[tokio::test]
async fn a_client_reads_why_the_server_does_not_list_its_tools() {
    let stage = Stage::new("");
    let mut client = client(&stage, &[], Mapping::standard("fake").unwrap());
    let error = json!({"code": -32_001, "message": "sign in first"});
    stage.answers(&json!({"tools/list": {"error": error}}));
    client.initialize().await;
    let told = client.request(1, "tools/list", json!({})).await;
    assert_eq!(told["error"], error, "{told}");
}
