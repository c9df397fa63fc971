//! With everything allowed, a client gets the same with and without the guard.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::{EVERYTHING, Listening, Running, Stage, atlasent, here, output, peers};

pub(crate) fn everything(peers: &Path) -> Vec<String> {
    let server = peers.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    vec!["node".to_owned(), server.to_str().unwrap().to_owned()]
}

/// Runs a client of the TypeScript SDK, and returns what it printed.
fn node(peers: &Path, script: &str, arguments: &[String]) -> String {
    let mut command = Command::new("node");
    command
        .arg(here(script))
        .args(arguments)
        .env("MCP_MODULES", peers);
    let (code, stdout, stderr) = output(&mut command);
    assert_eq!(code, 0, "{stderr}");
    stdout
}

/// Runs the client that uses every method, and returns what it printed.
fn transcript(peers: &Path, arguments: &[String]) -> String {
    let stdout = node(peers, "peers/everything.mjs", arguments);
    for step in ["tasks", "elicited", "updated", "ping after"] {
        assert!(stdout.contains(&format!("[\"{step}\"")), "{stdout}");
    }
    stdout
}

/// Starts a guard that listens.
pub(crate) fn listening(stage: &Stage, server: &[String]) -> Listening {
    let mut command = Command::new(atlasent());
    command.args(stage.guard("everything"));
    Listening::start(command.args(["--listen", "127.0.0.1:0"]).args(server))
}

/// Starts the reference server on a free port, and returns its URL.
pub(crate) fn everything_over_http(peers: &Path) -> (Running, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let server = everything(peers);
    let mut command = Command::new(&server[0]);
    command
        .args(&server[1..])
        .arg("streamableHttp")
        .env("PORT", port.to_string());
    let mut process = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line.contains("listening")));
    // The server blocks when nobody reads what it prints.
    std::thread::spawn(move || lines.for_each(drop));
    (Running(process), format!("http://127.0.0.1:{port}/mcp"))
}

#[test]
fn every_method_over_stdio_gets_the_same_with_and_without_the_guard() {
    let Some(peers) = peers() else { return };
    let server = everything(&peers);
    let bare = [&["stdio".to_owned()], &server[..], &["stdio".to_owned()]].concat();
    let stage = Stage::new(EVERYTHING);
    let guard = [
        vec!["stdio".to_owned(), atlasent().to_owned()],
        stage.guard("everything"),
        vec!["--".to_owned()],
    ]
    .concat();
    let guarded = [&guard[..], &server[..], &["stdio".to_owned()]].concat();
    assert_eq!(transcript(&peers, &guarded), transcript(&peers, &bare));
}

#[test]
fn every_method_over_http_gets_the_same_with_and_without_the_guard() {
    let Some(peers) = peers() else { return };
    let (_server, url) = everything_over_http(&peers);
    let bare = transcript(&peers, &["http".to_owned(), url.clone()]);
    let stage = Stage::new(EVERYTHING);
    let guard = listening(&stage, &["--upstream".to_owned(), url]);
    let guarded = ["http".to_owned(), guard.url.clone()];
    assert_eq!(transcript(&peers, &guarded), bare);
}

#[test]
fn the_two_sides_may_differ() {
    let Some(peers) = peers() else { return };
    let server = everything(&peers);
    let bare = [&["stdio".to_owned()], &server[..], &["stdio".to_owned()]].concat();
    let bare = transcript(&peers, &bare);
    let stage = Stage::new(EVERYTHING);
    let command = [&["--".to_owned()], &server[..], &["stdio".to_owned()]].concat();
    let guard = listening(&stage, &command);
    let guarded = ["http".to_owned(), guard.url.clone()];
    assert_eq!(transcript(&peers, &guarded), bare);

    let (_server, url) = everything_over_http(&peers);
    let stage = Stage::new(EVERYTHING);
    let mut guard = vec!["stdio".to_owned(), atlasent().to_owned()];
    guard.extend(stage.guard("everything"));
    guard.extend(["--upstream".to_owned(), url]);
    assert_eq!(transcript(&peers, &guard), bare);
}

/// What the client of the Python SDK prints if only `add` is allowed.
fn only_adds(python: &str, arguments: &[String]) {
    let (code, stdout, stderr) = output(Command::new(python).args(arguments));
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(
        lines[..3],
        [
            r#"["version", "2026-07-28"]"#,
            r#"["tools", ["add"]]"#,
            r#"["add", false, "3"]"#
        ]
    );
    assert!(
        lines[3].starts_with(r#"["forbidden", true, "denied"#),
        "{stdout}"
    );
}

const ONLY_ADD: &str = r#"permit (principal, action == Action::"mcp.numbers.add", resource);"#;

#[test]
fn the_newest_version_of_the_protocol_passes_over_http_without_sessions() {
    let Some(peers) = peers() else { return };
    let python = peers.join("venv/bin/python").to_str().unwrap().to_owned();
    let script = here("peers/modern.py").to_str().unwrap().to_owned();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut server = Command::new(&python);
    server
        .args([&script, "server", &port.to_string()])
        .stdin(Stdio::null());
    let _server = Running(server.stderr(Stdio::null()).spawn().unwrap());
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let stage = Stage::new(ONLY_ADD);
    let mut command = Command::new(atlasent());
    command
        .args(stage.guard("numbers"))
        .args(["--listen", "127.0.0.1:0", "--upstream"]);
    let guard = Listening::start(command.arg(format!("http://127.0.0.1:{port}/mcp")));
    only_adds(&python, &[script, "client".to_owned(), guard.url.clone()]);
}

#[test]
fn the_newest_version_of_the_protocol_passes_as_the_python_sdk_negotiates_it() {
    let Some(peers) = peers() else { return };
    let python = peers.join("venv/bin/python").to_str().unwrap().to_owned();
    let script = here("peers/modern.py").to_str().unwrap().to_owned();
    let stage = Stage::new(ONLY_ADD);
    let mut guarded = vec![script.clone(), "client".to_owned(), atlasent().to_owned()];
    guarded.extend(stage.guard("numbers"));
    guarded.extend(["--".to_owned(), python.clone(), script, "server".to_owned()]);
    only_adds(&python, &guarded);
}

/// Runs the client that reads every page of the lists of a server, which a guard may stand before.
fn pages(peers: &Path, guard: &[String]) -> String {
    let script = here("peers/paged.mjs").to_str().unwrap().to_owned();
    let server = ["node", &script, "server"].map(str::to_owned);
    let arguments = [&["client".to_owned()], guard, &server[..]].concat();
    node(peers, "peers/paged.mjs", &arguments)
}

#[test]
fn lists_have_the_same_pages_and_a_hidden_item_leaves_the_others_where_they_are() {
    let Some(peers) = peers() else { return };
    let bare = pages(&peers, &[]);
    let guard = |stage: &Stage| {
        let guard = [vec![atlasent().to_owned()], stage.guard("paged")].concat();
        [guard, vec!["--".to_owned()]].concat()
    };
    let stage = Stage::new(EVERYTHING);
    assert_eq!(pages(&peers, &guard(&stage)), bare);

    let denied = r#"forbid (principal, action == Action::"mcp.paged.t2", resource);"#;
    let stage = Stage::new(&format!("{EVERYTHING}\n{denied}"));
    let shown = pages(&peers, &guard(&stage));
    let (bare, shown): (Vec<&str>, Vec<&str>) = (bare.lines().collect(), shown.lines().collect());
    assert_eq!(bare[1], r#"["tools",[["t2","t3"],"4"]]"#);
    assert_eq!(shown[1], r#"["tools",[["t3"],"4"]]"#);
    assert!(shown[9].starts_with(r#"["t2",[true,"denied"#), "{shown:?}");
    let same = |lines: &[&str]| {
        [&lines[..1], &lines[2..9], &lines[10..]]
            .concat()
            .join("\n")
    };
    assert_eq!(same(&shown), same(&bare));
}

#[test]
fn a_client_whose_connection_breaks_during_a_call_resumes_where_it_was() {
    let Some(peers) = peers() else { return };
    let (_server, url) = everything_over_http(&peers);
    let bare = node(&peers, "peers/resumed.mjs", std::slice::from_ref(&url));
    assert!(bare.contains(r#"["missed",[2,3,4]]"#), "{bare}");
    // In front of a server over HTTP, and of one on standard input and output.
    let server = everything(&peers);
    let command = [&["--".to_owned()], &server[..], &["stdio".to_owned()]].concat();
    for server in [vec!["--upstream".to_owned(), url], command] {
        let stage = Stage::new(EVERYTHING);
        let guard = listening(&stage, &server);
        let guarded = node(
            &peers,
            "peers/resumed.mjs",
            std::slice::from_ref(&guard.url),
        );
        assert_eq!(guarded, bare);
    }
}
