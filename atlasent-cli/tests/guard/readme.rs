//! The guard of the README, with its policies and its commands.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::readme_terminals::{at_home, blocks, terminal, waiting_id};
use super::support::{here, output, peers};

/// The section about the guard.
const SECTION: &str = "Put a guard in front of an agent's tools";

/// The server of the README, and its folder.
const SERVER: &str = "npx -y @modelcontextprotocol/server-filesystem /srv/files";

#[test]
fn the_agent_reads_and_ann_releases_its_write() {
    let Some(peers) = peers() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let files = folder.join("files");
    fs::create_dir(&files).unwrap();
    fs::create_dir(folder.join("guarded")).unwrap();
    let [policies] = blocks(SECTION, "cedar")[..] else {
        panic!("one file of policies");
    };
    assert!(policies.lines().count() <= 10, "ten lines");
    fs::write(folder.join("guarded/files.cedar"), policies).unwrap();
    let [guard, approve] = blocks(SECTION, "sh")[..] else {
        panic!("two blocks of commands");
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let server = peers.join("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js");
    let server = format!("node {} {}", server.display(), files.display());
    assert!(guard.contains(SERVER), "{guard}");
    let guard = guard.replace(SERVER, &server).replace("8090", &port);
    let (create, decide) = approve.split_once('\n').unwrap();
    let decide = decide.replace("8090", &port);
    let (list, _) = decide.rsplit_once('\n').unwrap();

    let (code, _, stderr) = output(&mut terminal(&folder, create));
    assert_eq!(code, 0, "{stderr}");
    let path = files.join("a.txt").display().to_string();
    let calls = json!([
        ["write_file", {"path": path, "content": "written"}],
        ["read_text_file", {"path": path}],
    ]);
    let mut client = Command::new("node");
    client.arg(here("peers/files.mjs")).arg(calls.to_string());
    client.args(["sh", "-c", &format!("exec {guard}")]);
    let client = at_home(&folder, &mut client)
        .env("MCP_MODULES", &peers)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let client = client.spawn().unwrap();

    let listed = || output(&mut terminal(&folder, list)).1;
    let id = waiting_id(Duration::from_secs(120), listed);
    assert!(!files.join("a.txt").exists());
    let decide = decide.replace("esc_…", &id);
    let (code, _, stderr) = output(&mut terminal(&folder, &decide));
    assert_eq!(code, 0, "{stderr}");

    let output = client.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<Value> = (text.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tools = json!(["read_text_file", "write_file", "list_directory"]);
    assert_eq!(lines[0], tools, "{text}");
    assert_eq!(lines.last().unwrap()["content"][0]["text"], "written");
    assert_eq!(fs::read_to_string(&path).unwrap(), "written");
}
