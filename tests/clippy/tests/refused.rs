//! Clippy refuses a disallowed method outside of protected bodies, and accepts it inside.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a panic fails the test, and it runs cargo"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The directory of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

const SOURCES: [&str; 3] = ["lib.rs", "arguments.rs", "bodies.rs"];

/// A warning: its lint or its text, its file and its line.
type Warning = (String, String, u64);

/// Runs clippy on this package and returns its warnings.
fn clippy(arguments: &[&str], configuration: &Path) -> BTreeSet<Warning> {
    let output = Command::new(env!("CARGO"))
        .args(["clippy", "--offline", "--lib", "--message-format", "json"])
        .args(arguments)
        .current_dir(HERE)
        .env("CLIPPY_CONF_DIR", configuration)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let messages = String::from_utf8(output.stdout).unwrap();
    let messages = messages
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    messages
        .filter_map(|message: Value| warning(&message))
        .collect()
}

fn warning(message: &Value) -> Option<Warning> {
    let package = message["package_id"].as_str()?;
    if message["reason"] != "compiler-message" || !package.contains("tests/clippy") {
        return None;
    }
    let message = &message["message"];
    let span = message["spans"].as_array()?.first()?;
    let lint = message["code"]["code"]
        .as_str()
        .or(message["message"].as_str())?;
    let file = Path::new(span["file_name"].as_str()?).file_name()?;
    let line = span["line_start"].as_u64()?;
    Some((lint.to_owned(), file.to_str()?.to_owned(), line))
}

/// Returns the lines of the sources that end with a mark.
fn marked(mark: &str, lint: &str) -> BTreeSet<Warning> {
    let mut lines = BTreeSet::new();
    for name in SOURCES {
        let text = fs::read_to_string(Path::new(HERE).join("src").join(name)).unwrap();
        for (number, _) in (1..)
            .zip(text.lines())
            .filter(|(_, line)| line.ends_with(mark))
        {
            lines.insert((lint.to_owned(), name.to_owned(), number));
        }
    }
    assert!(!lines.is_empty());
    lines
}

#[test]
fn clippy_refuses_a_call_outside_of_protected_bodies_and_accepts_it_inside() {
    let mut expected = marked("// refused", "clippy::disallowed_methods");
    expected.extend(marked("// other", "clippy::bool_comparison"));
    assert_eq!(
        clippy(&["--no-default-features"], Path::new(HERE)),
        expected
    );
}

#[test]
fn every_method_of_the_groups_exists() {
    // Without the option that silences clippy where a path does not exist. Crates that this package
    // does not use are not searched.
    let text = fs::read_to_string(Path::new(HERE).join("clippy.toml")).unwrap();
    let strict = text.replace(", allow-invalid = true", "");
    assert_ne!(strict, text);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clippy.toml"), strict).unwrap();
    assert_eq!(clippy(&[], folder.path()), BTreeSet::new());
}
