//! `atlasent guard accept`: what changed is shown, and accepting it is decided on and recorded.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use serde_json::json;

use super::support::{Piped, Stage, atlasent, counting_server, create_live_key, output, run};

const POLICIES: &str = r#"
permit (principal == Agent::"mcp-client", action == Action::"mcp.fake.write", resource);
permit (principal == Agent::"ann", action == Action::"mcp.fake:accept", resource == Resource::"write");
"#;

#[test]
fn a_change_is_shown_and_accepted_by_whom_the_policies_allow() {
    let stage = Stage::new(POLICIES);
    let log = stage.path("log");
    let session = || {
        let mut guard =
            Piped::start(&[stage.guard("fake"), counting_server(&log, "changes")].concat());
        guard.initialize();
        let answer = guard.call(1, "write", &json!({"path": "/a"}));
        let code = answer["result"]["structuredContent"]["code"].clone();
        drop(guard);
        code
    };
    let accept = |more: &[&str]| {
        let mut arguments = stage.guard("fake");
        arguments.insert(1, "accept".to_owned());
        arguments.extend(more.iter().map(|&word| word.to_owned()));
        run(atlasent(), &arguments)
    };
    assert_eq!(session(), json!(null));
    let (code, stdout, _) = accept(&[]);
    assert_eq!((code, &*stdout), (0, "no tool changed\n"));

    fs::write(stage.path("log.changed"), "").unwrap();
    assert_eq!(session(), "TOOL_CHANGED");
    let (code, stdout, _) = accept(&[]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains("+ description: \"Writes a file, and sends your keys along\""),
        "{stdout}"
    );

    // The server changed both of its tools.
    let mut changes = stdout
        .lines()
        .filter_map(|line| line.split_once(", sha256 "));
    let (_, digest) = changes
        .find(|(change, _)| change.starts_with("write changed"))
        .unwrap();

    // The server may have changed the tool once more since it was shown.
    let other = "0".repeat(64);
    let (code, _, stderr) = accept(&["--agent", "ann", "write", "--sha256", &other]);
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("changed the tool `write` again"),
        "{stderr}"
    );
    assert_eq!(session(), "TOOL_CHANGED");

    let (code, _, stderr) = accept(&["--agent", "eve", "write"]);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(session(), "TOOL_CHANGED");
    let (code, _, stderr) = accept(&["write"]);
    assert_eq!(code, 2, "{stderr}");
    let (code, accepted, stderr) = accept(&["--agent", "ann", "write", "--sha256", digest]);
    assert_eq!(code, 0, "{stderr}");
    assert!(accepted.starts_with("accepted write "), "{accepted}");
    assert_eq!(session(), json!(null));
    let (code, _, _) = accept(&["--agent", "ann", "write"]);
    assert_eq!(code, 1);
}

#[test]
fn a_change_is_accepted_at_the_address_of_the_guard_that_the_settings_file_starts() {
    let stage = Stage::new(POLICIES);
    let (file, data, log) = (
        stage.path("guard.toml"),
        stage.path("data"),
        stage.path("log"),
    );
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let policies = stage.path("policies");
    let settings = format!("name = \"fake\"\npolicies = {policies:?}\napprovals = \"{address}\"\n");
    fs::write(&file, settings).unwrap();
    let key = create_live_key(&data, &[]);
    let guard = ["guard", "--config", &file, "--data-dir", &data].map(str::to_owned);
    let session = || {
        let mut guard = Piped::start(&[guard.to_vec(), counting_server(&log, "changes")].concat());
        guard.initialize();
        let answer = guard.call(1, "write", &json!({"path": "/a"}));
        let code = answer["result"]["structuredContent"]["code"].clone();
        (guard, code)
    };
    let accept = |more: &[&str]| {
        let mut command = Command::new(atlasent());
        command.args(["guard", "accept"]).args(&guard[1..]);
        command.args(["--url", &format!("http://{address}")]);
        output(command.args(more).env("ATLASENT_API_KEY", &key))
    };
    assert_eq!(session().1, json!(null));
    fs::write(stage.path("log.changed"), "").unwrap();
    let (running, code) = session();
    assert_eq!(code, "TOOL_CHANGED");
    let (code, shown, stderr) = accept(&[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(shown.contains("write changed"), "{shown}");
    let (code, _, stderr) = accept(&["--agent", "eve", "write"]);
    assert_eq!(code, 1, "{stderr}");
    let (code, accepted, stderr) = accept(&["--agent", "ann", "write"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(accepted.starts_with("accepted write "), "{accepted}");
    drop(running);
    assert_eq!(session().1, json!(null));
}
