//! Guards and servers that are killed or end at any moment.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Listening, Piped, Stage, atlasent, counting_server, create_live_key, output};

const WRITE_ALLOWED: &str = r#"permit (principal, action == Action::"mcp.fake.write", resource);"#;

fn start(stage: &Stage, fault: &str) -> Piped {
    let log = stage.path("log");
    Piped::start(&[stage.guard("fake"), counting_server(&log, fault)].concat())
}

fn runs(stage: &Stage) -> usize {
    let log = fs::read_to_string(stage.path("log")).unwrap_or_default();
    log.lines().filter(|line| line.starts_with("RAN ")).count()
}

/// Returns the ids of the processes of the counting server of a stage.
fn servers(stage: &Stage) -> Vec<String> {
    let log = stage.path("log");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let servers = processes.filter(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let program = line
            .split('\0')
            .next()
            .and_then(|path| path.rsplit('/').next());
        program.is_some_and(|program| program.starts_with("python")) && line.contains(&log)
    });
    servers
        .map(|process| process.file_name().into_string().unwrap())
        .collect()
}

fn kill(process: &str) {
    let _ = Command::new("kill").args(["-KILL", process]).output();
}

/// Returns how many permits were used up, by the audit trail in a data folder that nothing uses.
fn permits(stage: &Stage, data: &str) -> usize {
    let (data, trail) = (stage.path(data), stage.path("trail.json"));
    let _ = fs::remove_file(&trail);
    let arguments = ["audit", "export", "--data-dir", &data, "--out", &trail];
    let (code, _, stderr) = output(Command::new(atlasent()).args(arguments));
    assert_eq!(code, 0, "{stderr}");
    let trail: Value = serde_json::from_str(&fs::read_to_string(trail).unwrap()).unwrap();
    let events = trail["events"].as_array().unwrap().iter();
    events
        .filter(|event| event["type"] == "permit.verified")
        .count()
}

/// Sends four calls, of which two are allowed, and waits for a random moment.
fn send_calls(guard: &mut Piped) {
    for id in 1..=4 {
        let tool = if id % 2 == 0 { "write" } else { "read" };
        let params = json!({"name": tool, "arguments": {"path": "/a"}});
        guard.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}));
    }
    std::thread::sleep(Duration::from_millis(fastrand::u64(0..60)));
}

/// Reads to the end of the stream, or to the last answer. Returns how many calls ran, as the client
/// knows it.
fn answers(guard: &mut Piped) -> usize {
    let (mut answered, mut done) = (0, 0);
    while answered < 4 {
        let Some(message) = guard.next() else { break };
        answered += usize::from(message.get("id").is_some_and(Value::is_number));
        done += usize::from(message["result"]["content"][0]["text"] == "done");
    }
    done
}

fn assert_only_writes_ran(stage: &Stage) {
    let log = fs::read_to_string(stage.path("log")).unwrap_or_default();
    assert!(
        !log.contains("RAN read"),
        "a call ran that no policy allows"
    );
}

#[test]
fn no_call_runs_without_a_permit_whenever_the_server_is_killed() {
    let stage = Stage::new(WRITE_ALLOWED);
    let mut done = 0;
    for _ in 0..8 {
        let mut guard = start(&stage, "");
        guard.initialize();
        let servers = servers(&stage);
        assert_eq!(servers.len(), 1, "{servers:?}");
        send_calls(&mut guard);
        kill(&servers[0]);
        done += answers(&mut guard);
        // The guard ends with its server.
        while guard.next().is_some() {}
        guard.process.wait().unwrap();
    }
    assert_only_writes_ran(&stage);
    let (runs, permits) = (runs(&stage), permits(&stage, "data"));
    assert!(done <= runs && runs <= permits, "{done} {runs} {permits}");
}

/// Starts an authority in a process of its own.
fn served(stage: &Stage) -> Listening {
    let (policies, data) = (stage.path("policies"), stage.path("served"));
    let mut command = Command::new(atlasent());
    command.args(["serve", "--listen", "127.0.0.1:0"]).args([
        "--policies",
        &policies,
        "--data-dir",
        &data,
    ]);
    Listening::start(&mut command)
}

#[test]
fn no_call_runs_without_a_permit_whenever_the_authority_is_killed() {
    let stage = Stage::new(WRITE_ALLOWED);
    let key = create_live_key(&stage.path("served"), &[]);
    let mut done = 0;
    for _ in 0..6 {
        let served = served(&stage);
        let (log, guarded) = (stage.path("log"), stage.path("data"));
        let arguments = [
            "guard",
            "--name",
            "fake",
            "--url",
            &served.url,
            "--data-dir",
            &guarded,
        ];
        let mut command = Command::new(atlasent());
        command
            .args(arguments)
            .args(counting_server(&log, ""))
            .env("ATLASENT_API_KEY", &key);
        let mut guard = Piped::run(&mut command);
        guard.initialize();
        send_calls(&mut guard);
        drop(served);
        // Every call is answered: the guard and its server still run.
        done += answers(&mut guard);
    }
    assert_only_writes_ran(&stage);
    let (runs, permits) = (runs(&stage), permits(&stage, "served"));
    assert!(done <= runs && runs <= permits, "{done} {runs} {permits}");
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
    while !servers(&stage).is_empty() {
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
