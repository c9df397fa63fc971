//! Tests that the first program of the README runs as pasted, and that its second one is the file
//! that `atlasent-cli` tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic fails the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the fenced blocks of the README that follow a line beginning with a file name in
/// backticks.
fn files_in_readme() -> BTreeMap<String, String> {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut files = BTreeMap::new();
    let mut lines = readme.lines();
    let mut name = None;
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if let Some(name) = name.take() {
                files.insert(name, block.join("\n") + "\n");
            }
        } else if let Some(rest) = line.strip_prefix('`') {
            let (file, _) = rest.split_once('`').unwrap();
            name = file.contains('/').then(|| file.to_owned());
        }
    }
    files
}

#[test]
fn the_programs_are_the_examples_that_are_compiled_and_run() {
    let files = files_in_readme();
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let expected = [
        "examples/held.rs",
        "policies/deploy.cedar",
        "policies/entities.json",
        "policies/schema.cedarschema",
        "src/main.rs",
    ];
    assert_eq!(names, expected);
    for (name, text) in files {
        let example = root().join("examples/first").join(
            name.trim_start_matches("src/")
                .trim_start_matches("examples/"),
        );
        let example = fs::read_to_string(example).unwrap();
        assert!(
            example.ends_with(&text),
            "{name} differs from `examples/first`"
        );
    }
}

#[test]
fn the_first_program_prints_what_the_readme_says() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, printed) = readme
        .split_once("`cargo run` prints:\n\n```text\n")
        .unwrap();
    let (printed, _) = printed.split_once("```").unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_first"))
        .current_dir(root().join("examples/first"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!(String::from_utf8_lossy(&run.stdout), printed, "{errors}");
}
