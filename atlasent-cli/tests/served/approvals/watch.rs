//! `approvals watch`: prints what waits and each change, through restarts of the server.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::super::process::{Server, atlasent};
use super::Served;

#[test]
fn a_watcher_sees_what_waits_and_each_change() {
    let served = Served::start(&[]);
    let [alice, bob, _] = &served.approvers;
    let id = served.ask()["escalation_id"].as_str().unwrap().to_owned();
    let mut command = served.command(alice, &["approvals", "watch", "--json"]);
    let mut watcher = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut changes = lines.map(|line| {
        let change: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let approved = change["quorum_progress"]["approved"].as_u64().unwrap();
        (change["id"].clone(), change["status"].clone(), approved)
    });
    let waits = |status: &str, approved| (json!(id), json!(status), approved);
    assert_eq!(
        changes.next(),
        Some(waits("pending", 0)),
        "what waited before"
    );
    served.ok(alice, &["approvals", "approve", &id]);
    assert_eq!(changes.next(), Some(waits("pending", 1)));
    served.ok(bob, &["approvals", "approve", &id]);
    assert_eq!(changes.next(), Some(waits("approved", 2)));
    let other = json!({"action_type": "deploy", "actor_id": "other-bot"});
    let opened = served.post("/v1-evaluate", &other);
    let opened = (opened["escalation_id"].clone(), json!("pending"), 0);
    assert_eq!(changes.next(), Some(opened));
    // A watcher runs until it is interrupted, or its output is closed.
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}

#[test]
fn a_watcher_outlives_a_restart_of_its_server() {
    let served = Served::start(&[]);
    let first = served.ask()["escalation_id"].clone();
    let alice = served.approvers[0].clone();
    let mut command = served.command(&alice, &["approvals", "watch", "--json"]);
    let mut watcher = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let mut ids = lines.map(|line| {
        let change: Value = serde_json::from_str(&line.unwrap()).unwrap();
        change["id"].clone()
    });
    assert_eq!(ids.next().as_ref(), Some(&first));

    let Served {
        server,
        data,
        agent,
        approvers,
    } = served;
    let address = server.address.to_string();
    assert!(server.stop().0.success());
    let mut warnings = BufReader::new(watcher.stderr.take().unwrap()).lines();
    let warning = warnings.next().unwrap().unwrap();
    assert!(
        warning.contains(&address) && warning.contains("the next try is in 2 seconds"),
        "{warning}"
    );
    let mut command = atlasent();
    command.args(["serve", "--listen", &address, "--data-dir"]);
    command.arg(data.path());
    let server = Server::run(command);
    let served = Served {
        server,
        data,
        agent,
        approvers,
    };
    let other = json!({"action_type": "deploy", "actor_id": "other-bot"});
    let opened = served.post("/v1-evaluate", &other)["escalation_id"].clone();
    assert_eq!(
        ids.next(),
        Some(opened),
        "what was printed is not printed again"
    );
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}
