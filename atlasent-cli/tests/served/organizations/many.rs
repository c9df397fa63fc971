//! A server with hundreds of organizations: its start, its reloads and its end.

use std::fs;

use atlasent_authority::organizations::Organization;
use serde_json::Value;

use super::support::*;
use crate::process::Server;

const MANY: usize = 200;

#[test]
fn hundreds_of_organizations_start_reload_and_end_with_their_heads_saved() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let folder = data.join("of-all");
    let orgs: Vec<_> = (0..MANY).map(|number| format!("org-{number:03}")).collect();
    let (mut keys, mut secrets, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for org in &orgs {
        let (key, secret) = new_key(org);
        keys.push(key);
        secrets.push(secret);
        records.push(Organization::new(id(org)));
        write_policies(&folder.join(org), ALLOW);
    }
    let write = |name: &str, text: Vec<u8>| fs::write(data.join(name), text).unwrap();
    write("keys.json", serde_json::to_vec(&keys).unwrap());
    write("organizations.json", serde_json::to_vec(&records).unwrap());
    let options = [
        "--log-level",
        "error",
        "--policy-settle",
        "1h",
        "--org-policies",
        folder.to_str().unwrap(),
    ];

    let server = Server::start(data, &options);
    let tokens: Vec<_> = secrets.iter().map(|key| token(&server, key)).collect();
    for org in &orgs {
        write_policies(&folder.join(org), DENY);
    }
    server.signal("HUP");
    for key in &secrets {
        let denied = until(&server, key, |answer| answer.body["decision"] == "deny");
        assert_eq!(denied.status, 200);
    }
    let (status, stdout) = server.stop();
    assert!(status.success());
    assert!(
        stdout.contains(&format!("{MANY} beside `local`")),
        "{stdout}"
    );

    let heads = data.join("heads");
    assert_eq!(names(&heads).len(), MANY);
    let server = Server::start(data, &options);
    for ((org, key), token) in orgs.iter().zip(&secrets).zip(tokens) {
        let head = fs::read(heads.join(format!("{org}.json"))).unwrap();
        let head: Value = serde_json::from_slice(&head).unwrap();
        let page = connect(&server, key).get("/v1-audit/events?limit=100");
        let events = page.unwrap().body["events"].clone();
        let hashes = events
            .as_array()
            .unwrap()
            .iter()
            .map(|event| &event["hash"]);
        // The start adds an event, for the policies that it loads.
        assert_eq!(hashes.rev().nth(1).unwrap(), &head["hash"], "{org}");
        // The policies that granted the permit are not in force any more.
        let refused = verify(&server, key, &token);
        assert_eq!(refused.body["verify_error_code"], "POLICY_CHANGED");
    }
}
