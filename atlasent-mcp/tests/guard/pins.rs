//! A tool that changes after it was seen.

use atlasent_mcp::guard::pins::Pins;
use serde_json::json;

use super::support::{Stage, allowing};

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

    // As `atlasent guard accept` does, in another process.
    let pins = Pins::open(&stage.folder.path().join("pins"), "fake").unwrap();
    for (name, pin) in pins.changed() {
        let sha256 = pin.changed.unwrap().sha256;
        assert!(pins.accept(&name, &sha256, jiff::Timestamp::now()).unwrap());
    }
    assert_eq!(
        client.call(3, "write").await["result"]["content"][0]["text"],
        "done"
    );
    let list = client.request(4, "tools/list", json!({})).await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 2);
    assert_eq!(stage.runs(), 2);
}
