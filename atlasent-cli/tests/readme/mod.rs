//! The commands of the README, as they are written, in terminals.

use std::env;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const README: &str = include_str!("../../../README.md");

/// Returns the section below a heading.
pub(crate) fn section(heading: &str) -> &'static str {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).unwrap();
    section.split_once("\n## ").unwrap().0
}

/// Returns the blocks of a language in the section below a heading.
pub(crate) fn blocks(heading: &str, language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    let blocks = section(heading).split(&fence).skip(1);
    blocks
        .map(|block| block.split_once("\n```").unwrap().0)
        .collect()
}

/// Returns a shell that runs a script in a folder, with `atlasent` on its `PATH`.
pub(crate) fn terminal(folder: &Path, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-euc", script]);
    at_home(folder, &mut shell);
    shell
}

/// Has a command run in a folder, which is also its home, with `atlasent` on its `PATH`.
pub(crate) fn at_home<'c>(folder: &Path, command: &'c mut Command) -> &'c mut Command {
    let installed = Path::new(env!("CARGO_BIN_EXE_atlasent")).parent().unwrap();
    let others = env::var("PATH").unwrap();
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", format!("{}:{others}", installed.display()))
}

/// Lists pending decisions until there is one. Returns its id.
pub(crate) fn waiting_id(at_most: Duration, mut list: impl FnMut() -> String) -> String {
    let begun = Instant::now();
    loop {
        let listed = list();
        let mut words = listed.split_whitespace();
        if let Some(id) = words.find(|word| word.starts_with("esc_")) {
            return id.to_owned();
        }
        assert!(begun.elapsed() < at_most, "nothing waits for approval");
        thread::sleep(Duration::from_millis(50));
    }
}
