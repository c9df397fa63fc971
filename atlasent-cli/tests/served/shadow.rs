//! `atlasent serve --shadow-policies`: what the log has of differences.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::process::{KEY, Server, atlasent};

/// As long as a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

const CLOSED: &str = r#"@id("closed") @code("NO") forbid (principal, action, resource);"#;

/// A server with the quickstart's policies, whose log goes into a pipe.
fn start(data: &std::path::Path, shadow: &std::path::Path) -> Server {
    let mut command = atlasent();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--store", "memory"])
        .args(["--api-key-env", "KEY", "--log", "json"])
        .arg("--data-dir")
        .arg(data)
        .arg("--shadow-policies")
        .arg(shadow)
        .env("KEY", KEY)
        .stderr(Stdio::piped());
    Server::run(command)
}

/// Reads a page that is text.
fn page(server: &Server, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

fn wait_for(server: &Server, path: &str, text: &str) {
    let start = Instant::now();
    while !page(server, path).contains(text) {
        assert!(start.elapsed() < PATIENCE, "{path} has no {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_difference_has_one_log_line_without_values_of_the_context() {
    let (data, shadow) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(shadow.path().join("rules.cedar"), CLOSED).unwrap();
    let server = start(data.path(), shadow.path());
    wait_for(&server, "/readyz", "\nshadow ");
    let request = json!({
        "action_type": "deploy.production", "actor_id": "deploy-bot",
        "context": { "commit": "hunter2", "replicas": 3 }
    });
    let mut connection = server.connect();
    for _ in 0..5 {
        let answer = connection.post("/v1-evaluate", &request).unwrap();
        assert_eq!(answer.body["decision"], "allow");
    }
    let counted =
        r#"atlasent_shadow_decisions_total{action="deploy.production",outcome="stricter"} 5"#;
    wait_for(&server, "/metrics", counted);
    drop(connection);
    let (status, log) = server.stop_and_read_log();
    assert!(status.success(), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    let lines = log.lines().filter(|line| line.contains("outcome"));
    let lines: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!((1..5).contains(&lines.len()), "at most one a second: {log}");
    let line = &lines[0];
    for (field, value) in [
        ("target", "atlasent::shadow"),
        ("message", "the shadow policies decide differently"),
        ("outcome", "stricter"),
        ("agent", "deploy-bot"),
        ("action", "deploy.production"),
        ("decision", "allow"),
        ("shadow_decision", "deny"),
        ("shadow_policies", "closed"),
        ("shadow_code", "NO"),
    ] {
        assert_eq!(line[field], value, "{log}");
    }
}

#[test]
fn a_broken_candidate_is_named_by_file_line_and_column_and_stops_no_start() {
    let (data, shadow) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broken = "permit (principal, action, resource);\n  forbid (principal, action resource);";
    fs::write(shadow.path().join("rules.cedar"), broken).unwrap();
    let server = start(data.path(), shadow.path());
    wait_for(
        &server,
        "/metrics",
        r#"atlasent_shadow_reloads_total{outcome="refused"} 1"#,
    );
    assert!(page(&server, "/readyz").starts_with("HTTP/1.1 200"));
    let (status, log) = server.stop_and_read_log();
    assert!(status.success(), "{log}");
    assert!(log.contains("rules.cedar:2:"), "{log}");
}

#[test]
fn a_folder_that_is_missing_is_a_misspelt_option() {
    let data = tempfile::tempdir().unwrap();
    let output = atlasent()
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path().join("data"))
        .args(["--shadow-policies", "/nonexistent/policies"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.contains("`--shadow-policies`"), "{line}");
}
