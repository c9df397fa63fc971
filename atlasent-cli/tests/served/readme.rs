//! Runs the commands below "Release the hold" in the README, as they are written, in three
//! terminals.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::commands::{assert_tells, output};
use super::process::Server;
use super::readme_terminals::{blocks, section, terminal, waiting_id};

/// The section about the hold.
const SECTION: &str = "Release the hold";

/// The address of the server in the README.
const ADDRESS: &str = "127.0.0.1:8080";

/// Marks a process of this test that runs the program of the README.
const CHILD: &str = "ATLASENT_TEST_CHILD";

#[allow(clippy::print_stdout, reason = "it shows what happens")]
mod program {
    include!("../../../examples/first/held.rs");

    pub(super) fn run() {
        main().unwrap();
    }
}

/// Runs a script that succeeds. Returns its standard output.
fn run(folder: &Path, script: &str) -> String {
    let (code, stdout, stderr) = output(&mut terminal(folder, script));
    assert_eq!(code, 0, "{script}: {stderr}");
    stdout
}

#[test]
fn the_hold_of_the_readme_is_released_and_its_story_told() {
    if env::var_os(CHILD).is_some() {
        program::run();
        return;
    }
    let [start, ask, approve, tell] = blocks(SECTION, "sh")[..] else {
        panic!("the section has four blocks of commands");
    };
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/first/policies");
    fs::create_dir(folder.join("policies")).unwrap();
    for file in fs::read_dir(policies).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join("policies").join(file.file_name())).unwrap();
    }

    // The first terminal.
    let (install, rest) = start.split_once('\n').unwrap();
    assert!(install.starts_with("cargo install "), "{install}");
    let (keys, serve) = rest.rsplit_once('\n').unwrap();
    run(folder, keys);
    let serve = format!("exec {serve} --listen 127.0.0.1:0");
    let server = Server::run(terminal(folder, &serve));
    let address = server.address.to_string();
    let here = |block: &str| {
        assert!(block.contains(ADDRESS), "{block}");
        block.replace(ADDRESS, &address)
    };

    // The second terminal.
    let start_program = "cargo run --example held";
    assert!(ask.contains(start_program), "{ask}");
    let child = format!(
        "'{}' --exact readme::the_hold_of_the_readme_is_released_and_its_story_told --nocapture",
        env::current_exe().unwrap().display()
    );
    let ask = here(ask).replace(start_program, &child);
    let mut program = terminal(folder, &ask);
    program
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let program = program.spawn().unwrap();

    // The third terminal.
    let approve = here(approve);
    let (list, _) = approve.rsplit_once('\n').unwrap();
    let id = waiting_id(Duration::from_secs(30), || run(folder, list));
    assert!(approve.contains("esc_…"), "{approve}");
    run(folder, &approve.replace("esc_…", &id));
    let ended = program.wait_with_output().unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    let errors = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{printed}{errors}");
    let shown = "deploy-bot deploys 4f2a9c1 to 500 replicas";
    assert!(
        section(SECTION).contains(shown) && printed.contains(shown),
        "{printed}"
    );

    // The third terminal keeps its variables.
    let (exports, _) = list.split_once('\n').unwrap();
    let told = run(folder, &format!("{exports}\n{tell}"));
    let story = [
        "verified: ",
        "deploy.production by deploy-bot: completed",
        "approval.requested",
        "alice",
        "approval.granted",
        "evaluate.allow",
        "permit.verified",
        "permit.completed",
        "1 permits: 1 completed, 0 failed, 0 cancelled, 0 unused, 0 used and never ended",
    ];
    assert_tells(&told, &story);
}
