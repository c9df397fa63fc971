//! With everything allowed, a client of the Python SDK gets the same with and without the guard.

use std::path::Path;
use std::process::Command;

use super::peers::{everything, everything_over_http, listening};
use super::support::{EVERYTHING, Stage, atlasent, here, output, peers};

/// Runs the client, and returns what it printed.
fn transcript(peers: &Path, server: &[String]) -> String {
    let mut command = Command::new(peers.join("venv/bin/python"));
    // `-B` writes no `__pycache__` beside the script.
    command
        .arg("-B")
        .arg(here("peers/everything.py"))
        .args(server);
    let (code, stdout, stderr) = output(&mut command);
    assert_eq!(code, 0, "{stderr}");
    for step in ["sampled", "elicited", "updated", "ping after"] {
        assert!(stdout.contains(&format!("[\"{step}\"")), "{stdout}");
    }
    stdout
}

#[test]
fn the_python_sdk_gets_the_same_over_stdio_with_and_without_the_guard() {
    let Some(peers) = peers() else { return };
    let bare = [everything(&peers), vec!["stdio".to_owned()]].concat();
    let stage = Stage::new(EVERYTHING);
    let guard = [
        vec![atlasent().to_owned()],
        stage.guard("everything"),
        vec!["--".to_owned()],
    ]
    .concat();
    let guarded = [&guard[..], &bare].concat();
    assert_eq!(transcript(&peers, &guarded), transcript(&peers, &bare));
}

#[test]
fn the_python_sdk_gets_the_same_over_http_with_and_without_the_guard() {
    let Some(peers) = peers() else { return };
    let (_server, url) = everything_over_http(&peers);
    let bare = transcript(&peers, std::slice::from_ref(&url));
    let stage = Stage::new(EVERYTHING);
    let guard = listening(&stage, &["--upstream".to_owned(), url]);
    let guarded = transcript(&peers, std::slice::from_ref(&guard.url));
    assert_eq!(guarded, bare);
}
