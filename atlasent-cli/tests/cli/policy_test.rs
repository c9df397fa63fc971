//! `atlasent policy test`: every expectation in a test file is compared.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent, directory};

const POLICIES: &str = r#"
@id("deployers") @reason("deployers may deploy") permit (principal == Agent::"bot", action == Action::"deploy", resource);
@id("big") @decision("hold") @reason("a person agrees first") @code("BIG")
forbid (principal, action == Action::"deploy", resource) when { context.replicas > 50 };
@id("huge") @decision("escalate") forbid (principal, action == Action::"deploy", resource == Resource::"eu")
when { context.replicas > 500 };
"#;

/// A directory with the policies, and beside them these cases.
fn suite(cases: &Value) -> TempDir {
    directory(&[("p.cedar", POLICIES), ("tests.json", &cases.to_string())])
}

fn test(directory: &TempDir, options: &[&str]) -> Atlasent {
    let file = directory.path().join("tests.json");
    atlasent(
        ["policy", "test", file.to_str().unwrap()]
            .iter()
            .chain(options),
    )
}

fn deploy(replicas: i64, expect: &str) -> Value {
    json!({ "agent": "bot", "action": "deploy", "context": { "replicas": replicas }, "expect": expect })
}

#[test]
fn cases_with_the_expected_decisions_pass() {
    let directory = suite(&json!({ "policies": ".", "cases": [
        deploy(3, "allow"),
        { "name": "big", "agent": "bot", "action": "deploy", "context": { "replicas": 51 }, "expect": "hold",
          "code": "BIG", "reason": "a person agrees first", "policies": ["big"] },
        { "agent": "bot", "action": "deploy", "resource": "eu", "context": { "replicas": 501 }, "expect": "escalate",
          "policies": ["huge", "big"] },
        { "agent": "bot", "action": "drop", "expect": "deny", "code": "UNKNOWN_ACTION", "policies": [] },
    ]}));
    assert_eq!(test(&directory, &[]).prints(), "4 passed, 0 failed\n");
}

#[test]
fn a_case_has_the_fields_of_a_request_and_exact_numbers() {
    let policies = r#"
        permit (principal, action, resource)
        when { context.environment == "live" && context.amount == 9223372036854775807 };"#;
    let cases = r#"{ "policies": ".", "cases": [
        {"agent": "bot", "action": "pay", "environment": "live", "amount": 9223372036854775807.0, "expect": "allow"},
        {"agent": "bot", "action": "pay", "context": {"environment": "live", "amount": 9223372036854775807.0}, "expect": "allow"},
        {"agent": "bot", "action": "pay", "environment": "live", "amount": 9223372036854775806, "expect": "deny"},
        {"agent": "bot", "action": "pay", "environment": "test", "amount": 1, "expect": "deny"}
    ]}"#;
    let directory = directory(&[("p.cedar", policies), ("tests.json", cases)]);
    assert_eq!(test(&directory, &[]).prints(), "4 passed, 0 failed\n");
}

#[test]
fn a_failing_case_says_what_was_expected_what_came_and_why() {
    let mut big = deploy(500, "deny");
    big["name"] = "no big ones".into();
    big["code"] = "TOO_BIG".into();
    big["reason"] = "never".into();
    big["policies"] = json!(["huge", "big"]);
    let directory = suite(&json!({ "policies": ".", "cases": [deploy(3, "allow"), big] }));
    assert_eq!(
        test(&directory, &[]).finds(),
        "FAILED row 2: `no big ones`\n\
         \x20 decision: expected `deny`, got `hold`\n\
         \x20 code: expected `TOO_BIG`, got `BIG`\n\
         \x20 reason: expected `never`, got `a person agrees first`\n\
         \x20 policies: expected `big`, `huge`, got `big`\n\
         \x20 because: a person agrees first\n\
         \x20 decided by: `big` at p.cedar:3:1\n\
         1 passed, 1 failed\n"
    );
}

#[test]
fn a_case_on_which_a_policy_errs_shows_the_error() {
    let directory = suite(&json!({ "policies": ".", "cases": [
        { "agent": "bot", "action": "deploy", "expect": "allow", "policies": ["deployers"] }
    ]}));
    let found = test(&directory, &[]).finds();
    for line in [
        "FAILED row 1: agent `bot`, action `deploy`\n",
        "  because: policy `big` could not be evaluated\n",
        "  error: p.cedar:4:65: policy `big`: ",
    ] {
        assert!(found.contains(line), "{found}");
    }
}

#[test]
fn each_expectation_alone_can_fail_a_case() {
    for (field, wrong) in [
        ("code", json!("big")),
        ("reason", json!("A person agrees first")),
        ("policies", json!([])),
        ("policies", json!(["bigger"])),
    ] {
        let mut case = deploy(51, "hold");
        case[field] = wrong;
        let found = test(&suite(&json!({ "policies": ".", "cases": [case] })), &[]).finds();
        assert!(
            found.contains(&format!("\n  {field}: expected ")),
            "{found}"
        );
    }
}

#[test]
fn a_program_gets_the_same_as_json() {
    let directory =
        suite(&json!({ "policies": ".", "cases": [deploy(3, "allow"), deploy(51, "deny")] }));
    let report: Value = serde_json::from_str(&test(&directory, &["--json"]).finds()).unwrap();
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        report["cases"],
        json!([
            { "row": 1, "passed": true, "differences": [],
              "got": { "decision": "allow", "reason": "deployers may deploy", "policies": ["deployers"], "errors": [] } },
            { "row": 2, "passed": false,
              "differences": [{ "field": "decision", "expected": "deny", "got": "hold" }],
              "got": { "decision": "hold", "reason": "a person agrees first", "code": "BIG", "policies": ["big"], "errors": [] } },
        ])
    );
}

#[test]
fn the_policies_are_those_of_the_option_else_those_the_file_names() {
    let array = suite(&json!([deploy(3, "allow")]));
    let line = test(&array, &[]).misuse();
    assert!(
        line.ends_with(
            "` names no directory of policies: add `policies` to it, or give `--policies <DIR>`"
        ),
        "{line}"
    );
    let path = array.path().to_str().unwrap();
    assert_eq!(
        test(&array, &["--policies", path]).prints(),
        "1 passed, 0 failed\n"
    );

    let elsewhere = suite(&json!({ "policies": "missing", "cases": [deploy(3, "allow")] }));
    let line = test(&elsewhere, &[]).misuse();
    assert!(
        line.starts_with("cannot load the policies in `") && line.contains("missing"),
        "{line}"
    );
    assert_eq!(
        test(&elsewhere, &["--policies", path]).prints(),
        "1 passed, 0 failed\n"
    );
}

#[test]
fn a_misspelled_or_empty_test_file_is_misuse() {
    let mut misspelled = deploy(3, "allow");
    misspelled["expect_code"] = "BIG".into();
    for (cases, words) in [
        (
            json!({ "policies": ".", "cases": [] }),
            "the file holds no cases: add at least one",
        ),
        (
            json!([deploy(3, "allow"), misspelled]),
            "row 2: unknown field `expect_code`",
        ),
        (
            json!([deploy(3, "Allow")]),
            "row 1: unknown variant `Allow`",
        ),
        (
            json!([deploy(3, "allow"), { "agent": "", "action": "b", "expect": "deny" }]),
            "row 2: ",
        ),
        (
            json!({ "policy": ".", "cases": [] }),
            "unknown field `policy`",
        ),
    ] {
        let line = test(&suite(&cases), &["--policies", "."]).misuse();
        assert!(
            line.contains("tests.json`: ") && line.contains(words),
            "{line}"
        );
    }
    let line = atlasent(["policy", "test", "/missing.json"]).misuse();
    assert!(line.starts_with("`/missing.json`: "), "{line}");
}
