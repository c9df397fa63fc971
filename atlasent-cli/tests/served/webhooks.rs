//! `--webhooks`: each notification arrives through kills, and the command verifies it.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use atlasent_tests::server::{Reply, Request, Server as Receiver};
use serde_json::{Value, json};

use super::process::{KEY, Server, atlasent};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn reason(request: &Request) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    body["data"]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn every_notification_arrives_in_order_through_kills_and_is_verified_by_the_command() {
    let receiver = Receiver::start(|_: &Request| {
        std::thread::sleep(Duration::from_millis(20));
        Reply::status(200)
    });
    let data = tempfile::tempdir().unwrap();
    let settings = data.path().join("webhooks.toml");
    let text = format!(
        "[[endpoint]]\nname = \"ops\"\nurl = \"{}\"\nsecrets = [{{ env = \"HOOK\" }}]\n\
         events = [\"stop.set\"]\ntimeout = \"1s\"\n",
        receiver.url()
    );
    fs::write(&settings, text).unwrap();
    let serve = || {
        let mut command = atlasent();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
            .arg("--data-dir")
            .arg(data.path())
            .arg("--webhooks")
            .arg(&settings)
            .env("KEY", KEY)
            .env("HOOK", SECRET);
        Server::run(command)
    };
    let mut expected = Vec::new();
    for round in 0..3 {
        let server = serve();
        let mut connection = server.connect();
        for number in 0..10 {
            let reason = format!("{round} {number}");
            let stop = json!({"agent_id": format!("bot-{number}"), "reason": reason});
            let answer = connection.post("/v1/stops", &stop).unwrap();
            assert!(answer.status < 300, "{}", answer.body);
            expected.push(reason);
        }
        // In the middle of the deliveries.
        let start = Instant::now();
        while receiver.requests().is_empty() && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.kill();
    }
    let server = serve();
    let start = Instant::now();
    let last = expected.last().unwrap();
    let has_all = || {
        receiver
            .requests()
            .iter()
            .any(|request| reason(request) == *last)
    };
    while !has_all() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the last one does not arrive"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let requests = receiver.requests();
    // A notification may arrive twice after a kill, but never before an earlier one.
    let mut reasons: Vec<_> = requests.iter().map(reason).collect();
    reasons.dedup();
    assert_eq!(reasons, expected);
    assert!(server.stop().0.success());

    let request = requests.last().unwrap();
    let header = |name: &str| request.header(name).unwrap().to_owned();
    let mut verify = atlasent()
        .args(["webhook", "verify", "--secret-env", "HOOK"])
        .args(["--id", &header("webhook-id")])
        .args(["--timestamp", &header("webhook-timestamp")])
        .args(["--signature", &header("webhook-signature")])
        .env("HOOK", SECRET)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    verify
        .stdin
        .take()
        .unwrap()
        .write_all(&request.body)
        .unwrap();
    assert!(verify.wait().unwrap().success());
}

#[test]
fn a_settings_file_that_cannot_be_used_stops_the_start() {
    let data = tempfile::tempdir().unwrap();
    let settings = data.path().join("webhooks.toml");
    fs::write(
        &settings,
        "[[endpoint]]\nname = \"a\"\nurl = \"http://hooks.example/hunter2\"\n",
    )
    .unwrap();
    let output = atlasent()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "memory",
            "--data-dir",
        ])
        .arg(data.path())
        .arg("--webhooks")
        .arg(&settings)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("`a` would be notified in the clear"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}
