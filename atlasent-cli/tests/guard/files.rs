//! The recipe of the guide: the guard before the reference server for files.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Stage, atlasent, create_live_key, here, output, peers};

/// The policies of the guide: ten lines.
const POLICIES: &str = r#"
permit (
    principal,
    action in [Action::"mcp.files.read_text_file", Action::"mcp.files.list_directory", Action::"mcp.files.write_file"],
    resource
) when { context.path like "*/public*" };
@decision("hold")
@reason("a person has to agree before a file is written")
@approvers("role:owner")
forbid (principal, action == Action::"mcp.files.write_file", resource);
permit (principal, action == Action::"mcp.files:roots/list", resource);
"#;

#[test]
fn paths_are_confined_and_a_person_releases_a_held_write_while_the_client_waits() {
    let Some(peers) = peers() else { return };
    let stage = Stage::new(POLICIES);
    let root = stage.path("files");
    fs::create_dir_all(format!("{root}/public")).unwrap();
    fs::create_dir(format!("{root}/private")).unwrap();
    fs::write(format!("{root}/public/a.txt"), "hello").unwrap();
    fs::write(format!("{root}/private/key"), "secret").unwrap();
    std::os::unix::fs::symlink(format!("{root}/private"), format!("{root}/public/link")).unwrap();
    // The server takes the name in another Unicode form for this link.
    std::os::unix::fs::symlink(
        format!("{root}/private"),
        format!("{root}/public/l\u{ef}nk"),
    )
    .unwrap();
    let server = peers.join("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let config = format!(
        r#"
name = "files"
agent = "coder"
policies = {policies:?}
approvals = "127.0.0.1:{port}"
wait = "60s"

[server]
command = ["node", {server:?}, {root:?}]

[paths]
root = {root:?}
arguments = ["path", "paths", "source", "destination"]

[tools.write_file]
resource = "path"
"#,
        policies = stage.path("policies"),
        server = server.to_str().unwrap(),
    );
    fs::write(stage.path("guard.toml"), config).unwrap();
    let key = create_live_key(
        &stage.path("data"),
        &["--approver", "ann", "--role", "owner"],
    );
    let read = |path: &str| json!(["read_text_file", {"path": format!("{root}/{path}")}]);
    let calls = json!([
        read("public/a.txt"),
        read("private/key"),
        read("public/../private/key"),
        read("public/link/key"),
        read("public/li\u{308}nk/key"),
        ["write_file", {"path": format!("{root}/public/new.txt"), "content": "written"}],
        read("public/new.txt"),
    ]);
    let mut client = Command::new("node");
    client
        .arg(here("peers/files.mjs"))
        .arg(calls.to_string())
        .args([
            atlasent(),
            "guard",
            "--config",
            &stage.path("guard.toml"),
            "--data-dir",
            &stage.path("data"),
        ])
        .env("MCP_MODULES", &peers)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let client = client.spawn().unwrap();

    let approvals = |arguments: &[&str]| {
        let mut command = Command::new(atlasent());
        command
            .arg("approvals")
            .args(arguments)
            .env("ATLASENT_API_KEY", &key);
        output(command.env("ATLASENT_BASE_URL", format!("http://127.0.0.1:{port}")))
    };
    let begun = Instant::now();
    let id = loop {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "nothing was held"
        );
        let (_, list, _) = approvals(&["list", "--json"]);
        let list: Value = serde_json::from_str(&list).unwrap_or_default();
        if let Some(id) = list["approvals"][0]["id"].as_str() {
            break id.to_owned();
        }
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(!fs::exists(format!("{root}/public/new.txt")).unwrap());
    let (code, _, stderr) = approvals(&["approve", &id, "--note", "looks good"]);
    assert_eq!(code, 0, "{stderr}");

    let output = client.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tools = lines[0].as_array().unwrap();
    assert!(
        tools.contains(&json!("read_text_file")) && !tools.contains(&json!("move_file")),
        "{tools:?}"
    );
    assert!(
        lines.iter().any(|line| line.get("progress").is_some()),
        "{text}"
    );
    let results: Vec<&Value> = lines
        .iter()
        .skip(1)
        .filter(|line| line.get("content").is_some())
        .collect();
    assert_eq!(results.len(), 7, "{text}");
    assert_eq!(results[0]["content"][0]["text"], "hello");
    for refused in &results[1..5] {
        assert_eq!(refused["isError"], true, "{refused}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
    assert_eq!(results[6]["content"][0]["text"], "written");
    assert_eq!(
        fs::read_to_string(format!("{root}/public/new.txt")).unwrap(),
        "written"
    );
}
