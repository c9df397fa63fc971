//! Checks the tables of `docs/security/`: each row names code and tests that exist.
//!
//! A row ends in two cells. `Code` holds paths from the root of the repository. `Test` holds tests
//! as `path::function`, where the function is a test of that file and is not ignored. A renamed
//! test or a moved file fails here until the page is updated.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the functions that test every store. A macro in `STORE_TESTS` makes tests of those
/// that it lists.
const STORE_SUITE: &str = "tests/tests/stores/suite/";
const STORE_TESTS: &str = "tests/tests/stores/main.rs";

/// The pages that have no table.
const WITHOUT_TABLE: [&str; 1] = ["limitations.md"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The pages, each as its file name and its text.
fn pages() -> Vec<(String, String)> {
    let entries = fs::read_dir(repository().join("docs/security")).unwrap();
    let mut pages: Vec<(String, String)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    pages.sort();
    pages
}

/// The file at a path from the root of the repository. `None` if it is missing, or if the path
/// leads out of the repository.
fn source(path: &str) -> Option<String> {
    exists(path)
        .then(|| fs::read_to_string(repository().join(path)).ok())
        .flatten()
}

fn exists(path: &str) -> bool {
    let inside = !path.starts_with('/') && !path.split('/').any(|part| part == "..");
    inside && !path.is_empty() && repository().join(path).exists()
}

/// The texts between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The cells of a row. `None` for a line outside of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?;
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    Some(inner.split('|').map(str::trim).collect())
}

/// The name of the function that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// Whether the text holds a test function of this name that is not ignored.
fn has_test(text: &str, name: &str) -> bool {
    let (mut test, mut ignored) = (false, false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            ignored |= line.starts_with("#[ignore");
        } else if !line.is_empty() && !line.starts_with("//") {
            if test && !ignored && declared(line) == Some(name) {
                return true;
            }
            (test, ignored) = (false, false);
        }
    }
    false
}

/// Whether the file of the stores' suite declares the function, and the macro's list names it.
fn is_store_promise(path: &str, text: &str, name: &str) -> bool {
    let Some(subject) = path
        .strip_prefix(STORE_SUITE)
        .and_then(|file| file.strip_suffix(".rs"))
    else {
        return false;
    };
    let listing = source(STORE_TESTS).unwrap_or_default();
    let listed = listing
        .split(&format!("    {subject}:\n"))
        .skip(1)
        .filter_map(|rest| rest.split(';').next())
        .flat_map(|promises| promises.split(','))
        .any(|promise| promise.trim() == name);
    listed && text.lines().any(|line| declared(line) == Some(name))
}

/// Checks that `path::function` is a test of this repository. Returns the finding if it is not.
fn check_test(test: &str) -> Option<String> {
    let Some((path, name)) = test.rsplit_once("::") else {
        return Some(format!("`{test}` is not of the form `path::function`"));
    };
    let Some(text) = source(path) else {
        return Some(format!("the file of `{test}` does not exist"));
    };
    let found = has_test(&text, name) || is_store_promise(path, &text, name);
    (!found).then(|| format!("`{path}` has no test `{name}`"))
}

/// Checks a row. Returns one line for each finding.
fn check_row(columns: usize, cells: &[&str]) -> Vec<String> {
    if cells.len() != columns {
        return vec![format!("it has {} cells of {columns}", cells.len())];
    }
    let mut wrong = Vec::new();
    if cells.contains(&"") {
        wrong.push("a cell is empty".to_owned());
    }
    let (code, tests) = (quoted(cells[columns - 2]), quoted(cells[columns - 1]));
    if code.is_empty() {
        wrong.push("it names no code".to_owned());
    }
    if tests.is_empty() {
        wrong.push("it names no test".to_owned());
    }
    let missing = code.iter().filter(|path| !exists(path));
    wrong.extend(missing.map(|path| format!("`{path}` does not exist")));
    wrong.extend(tests.iter().filter_map(|test| check_test(test)));
    wrong
}

/// Checks the tables of a page. Returns the number of their rows, and one line for each finding.
fn check(page: &str, text: &str) -> (usize, Vec<String>) {
    let (mut rows, mut findings) = (0, Vec::new());
    let mut columns = None;
    for (line, number) in text.lines().zip(1..) {
        let Some(cells) = cells(line) else {
            columns = None;
            continue;
        };
        let Some(columns) = columns else {
            columns = Some(cells.len());
            if !cells.ends_with(&["Code", "Test"]) {
                findings.push(format!(
                    "{page}:{number}: the last columns of a table are `Code` and `Test`"
                ));
            }
            continue;
        };
        let is_rule = cells.iter().all(|cell| cell.starts_with("---"));
        if !is_rule {
            rows += 1;
            let wrong = check_row(columns, &cells).into_iter();
            findings.extend(wrong.map(|why| format!("{page}:{number}: {why}")));
        }
    }
    (rows, findings)
}

#[test]
fn each_row_names_code_and_tests_that_exist() {
    let pages = pages();
    assert!(!pages.is_empty());
    let mut findings = Vec::new();
    for (name, text) in pages {
        let (rows, wrong) = check(&name, &text);
        findings.extend(wrong);
        if (rows == 0) != WITHOUT_TABLE.contains(&&*name) {
            findings.push(format!("{name}: {rows} rows"));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn a_row_that_loses_its_code_or_its_test_is_found() {
    const CODE: &str = "`tests/tests/evidence.rs`";
    const TEST: &str = "`tests/tests/evidence.rs::a_row_that_loses_its_code_or_its_test_is_found`";
    let table = |head: &str, row: &str| format!("| Claim | {head} |\n|---|---|---|\n{row}\n");
    let row = |code: &str, test: &str| {
        let text = table("Code | Test", &format!("| it holds | {code} | {test} |"));
        check("page", &text)
    };
    assert_eq!(row(CODE, TEST), (1, Vec::new()));
    let promise = "`tests/tests/stores/suite/permits.rs::of_many_who_hold_one_permit_one_passes`";
    assert_eq!(row(CODE, promise), (1, Vec::new()));

    for (code, test, why) in [
        (CODE, "", "a cell is empty"),
        (CODE, "a reviewer looks", "it names no test"),
        (CODE, CODE, "is not of the form"),
        (CODE, "`tests/tests/gone.rs::a_test`", "does not exist"),
        (
            CODE,
            "`tests/tests/evidence.rs::a_renamed_test`",
            "has no test `a_renamed_test`",
        ),
        (
            CODE,
            "`tests/tests/evidence.rs::has_test`",
            "has no test `has_test`",
        ),
        (
            CODE,
            "`tests/tests/stores/suite/permits.rs::a_renamed_promise`",
            "has no test",
        ),
        ("", TEST, "a cell is empty"),
        ("the server", TEST, "it names no code"),
        (
            "`atlasent/src/gone.rs`",
            TEST,
            "`atlasent/src/gone.rs` does not exist",
        ),
        ("`../../etc/passwd`", TEST, "does not exist"),
    ] {
        let (rows, findings) = row(code, test);
        assert_eq!(rows, 1);
        let found = findings.iter().any(|finding| finding.contains(why));
        assert!(found, "{code} {test}: {findings:?}");
    }
    for text in [
        table("Code | Test", &format!("| it holds | {CODE} |")),
        table("Code | Test", &format!("| it holds | {CODE}")),
        table("Code | Notes", &format!("| it holds | {CODE} | {TEST} |")),
    ] {
        assert_eq!(check("page", &text).1.len(), 1, "{text}");
    }
}

#[test]
fn an_ignored_test_shows_nothing() {
    for (text, shows) in [
        ("#[test]\nfn holds() {}", true),
        (
            "#[tokio::test(start_paused = true)]\nasync fn holds() {}",
            true,
        ),
        (
            "    #[test]\n    // Why.\n    #[cfg(unix)]\n    fn holds(n in 0..3_u8) {}",
            true,
        ),
        ("#[test]\n#[ignore = \"slow\"]\nfn holds() {}", false),
        ("#[ignore]\n#[test]\nfn holds() {}", false),
        ("fn holds() {}", false),
        ("// #[test]\nfn holds() {}", false),
        ("#[test]\nfn another() {}\nfn holds() {}", false),
        ("#[test]\nfn holds_too() {}", false),
    ] {
        assert_eq!(has_test(text, "holds"), shows, "{text}");
    }
}
