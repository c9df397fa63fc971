//! A full disk: every answered decision of each organization is stored, and decisions resume when
//! there is space again.

use std::process::Command;

use serde_json::json;

use super::http::{Answer, Connection};
use super::organizations::support::create;
use super::process::{KEY, Server, atlasent};
use super::trail::Trail;

fn decide(server: &mut Connection) -> Answer {
    let request = json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "4f2a9c1", "replicas": 3 }
    });
    server.post("/v1-evaluate", &request).unwrap()
}

/// Decides, and keeps the hash of the event if it is acknowledged.
fn decide_once(server: &mut Connection, acknowledged: &mut Vec<String>) -> Answer {
    let answer = decide(server);
    if answer.status == 200 {
        acknowledged.push(answer.body["audit_hash"].as_str().unwrap().to_owned());
    }
    answer
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
    let acme = create(data.path(), "acme");
    let server = Server::run(command);
    let mut orgs = [("local", KEY), ("acme", &acme)].map(|(org, key)| {
        let connection = Connection::open(server.address, key).unwrap();
        (org, connection, Vec::new())
    });
    // The first use of an organization takes space, too.
    for (_, connection, acknowledged) in &mut orgs {
        assert_eq!(decide_once(connection, acknowledged).status, 200);
    }
    let size = std::fs::metadata(data.path().join("authority.redb"))
        .unwrap()
        .len();
    limit(&server, &(size + 64 * 1024).to_string());

    let refused = 'full: loop {
        for (_, connection, acknowledged) in &mut orgs {
            let answer = decide_once(connection, acknowledged);
            if answer.status != 200 {
                break 'full answer;
            }
            assert!(acknowledged.len() < 10_000, "the limit does not hold");
        }
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
    for _ in 0..25 {
        for (_, connection, acknowledged) in &mut orgs {
            let status = decide_once(connection, acknowledged).status;
            assert!(status == 200 || status == 503, "{status}");
        }
    }

    limit(&server, "unlimited");
    for (org, mut connection, mut acknowledged) in orgs {
        let answer = decide_once(&mut connection, &mut acknowledged);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let trail = Trail::read(org, &mut connection);
        assert!(
            acknowledged.iter().all(|hash| trail.hashes.contains(hash)),
            "an acknowledged event of `{org}` is missing"
        );
        trail.finish();
    }
    let (_, log) = server.stop_and_read_log();
    assert!(log.contains("authority.redb"), "{log}");
}
