//! `atlasent boundary clippy`: the methods that it names, and a `clippy.toml` that loses nothing.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::support::{atlasent, directory};

const WIRE: &str = "my_bank::Ledger::wire";

/// The paths of the methods that a file disallows.
fn paths(text: &str) -> Vec<String> {
    let file: Table = text.parse().unwrap();
    let path = |entry: &Value| match entry {
        Value::String(path) => path.clone(),
        entry => entry["path"].as_str().unwrap().to_owned(),
    };
    let entries = file["disallowed-methods"].as_array().unwrap();
    entries.iter().map(path).collect()
}

/// Merges two methods into a file with this text, and returns what is printed and the new text.
fn merged(text: &str) -> (String, String) {
    let directory = directory(&[("clippy.toml", text)]);
    let file = directory.path().join("clippy.toml");
    let printed = merge(&file).prints();
    let report = printed.split_once(": ").unwrap().1.to_owned();
    (report, fs::read_to_string(file).unwrap())
}

fn merge(file: &Path) -> crate::support::Atlasent {
    let file = file.to_str().unwrap();
    atlasent(["boundary", "clippy", "process", WIRE, "--merge", file])
}

#[test]
fn the_methods_of_groups_and_paths_are_printed_with_what_to_do() {
    let printed = atlasent(["boundary", "clippy", "process", WIRE]).prints();
    assert!(
        printed.starts_with(
            "disallowed-methods = [\n    { path = \"std::process::Command::new\", reason = \"starts a process: move \
             the call into the body of a function with `#[protect]`\" },\n"
        ),
        "{printed}"
    );
    assert!(
        printed.ends_with(
            "    { path = \"my_bank::Ledger::wire\", reason = \"needs a permit: move the call into the body of a \
             function with `#[protect]`\" },\n]\n"
        ),
        "{printed}"
    );
    assert_eq!(
        paths(&printed),
        [
            "std::process::Command::new",
            "tokio::process::Command::new",
            "async_process::Command::new",
            "duct::cmd",
            WIRE
        ]
    );
    for group in ["files", "network", "sql"] {
        let printed = atlasent(["boundary", "clippy", group]).prints();
        assert!(paths(&printed).len() > 10, "{printed}");
    }
}

#[test]
fn a_method_is_printed_once_and_the_reason_can_be_chosen() {
    let reason = r#"ask "ops" \ first"#;
    let arguments = [
        "process",
        "process",
        "std::process::Command::new",
        "--reason",
        reason,
    ];
    let printed = atlasent(["boundary", "clippy"].iter().chain(&arguments)).prints();
    assert_eq!(paths(&printed).len(), 4);
    let file: Table = printed.parse().unwrap();
    for entry in file["disallowed-methods"].as_array().unwrap() {
        assert_eq!(entry["reason"].as_str(), Some(reason));
    }
}

#[test]
fn the_clippy_toml_of_the_test_package_is_what_the_command_prints() {
    let own = "atlasent_tests_clippy::launch";
    let printed = atlasent([
        "boundary", "clippy", "files", "network", "process", "sql", own,
    ])
    .prints();
    assert_eq!(include_str!("../../../tests/clippy/clippy.toml"), printed);
}

#[test]
fn a_new_file_is_what_the_command_prints() {
    let directory = directory(&[]);
    let file = directory.path().join("clippy.toml");
    let printed = merge(&file).prints();
    assert!(
        printed.ends_with("clippy.toml: 5 added, 0 already there\n"),
        "{printed}"
    );
    let alone = atlasent(["boundary", "clippy", "process", WIRE]).prints();
    assert_eq!(fs::read_to_string(&file).unwrap(), alone);
    // And a second time, nothing changes.
    let printed = merge(&file).prints();
    assert!(
        printed.ends_with("clippy.toml: 0 added, 5 already there\n"),
        "{printed}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), alone);
}

#[test]
fn a_file_keeps_every_line_that_it_has() {
    for text in [
        "",
        "# ours\n",
        "msrv = \"1.91\"",
        "msrv = \"1.91\" # why\n\n# the end",
        "disallowed-methods = []",
        "disallowed-methods = [ ] # none\nmsrv = \"1.91\"\n",
        "disallowed-methods = [\n]\n",
        "disallowed-methods = [\"a::b\"]\n",
        "disallowed-methods = [\"a::b\", \"c::d\" , ]\nmsrv = \"1.91\"\n",
        "disallowed-methods = [\n  \"a::b\", # first, of two\n  { path = \"c::d\", reason = \"no [x]\" } # last, of two\n  ]\n",
        "disallowed-methods = [\n    \"a::b\", # why\n    # more, to come\n]\nmsrv = \"1.91\"\n",
        "\"disallowed-methods\" = [\n\t\"a::b\"\n\n]",
        "disallowed-methods = [{ path = \"a::b\", reason = \"[[x]]\" }]",
        "msrv = \"1.91\"\n[[disallowed-methods]]\npath = \"a::b\" # why\n",
        "[[disallowed-methods]]\npath = \"a::b\"\n[[disallowed-methods]]\npath = \"c::d\"\n[other]\nx = 1",
        "# ours\n[other]\nx = 1\n",
        "\u{feff}msrv = \"1.91\"\n",
        "\u{feff}[other]\nx = 1\n",
    ] {
        let before: Table = text.parse().unwrap();
        let (report, after) = merged(text);
        assert_eq!(report, "5 added, 0 already there\n", "{text}");
        // Without what was added, the old text is left, but for spaces and a comma.
        let plain = |text: &str| text.replace([' ', '\n', '\t', ',', '\u{feff}'], "");
        let rest: Vec<&str> = after
            .lines()
            .filter(|line| !line.contains("#[protect]"))
            .collect();
        let whole = after.contains(text.trim_start_matches('\u{feff}').trim_end());
        assert!(whole || plain(&rest.join("\n")) == plain(text), "{after}");
        let mut table: Table = after.parse().unwrap();
        let mut listed = paths(&after);
        assert_eq!(listed.split_off(listed.len() - 5).last().unwrap(), WIRE);
        let mut was = before.clone();
        let old = was
            .remove("disallowed-methods")
            .map_or(vec![], |list| list.as_array().unwrap().clone());
        let new = table.remove("disallowed-methods").unwrap();
        assert_eq!(new.as_array().unwrap()[..old.len()], old, "{after}");
        assert_eq!(table, was, "{after}");
    }
}

#[test]
fn a_comment_stays_behind_its_entry() {
    let (_, after) = merged("disallowed-methods = [\n    \"a::b\" # why\n]\n");
    assert!(
        after.starts_with("disallowed-methods = [\n    \"a::b\", # why\n    { path = \"std::"),
        "{after}"
    );
    assert!(after.ends_with("`#[protect]`\" },\n]\n"), "{after}");
}

#[test]
fn lines_end_as_those_of_the_file() {
    let (_, after) = merged("msrv = \"1.91\"\r\n");
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    assert_eq!(paths(&after).len(), 5);
}

#[test]
fn an_entry_for_a_method_stays_as_it_is() {
    let own = "disallowed-methods = [\"my_bank::Ledger::wire\", { path = \"duct::cmd\", reason = \"ours\" }]\n";
    let (report, after) = merged(own);
    assert_eq!(report, "3 added, 2 already there\n");
    assert!(after.starts_with(own.trim_end_matches("]\n")), "{after}");
    assert_eq!(paths(&after).len(), 5);
}

#[test]
fn a_file_that_cannot_be_extended_stays_unchanged() {
    for (text, why) in [
        (
            "msrv = \"1.91\"\ndisallowed-methods = \n",
            "line 2 is not valid TOML",
        ),
        (
            "disallowed-methods = \"a::b\"\n",
            "its `disallowed-methods` is not a list",
        ),
        (
            "disallowed-methods.a = 1\n",
            "its `disallowed-methods` is not a list",
        ),
    ] {
        let directory = directory(&[("clippy.toml", text)]);
        let file = directory.path().join("clippy.toml");
        let line = merge(&file).misuse();
        assert!(
            line.contains("clippy.toml`, which is unchanged: "),
            "{line}"
        );
        assert!(line.contains(why), "{line}");
        assert_eq!(fs::read_to_string(file).unwrap(), text);
    }
    let directory = directory(&[]);
    let line = merge(directory.path()).misuse();
    assert!(line.contains("which is unchanged: "), "{line}");
    let line = merge(&directory.path().join("none/clippy.toml")).misuse();
    assert!(line.starts_with("cannot write `"), "{line}");
}

#[test]
fn a_name_that_is_neither_a_group_nor_a_path_is_misuse() {
    for name in [
        "proces", "", "new", "a::", "::a", "a b::c", "a::b()", "crate::a", "a::\"b",
    ] {
        let line = atlasent(["boundary", "clippy", "--", name]).misuse();
        assert!(
            line.contains("which are `files`, `network`, `process`, `sql`, nor a path"),
            "{name}: {line}"
        );
    }
    assert!(
        atlasent(["boundary", "clippy"])
            .misuse()
            .contains("missing `<GROUP|PATH>...`")
    );
    for reason in ["", " ", "a\nb", "a\u{1b}b"] {
        let line = atlasent(["boundary", "clippy", "process", "--reason", reason]).misuse();
        assert!(line.contains("the reason is"), "{line}");
    }
}
