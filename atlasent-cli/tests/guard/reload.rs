//! Policies that change while a guard runs.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::support::{Piped, Stage, counting_server};

const NOTHING: &str = r#"permit (principal, action == Action::"other", resource);"#;
const WRITE: &str = r#"permit (principal, action == Action::"mcp.fake.write", resource);"#;

/// Writes the policies with their manifest, so that they are taken without waiting for more files.
fn put(stage: &Stage, policies: &str) {
    fs::write(stage.path("policies/guard.cedar"), policies).unwrap();
    let digest = base16ct::lower::encode_string(&Sha256::digest(policies));
    let manifest = format!("{digest}  guard.cedar\n");
    fs::write(stage.path("policies/policies.sha256"), manifest).unwrap();
}

#[test]
fn a_guard_on_policies_of_its_machine_takes_changed_ones_and_tells_its_client() {
    let stage = Stage::new(NOTHING);
    put(&stage, NOTHING);
    let server = counting_server(&stage.path("log"), "static-tools");
    let mut guard = Piped::start(&[stage.guard("fake"), server].concat());
    let client = json!({"name": "t", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let response = guard.request(0, "initialize", &params);
    let tools = &response["result"]["capabilities"]["tools"];
    assert_eq!(tools["listChanged"], true, "{response}");
    let listed = guard.request(1, "tools/list", &json!({}));
    assert_eq!(listed["result"]["tools"], json!([]));
    let refused = guard.call(2, "write", &json!({"path": "/a"}));
    assert_eq!(refused["result"]["isError"], true, "{refused}");

    put(&stage, WRITE);
    let begun = Instant::now();
    let mut is_told = false;
    for id in 3.. {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing changed");
        let params = json!({"name": "write", "arguments": {"path": "/a"}});
        guard.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
        let mut message = guard.next().unwrap();
        while message["id"] != id {
            is_told |= message["method"] == "notifications/tools/list_changed";
            message = guard.next().unwrap();
        }
        if message["result"]["isError"] != true && is_told {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let listed = guard.request(-1, "tools/list", &json!({}));
    assert_eq!(listed["result"]["tools"][0]["name"], "write", "{listed}");
}
