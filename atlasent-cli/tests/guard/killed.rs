//! Guards and servers that are killed or end at any moment.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::{Piped, Stage, counting_server};

const WRITE_ALLOWED: &str = r#"permit (principal, action == Action::"mcp.fake.write", resource);"#;

fn start(stage: &Stage, fault: &str) -> Piped {
    let log = stage.path("log");
    Piped::start(&[stage.guard("fake"), counting_server(&log, fault)].concat())
}

fn runs(stage: &Stage) -> usize {
    let log = fs::read_to_string(stage.path("log")).unwrap_or_default();
    log.lines().filter(|line| line.starts_with("RAN ")).count()
}

#[test]
fn a_guard_that_is_killed_takes_its_server_with_it() {
    let stage = Stage::new(WRITE_ALLOWED);
    let mut guard = start(&stage, "");
    guard.initialize();
    let answer = guard.call(1, "write", &json!({"path": "/a"}));
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    guard.process.kill().unwrap();
    guard.process.wait().unwrap();
    let begun = Instant::now();
    let script = stage.path("log");
    let is_running = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
            .any(|line| {
                let line = String::from_utf8_lossy(&line).into_owned();
                line.starts_with("python3") && line.contains(&script)
            })
    };
    while is_running() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the server outlives its guard"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    // The next guard opens the store of the killed one.
    let mut guard = start(&stage, "");
    guard.initialize();
    guard.call(1, "write", &json!({"path": "/a"}));
    assert_eq!(runs(&stage), 2);
}

#[test]
fn a_server_that_dies_ends_the_guard_with_its_reason() {
    let stage = Stage::new(WRITE_ALLOWED);
    let mut guard = start(&stage, "dies-at:tools/call");
    guard.initialize();
    let answer = guard.call(1, "write", &json!({"path": "/a"}));
    assert!(answer["error"].is_object(), "{answer}");
    assert_eq!(guard.next(), None);
    assert_eq!(guard.process.wait().unwrap().code(), Some(1));
    assert_eq!(runs(&stage), 0);
}

#[test]
fn no_call_runs_twice_or_without_a_permit_whenever_the_guard_is_killed() {
    let stage = Stage::new(WRITE_ALLOWED);
    let mut answered = 0;
    for round in 0..12 {
        let mut guard = start(&stage, "");
        guard.initialize();
        let call = |id| {
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": if id % 2 == 0 { "write" } else { "read" }, "arguments": {"path": "/a"}}})
        };
        for id in 1..=4 {
            guard.send(&call(id));
        }
        std::thread::sleep(Duration::from_millis(round * 7));
        guard.process.kill().unwrap();
        while let Some(message) = guard.next() {
            answered += usize::from(message["result"]["content"][0]["text"] == "done");
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    let log = fs::read_to_string(stage.path("log")).unwrap();
    assert!(
        !log.contains("RAN read"),
        "a call ran that no policy allows"
    );
    assert!(
        runs(&stage) >= answered && runs(&stage) <= 24,
        "{} {answered}",
        runs(&stage)
    );
}
