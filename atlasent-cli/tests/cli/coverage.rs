//! `atlasent policy coverage`: which policies the cases decide, as text, JSON and lcov.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent, directory};

const POLICIES: &str = r#"// Deployments.
@id("deployers")
permit (principal == Agent::"bot", action == Action::"deploy", resource);

@id("big") @decision("hold")
forbid (principal, action == Action::"deploy", resource)
when { context.replicas > 50 };
@id("drops") forbid (principal, action == Action::"drop", resource);
"#;

fn deploy(replicas: i64, expect: &str) -> Value {
    json!({ "agent": "bot", "action": "deploy", "context": { "replicas": replicas }, "expect": expect })
}

fn folder(cases: &Value) -> TempDir {
    let cases = cases.to_string();
    directory(&[("p.cedar", POLICIES), ("tests.json", &cases)])
}

fn coverage(directory: &TempDir, options: &[&str]) -> Atlasent {
    let directory = directory.path().to_str().unwrap();
    atlasent(["policy", "coverage", directory].iter().chain(options))
}

/// The text with `DIR` for the directory.
fn in_dir(directory: &TempDir, text: &str) -> String {
    text.replace(directory.path().to_str().unwrap(), "DIR")
}

#[test]
fn each_line_of_a_policy_has_the_number_of_cases_that_the_policy_decided() {
    let folder = folder(&json!([deploy(3, "allow"), deploy(4, "allow")]));
    let text = coverage(&folder, &[]).prints();
    assert_eq!(
        in_dir(&folder, &text),
        "DIR/p.cedar\n\
         \x20          1 | // Deployments.\n\
         \x20    2     2 | @id(\"deployers\")\n\
         \x20    2     3 | permit (principal == Agent::\"bot\", action == Action::\"deploy\", resource);\n\
         \x20          4 |\n\
         !    0     5 | @id(\"big\") @decision(\"hold\")\n\
         !    0     6 | forbid (principal, action == Action::\"deploy\", resource)\n\
         !    0     7 | when { context.replicas > 50 };\n\
         !    0     8 | @id(\"drops\") forbid (principal, action == Action::\"drop\", resource);\n\
         \n\
         matched no case:\n\
         \x20 DIR/p.cedar:8: `drops`\n\
         evaluated, and decided no case:\n\
         \x20 DIR/p.cedar:5: `big` (2 cases)\n\
         1 of 3 policies decided a case (33.3 %); cases: 2 passed, 0 failed\n"
    );
}

#[test]
fn a_permit_that_a_forbid_overrules_decides_nothing() {
    let folder =
        folder(&json!([deploy(51, "hold"), { "agent": "x", "action": "drop", "expect": "deny" }]));
    let report: Value = serde_json::from_str(&coverage(&folder, &["--json"]).prints()).unwrap();
    let policies = &report["files"][0]["policies"];
    assert_eq!(
        *policies,
        json!([
            { "id": "deployers", "first_line": 2, "last_line": 3, "decided": 0, "evaluated": 1 },
            { "id": "big", "first_line": 5, "last_line": 7, "decided": 1, "evaluated": 0 },
            { "id": "drops", "first_line": 8, "last_line": 8, "decided": 1, "evaluated": 0 },
        ])
    );
    assert_eq!(
        (&report["percent"], &report["ok"]),
        (&json!(66.6), &json!(true))
    );
    assert_eq!(report["cases"], json!({ "passed": 2, "failed": 0 }));
    assert_eq!(
        (&report["policies"], &report["decided"]),
        (&json!(3), &json!(2))
    );
}

#[test]
fn a_policy_that_fails_to_evaluate_decides_nothing() {
    let folder = folder(&json!([{ "agent": "bot", "action": "deploy", "expect": "deny" }]));
    let text = coverage(&folder, &[]).prints();
    assert!(
        text.contains("0 of 3 policies decided a case (0 %)"),
        "{text}"
    );
    assert!(text.contains("p.cedar:5: `big` (1 case)\n"), "{text}");
}

#[test]
fn tools_read_lcov() {
    let folder = folder(&json!([deploy(3, "allow"), deploy(51, "hold")]));
    let file = folder.path().join("coverage.info");
    fs::write(&file, "old").unwrap();
    coverage(&folder, &["--lcov", file.to_str().unwrap()]).prints();
    let lcov = fs::read_to_string(&file).unwrap();
    assert_eq!(
        in_dir(&folder, &lcov),
        "TN:\nSF:DIR/p.cedar\n\
         FN:2,deployers\nFNDA:1,deployers\nFN:5,big\nFNDA:1,big\nFN:8,drops\nFNDA:0,drops\nFNF:3\nFNH:2\n\
         DA:2,1\nDA:3,1\nDA:5,1\nDA:6,1\nDA:7,1\nDA:8,0\nLF:6\nLH:5\nend_of_record\n"
    );
    let missing = folder.path().join("missing").join("x");
    let line = coverage(&folder, &["--lcov", missing.to_str().unwrap()]).misuse();
    assert!(line.starts_with("cannot write `"), "{line}");
}

#[test]
fn lcov_counts_no_comment_and_no_blank_line() {
    let policies = "@id(\"all\")\n  // why\n\npermit (principal, action, resource);\n";
    let cases = json!([{ "agent": "a", "action": "b", "expect": "allow" }]).to_string();
    let folder = directory(&[("p.cedar", policies), ("tests.json", &cases)]);
    let file = folder.path().join("coverage.info");
    coverage(&folder, &["--lcov", file.to_str().unwrap()]).prints();
    let lcov = fs::read_to_string(&file).unwrap();
    assert!(lcov.contains("\nDA:1,1\nDA:4,1\nLF:2\nLH:2\n"), "{lcov}");
}

#[test]
fn a_threshold_fails_below_it_only() {
    let folder = folder(&json!([deploy(3, "allow"), deploy(51, "hold")]));
    for (percent, code) in [("0", 0), ("66.6", 0), ("66.7", 1), ("100", 1)] {
        let ended = coverage(&folder, &["--fail-under", percent]).run();
        assert_eq!((ended.code, ended.stderr.as_str()), (code, ""), "{percent}");
        let says = ended
            .stdout
            .contains(&format!("below {percent} %: add cases"));
        assert_eq!(says, code == 1, "{}", ended.stdout);
    }
    for wrong in ["101", "-1", "x", "NaN"] {
        let option = format!("--fail-under={wrong}");
        let line = coverage(&folder, &[&option]).misuse();
        assert!(line.contains("use a number from 0 to 100"), "{line}");
    }
}

#[test]
fn a_failing_case_fails_the_command() {
    let folder = folder(&json!([deploy(3, "deny")]));
    let text = coverage(&folder, &[]).finds();
    assert!(
        text.ends_with("cases: 0 passed, 1 failed\n`atlasent policy test` shows why cases fail\n"),
        "{text}"
    );
}

#[test]
fn cases_come_from_all_files_that_are_named() {
    let folder = folder(&json!([deploy(3, "allow")]));
    let more = json!({ "policies": "elsewhere", "cases": [deploy(51, "hold")] }).to_string();
    let more_file = folder.path().join("more.json");
    fs::write(&more_file, more).unwrap();
    let more_file = more_file.to_str().unwrap();
    let tests = folder.path().join("tests.json");
    let text = coverage(
        &folder,
        &["--tests", more_file, "--tests", tests.to_str().unwrap()],
    )
    .prints();
    assert!(text.contains("2 of 3 policies"), "{text}");
    let text = coverage(&folder, &["--tests", more_file]).prints();
    assert!(text.contains("1 of 3 policies"), "{text}");
    fs::remove_file(tests).unwrap();
    let line = coverage(&folder, &[]).misuse();
    assert!(line.contains("tests.json`: No such file"), "{line}");
}

#[test]
fn the_sites_of_a_program_show_actions_without_code_and_without_a_policy() {
    let folder = folder(&json!([deploy(3, "allow")]));
    let sites = folder.path().join("sites.json");
    let option = ["--sites", sites.to_str().unwrap()];
    fs::write(
        &sites,
        r#"[{"action": "deploy", "line": 3}, {"action": "deplyo"}, {"action": null}]"#,
    )
    .unwrap();
    let text = coverage(&folder, &option).finds();
    assert!(
        text.contains(
            "actions that no code performs:\n  `drop`, named by policy `drops` at p.cedar:8:1\n"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "actions in code that are always denied:\n  deplyo: the policies do not know it"
        ),
        "{text}"
    );
    let json = coverage(&folder, &["--json", option[0], option[1]]).finds();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["actions"]["without_code"][0]["action"], "drop");
    assert_eq!(json["actions"]["denied"][0]["action"], "deplyo");

    fs::write(&sites, "[1]").unwrap();
    let line = coverage(&folder, &option).misuse();
    assert!(
        line.contains("sites.json`: ") && line.contains("atlasent::sites()"),
        "{line}"
    );
}

#[test]
fn a_policy_that_matches_no_request_says_why() {
    let policies = "@id(\"off\") permit (principal, action, resource) when { false };";
    let cases = json!([{ "agent": "a", "action": "b", "expect": "deny" }]).to_string();
    let folder = directory(&[("p.cedar", policies), ("tests.json", &cases)]);
    let text = coverage(&folder, &[]).prints();
    assert!(
        text.contains(
            "p.cedar:1: policy `off` matches no request: its conditions are always false\n"
        ),
        "{text}"
    );
}

#[test]
fn the_starter_set_is_covered_by_its_own_tests() {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    atlasent(["policy", "init", policies.to_str().unwrap()]).prints();
    let arguments = [
        "policy",
        "coverage",
        policies.to_str().unwrap(),
        "--fail-under",
        "100",
    ];
    atlasent(arguments).prints();
}
