//! A full disk: every answered decision is stored, and decisions resume when there is space again.

use std::process::Command;

use atlasent::audit::{ChainVerifier, Event};
use serde_json::{Value, json};

use super::http::{Answer, Connection};
use super::process::{KEY, Server, atlasent};

fn decide(server: &mut Connection) -> Answer {
    let request = json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "4f2a9c1", "replicas": 3 }
    });
    server.post("/v1-evaluate", &request).unwrap()
}

/// Limits the size of the server's files, in bytes, which simulates a full disk.
fn limit(server: &Server, bytes: &str) {
    let pid = server.id().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={bytes}:")])
        .status();
    assert!(set.unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_refusal_until_there_is_room_again() {
    let data = tempfile::tempdir().unwrap();
    // With SIGXFSZ ignored, a file that reaches its limit fails with an error, like a full disk.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(atlasent().get_program())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--api-key-env",
            "KEY",
            "--log-level",
            "error",
        ])
        .arg("--data-dir")
        .arg(data.path())
        .env("KEY", KEY)
        .stderr(std::process::Stdio::piped());
    let server = Server::run(command);
    let mut connection = server.connect();
    let size = std::fs::metadata(data.path().join("authority.redb"))
        .unwrap()
        .len();
    limit(&server, &(size + 64 * 1024).to_string());

    let mut acknowledged = Vec::new();
    let refused = loop {
        let answer = decide(&mut connection);
        match answer.status {
            200 => acknowledged.push(answer.body["audit_hash"].clone()),
            _ => break answer,
        }
        assert!(acknowledged.len() < 10_000, "the limit does not hold");
    };
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (503, &json!("STORE_UNAVAILABLE"))
    );
    assert!(refused.body.get("permit_token").is_none());
    assert!(
        !refused.body.to_string().contains("authority.redb"),
        "{}",
        refused.body
    );
    // A small write may still fit. Each acknowledged event must be stored.
    for _ in 0..50 {
        let answer = decide(&mut connection);
        match answer.status {
            200 => acknowledged.push(answer.body["audit_hash"].clone()),
            status => assert_eq!(status, 503),
        }
    }

    limit(&server, "unlimited");
    let answer = decide(&mut connection);
    assert_eq!(answer.status, 200, "{}", answer.body);
    acknowledged.push(answer.body["audit_hash"].clone());
    let mut verifier = ChainVerifier::new();
    let (mut kept, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/v1-audit/events?limit=500&cursor=after_{after}");
        let page = connection.get(&path).unwrap().body;
        let events: Vec<Event> = serde_json::from_value(page["events"].clone()).unwrap();
        for event in events {
            verifier.push(&event);
            after = event.envelope.sequence;
            kept.push(Value::from(event.hash));
        }
        if page["next_cursor"].is_null() {
            break;
        }
    }
    let head = kept.last().and_then(Value::as_str);
    let report = verifier.finish(head, None);
    assert!(report.is_intact(), "{:?}", report.findings);
    assert!(
        acknowledged.iter().all(|hash| kept.contains(hash)),
        "an acknowledged event is missing"
    );
    let (_, log) = server.stop_and_read_log();
    assert!(log.contains("authority.redb"), "{log}");
}
