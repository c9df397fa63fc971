//! A hook of a coding agent against a server: a held call is released by a person.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::commands::{create_live_key, output};
use super::process::{Server, atlasent};

const POLICIES: &str = r#"
permit (principal, action == Action::"tool.Bash", resource);
@decision("hold") @reason("a person agrees to a push") @approvers("role:owner")
forbid (principal, action == Action::"tool.Bash", resource) when { context.command like "git push*" };
"#;

/// Runs a hook to its end, for the command `git push`.
fn hook(url: &str, key: &str, options: &[&str]) -> Output {
    let mut command: Command = atlasent();
    command
        .args(["hook", "--url", url])
        .args(options)
        .env("ATLASENT_API_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = json!({
        "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "git push"},
    });
    write!(child.stdin.take().unwrap(), "{input}").unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_held_tool_call_waits_for_the_person_who_releases_it_once() {
    let data = tempfile::tempdir().unwrap();
    let policies = data.path().join("policies");
    fs::create_dir(&policies).unwrap();
    fs::write(policies.join("tools.cedar"), POLICIES).unwrap();
    let folder = data.path().to_str().unwrap();
    let agent = create_live_key(folder, &["--name", "agent"]);
    let ann = create_live_key(folder, &["--approver", "ann", "--role", "owner"]);
    let mut serve = atlasent();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", folder]);
    let server = Server::run(serve);
    let url = format!("http://{}", server.address);

    let held = hook(&url, &agent, &[]);
    assert_eq!(held.status.code(), Some(2));
    let answer: Value = serde_json::from_slice(&held.stdout).unwrap();
    let answer = &answer["hookSpecificOutput"];
    assert_eq!(answer["permissionDecision"], "deny", "{answer}");
    let reason = answer["permissionDecisionReason"].as_str().unwrap();
    assert!(reason.contains("a person agrees to a push"), "{reason}");

    let approvals = |arguments: &[&str]| {
        let mut command = atlasent();
        command.arg("approvals").args(arguments);
        output(
            command
                .env("ATLASENT_API_KEY", &ann)
                .env("ATLASENT_BASE_URL", &url),
        )
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| hook(&url, &agent, &["--wait", "60s"]));
        let begun = Instant::now();
        let id = loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is held");
            let (_, list, _) = approvals(&["list", "--json"]);
            let list: Value = serde_json::from_str(&list).unwrap_or_default();
            if let Some(id) = list["approvals"][0]["id"].as_str() {
                break id.to_owned();
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        assert!(!waiting.is_finished());
        let (code, _, stderr) = approvals(&["approve", &id]);
        assert_eq!(code, 0, "{stderr}");
        let released = waiting.join().unwrap();
        assert_eq!(released.status.code(), Some(0));
        let answer: Value = serde_json::from_slice(&released.stdout).unwrap();
        assert_eq!(answer["hookSpecificOutput"]["permissionDecision"], "allow");
    });
    // The approval was for one execution.
    assert_eq!(hook(&url, &agent, &[]).status.code(), Some(2));
}
