//! A tool that changes after it was seen.

use std::sync::Arc;

use atlasent_mcp::guard::pins::Pins;
use serde_json::json;

use super::support::{Client, Stage, allowing};

#[tokio::test]
async fn a_tool_that_changed_is_hidden_and_refused_until_a_person_accepts_it() {
    let stage = Stage::new("changes");
    let mut client = stage.client(allowing());
    client.initialize().await;
    assert_eq!(
        client.call(1, "write").await["result"]["content"][0]["text"],
        "done"
    );
    drop(client);

    std::fs::write(stage.folder.path().join("log.changed"), "").unwrap();
    let mut client = stage.client(allowing());
    client.initialize().await;
    let list = client.request(1, "tools/list", json!({})).await;
    assert_eq!(list["result"]["tools"], json!([]), "{list}");
    let refused = client.call(2, "write").await;
    assert_eq!(
        refused["result"]["structuredContent"]["code"], "TOOL_CHANGED",
        "{refused}"
    );
    assert_eq!(stage.runs(), 1);

    accept_all(&stage);
    assert_eq!(
        client.call(3, "write").await["result"]["content"][0]["text"],
        "done"
    );
    let list = client.request(4, "tools/list", json!({})).await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 2);
    assert_eq!(stage.runs(), 2);
}

/// Accepts all changes, as `atlasent guard accept` does in another process.
fn accept_all(stage: &Stage) {
    let pins = Pins::open(&stage.folder.path().join("pins"), "fake").unwrap();
    for (name, pin) in pins.changed() {
        let sha256 = pin.changed.unwrap().sha256;
        assert!(pins.accept(&name, &sha256, jiff::Timestamp::now()).unwrap());
    }
}

#[tokio::test]
async fn a_tool_is_compared_with_its_pin_in_each_session_separately() {
    let stage = Stage::new("changes-at-start");
    let guard = stage.guard(allowing());
    let mut old = Client::start(Arc::clone(&guard), stage.upstream());
    old.initialize().await;
    let done = old.call(1, "write").await;
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");

    std::fs::write(stage.folder.path().join("log.changed"), "").unwrap();
    let mut new = Client::start(guard, stage.upstream());
    new.initialize().await;
    let refused = new.call(1, "write").await;
    let code = |answer: &serde_json::Value| answer["result"]["structuredContent"]["code"].clone();
    assert_eq!(code(&refused), "TOOL_CHANGED", "{refused}");
    // The server of the old session lists what is recorded.
    let list = old.request(2, "tools/list", json!({})).await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 2);
    let done = old.call(3, "write").await;
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    let refused = new.call(2, "write").await;
    assert_eq!(code(&refused), "TOOL_CHANGED", "{refused}");
    assert_eq!(stage.runs(), 2);

    accept_all(&stage);
    let done = new.call(3, "write").await;
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    // Now the old session has the definition that nobody accepted.
    let refused = old.call(4, "write").await;
    assert_eq!(code(&refused), "TOOL_CHANGED", "{refused}");
    let list = old.request(5, "tools/list", json!({})).await;
    assert_eq!(list["result"]["tools"], json!([]), "{list}");
    assert_eq!(stage.runs(), 3);
}
