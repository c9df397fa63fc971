//! `--audit-log`: each event as a line, across restarts, rotations and failures.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Connection;
use super::process::{KEY, Server, atlasent};

/// Asks for a decision, which the server records.
pub(crate) fn decide(connection: &mut Connection) {
    let request = json!({ "action_type": "deploy.production", "actor_id": "deploy-bot" });
    let answer = connection.post("/v1-evaluate", &request).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Returns the events that the server lists.
pub(crate) fn events(connection: &mut Connection) -> Vec<Value> {
    let page = connection.get("/v1-audit/events?limit=500").unwrap().body;
    page["events"].as_array().unwrap().clone()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Waits until a condition holds. Panics with `what` after 20 seconds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn a_file_has_every_event_once_through_rotation_restart_and_kill() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("audit.jsonl");
    let rotated = data.path().join("audit.jsonl.1");
    let options = ["--audit-log", log.to_str().unwrap()];

    let server = Server::start(data.path(), &options);
    let mut connection = server.connect();
    for _ in 0..5 {
        decide(&mut connection);
    }
    let listed = events(&mut connection);
    wait_until("all is written", || lines(&log).len() == listed.len());
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&log).unwrap());
    assert_eq!(mode & 0o777, 0o600);

    fs::rename(&log, &rotated).unwrap();
    server.signal("HUP");
    wait_until("a new file is there", || log.exists());
    // The server is killed while the new file is empty: the position is in the data directory.
    std::thread::sleep(Duration::from_millis(50));
    server.kill();

    let server = Server::start(data.path(), &options);
    let mut connection = server.connect();
    for _ in 0..5 {
        decide(&mut connection);
    }
    let (status, _) = {
        let listed = events(&mut connection);
        let stopped = server.stop();
        // The last events are written before the process ends.
        let written: Vec<Value> = [lines(&rotated), lines(&log)].concat();
        assert_eq!(written, listed);
        stopped
    };
    assert!(status.success());

    // A line that a crash left incomplete is written again.
    let mut text = fs::read_to_string(&log).unwrap();
    text.truncate(text.len() - 20);
    fs::write(&log, text).unwrap();
    let server = Server::start(data.path(), &options);
    let listed = events(&mut server.connect());
    server.stop();
    assert_eq!([lines(&rotated), lines(&log)].concat(), listed);
}

#[test]
fn standard_output_has_the_events_since_the_start_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let before = Server::start(data.path(), &[]);
    decide(&mut before.connect());
    let old = events(&mut before.connect()).len();
    before.stop();

    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
        .args(["--audit-log", "-", "--access-log", "--log", "json"])
        .arg("--data-dir")
        .arg(data.path())
        .env("KEY", KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut errors = BufReader::new(process.stderr.take().unwrap());
    let mut welcome = String::new();
    errors.read_line(&mut welcome).unwrap();
    let address = welcome.trim().rsplit_once("://").unwrap().1;
    let address: SocketAddr = address.parse().unwrap();
    let mut connection = Connection::open(address, KEY).unwrap();
    decide(&mut connection);
    decide(&mut connection);
    let listed = events(&mut connection);
    let kill = format!("kill -TERM {}", process.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    let (mut written, mut log) = (String::new(), String::new());
    process
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut written)
        .unwrap();
    errors.read_to_string(&mut log).unwrap();
    assert!(process.wait().unwrap().success());
    let written: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!written.is_empty() && written.len() <= listed.len() - old);
    assert_eq!(written, listed[listed.len() - written.len()..]);

    // The trail and the access log have the same request ids.
    let asked = written.last().unwrap()["payload"]["x_request_id"].as_str();
    assert!(
        log.contains(&format!("\"request_id\":\"{}\"", asked.unwrap())),
        "{log}"
    );
}

#[test]
fn a_reader_that_takes_nothing_stops_neither_decisions_nor_the_end() {
    let data = tempfile::tempdir().unwrap();
    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
        .args(["--store", "memory", "--audit-log", "-"])
        .arg("--data-dir")
        .arg(data.path())
        .env("KEY", KEY)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut welcome = String::new();
    let mut errors = BufReader::new(process.stderr.take().unwrap());
    errors.read_line(&mut welcome).unwrap();
    let address = welcome.trim().rsplit_once("://").unwrap().1;
    let mut connection = Connection::open(address.parse().unwrap(), KEY).unwrap();
    // The events exceed the buffer of a pipe.
    for _ in 0..300 {
        decide(&mut connection);
    }
    std::thread::sleep(Duration::from_millis(600));
    decide(&mut connection);
    let kill = format!("kill -TERM {}", process.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    let mut log = String::new();
    errors.read_to_string(&mut log).unwrap();
    assert!(process.wait().unwrap().success());
    assert!(log.contains("the audit log lacks the last events"), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_no_decision_and_the_lines_follow() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("audit.jsonl");
    // With SIGXFSZ ignored, a file that reaches its limit fails with an error, like a full disk.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(atlasent().get_program())
        .args(["serve", "--listen", "127.0.0.1:0", "--api-key-env", "KEY"])
        .args(["--store", "memory", "--audit-log"])
        .arg(&log)
        .arg("--data-dir")
        .arg(data.path())
        .env("KEY", KEY)
        .stderr(Stdio::piped());
    let server = Server::run(command);
    let limit = |bytes: &str| {
        let pid = server.id().to_string();
        let limit = format!("--fsize={bytes}:");
        let set = Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .status();
        assert!(set.unwrap().success());
    };
    let mut connection = server.connect();
    decide(&mut connection);
    wait_until("the first events are written", || !lines(&log).is_empty());
    limit("4096");
    for _ in 0..20 {
        decide(&mut connection);
    }
    std::thread::sleep(Duration::from_millis(1_500));
    decide(&mut connection);
    let listed = events(&mut connection);
    assert!(lines(&log).len() < listed.len());
    limit("unlimited");
    wait_until("the lines follow", || lines(&log).len() == listed.len());
    assert_eq!(lines(&log), listed);
    let (_, log) = server.stop_and_read_log();
    assert_eq!(
        log.matches("the audit log cannot be written").count(),
        1,
        "{log}"
    );
    assert_eq!(
        log.matches("the audit log is written again").count(),
        1,
        "{log}"
    );
}

#[cfg(unix)]
#[test]
fn a_link_or_the_file_of_another_program_is_refused_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    let target = data.path().join("shadow");
    fs::write(&target, "root:x:0:0").unwrap();
    let link = data.path().join("audit.jsonl");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for (path, why) in [
        (&link, "is a link"),
        (&target, "no event of an audit trail"),
    ] {
        let refused = atlasent()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--store",
                "memory",
                "--audit-log",
            ])
            .arg(path)
            .arg("--data-dir")
            .arg(data.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(
            stderr.contains(why) && stderr.contains("audit log"),
            "{stderr}"
        );
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "root:x:0:0");
}
