//! `atlasent policy` and `atlasent evaluate`: what they find, and what their exit codes say.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ended, atlasent};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

fn folder(policies: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("some.cedar"), policies).unwrap();
    folder
}

fn check(folder: &Path, more: &[&str]) -> Ended {
    let folder = folder.to_str().unwrap();
    atlasent(
        ["policy", "check", folder]
            .into_iter()
            .chain(more.iter().copied()),
    )
    .run()
}

#[test]
fn good_policies_pass_the_check() {
    let checked = check(Path::new(EXAMPLES), &["--strict"]);
    assert_eq!(
        (checked.code, &*checked.stdout),
        (0, "4 policies, 0 warnings\n"),
        "{}",
        checked.stderr
    );
}

#[test]
fn what_an_authority_refuses_fails_the_check_with_its_place() {
    let broken = folder(
        "permit (principal, action, resource);\n@decision(\"maybe\")\nforbid (principal, action, resource);",
    );
    let checked = check(broken.path(), &[]);
    assert_eq!(checked.code, 1);
    assert!(
        checked
            .stdout
            .starts_with("some.cedar:2:1: error: unknown decision `maybe`"),
        "{}",
        checked.stdout
    );
    assert!(checked.stdout.ends_with("refused: 1 error\n"));
    let json: Value = serde_json::from_str(&check(broken.path(), &["--json"]).stdout).unwrap();
    assert_eq!(
        (&json["ok"], &json["errors"][0]["line"]),
        (&json!(false), &json!(2))
    );
}

#[test]
fn what_is_probably_a_mistake_is_a_warning() {
    let suspect = folder(
        "@id(\"a\") permit (principal, action == Action::\"deploy.production\", resource);\n\
         @id(\"b\") permit (principal, action == Action::\"deploy.production\", resource) when { context.x };\n\
         @id(\"c\") permit (principal, action == Action::\"deploy.prodution\", resource);\n\
         @id(\"d\") forbid (principal, action, resource) when { context.freeze };",
    );
    let checked = check(suspect.path(), &[]);
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    assert!(
        checked.stdout.contains("some.cedar:4:"),
        "{}",
        checked.stdout
    );
    assert!(
        checked.stdout.contains("`context.freeze`"),
        "{}",
        checked.stdout
    );
    assert!(
        checked.stdout.contains("deploy.prodution"),
        "{}",
        checked.stdout
    );
    assert_eq!(check(suspect.path(), &["--strict"]).code, 1);
}

#[test]
fn a_folder_that_is_none_is_said_to_be_none() {
    let checked = check(Path::new("/nowhere"), &[]);
    assert!(
        checked.code == 1 && checked.stdout.contains("/nowhere"),
        "{}",
        checked.stdout
    );
}

fn table(cases: &Value) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    fs::write(
        &path,
        json!({ "policies": EXAMPLES, "cases": cases }).to_string(),
    )
    .unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn deploy(replicas: u32, expect: &str) -> Value {
    json!({
        "name": format!("{replicas} replicas"), "agent": "deploy-bot", "action": "deploy.production",
        "context": { "commit": "4f2a9c1", "replicas": replicas }, "expect": expect
    })
}

#[test]
fn a_table_that_holds_passes() {
    let mut held = deploy(500, "hold");
    held["code"] = json!("NEEDS_RELEASE_MANAGER");
    held["policies"] = json!(["big-rollouts-wait"]);
    let (_folder, path) = table(&json!([deploy(3, "allow"), held]));
    assert_eq!(
        atlasent(["policy", "test", &path]).prints(),
        "2 passed, 0 failed\n"
    );
}

#[test]
fn a_case_that_fails_shows_what_differs_and_why() {
    let (_folder, path) = table(&json!([deploy(3, "allow"), deploy(500, "allow")]));
    let ended = atlasent(["policy", "test", &path]).run();
    assert_eq!(ended.code, 1);
    for line in [
        "FAILED 500 replicas",
        "  - decision: allow",
        "  + decision: hold",
        "    because: a rollout to more than 50 replicas waits for a person",
        "    by: big-rollouts-wait",
        "1 passed, 1 failed",
    ] {
        assert!(
            ended.stdout.lines().any(|said| said == line),
            "{line} in {}",
            ended.stdout
        );
    }
    let ended = atlasent(["policy", "test", &path, "--json"]).run();
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["passed"], &json["failed"]), (&json!(1), &json!(1)));
    assert_eq!(json["cases"][1]["differences"][0]["got"], "hold");
}

#[test]
fn a_table_with_a_slip_is_not_run() {
    let mut slip = deploy(3, "allow");
    slip["exepct"] = json!("deny");
    for (cases, said) in [
        (
            json!([deploy(3, "allow"), slip]),
            "case 2: unknown field `exepct`",
        ),
        (json!([deploy(3, "Allow")]), "case 1"),
        (
            json!([{ "agent": "a", "action": "b" }]),
            "missing field `expect`",
        ),
        (json!([]), "has no cases"),
        (json!("x"), "no table of cases"),
    ] {
        let (_folder, path) = table(&cases);
        let ended = atlasent(["policy", "test", &path]).run();
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.contains(said), "{said} in {}", ended.stderr);
    }
}

fn evaluate(context: &str, more: &[&str]) -> Ended {
    let arguments = [
        "evaluate",
        "--policies",
        EXAMPLES,
        "--agent",
        "deploy-bot",
        "--action",
        "deploy.production",
        "--context",
        context,
    ];
    atlasent(arguments.into_iter().chain(more.iter().copied())).run()
}

#[test]
fn an_answer_comes_with_its_reasons() {
    let allowed = evaluate(r#"{"commit":"a","replicas":3}"#, &[]);
    assert_eq!(allowed.code, 0, "{}", allowed.stderr);
    assert!(
        allowed.stdout.starts_with("allow: deployers may deploy\n"),
        "{}",
        allowed.stdout
    );
    assert!(
        allowed
            .stdout
            .contains("decides      deployers-deploy (allow, deploy.cedar:3:1)")
    );
    assert!(allowed.stdout.contains("does not     big-rollouts-wait"));

    let held = evaluate(r#"{"commit":"a","replicas":500}"#, &["--json"]);
    assert_eq!(held.code, 1);
    let json: Value = serde_json::from_str(&held.stdout).unwrap();
    assert_eq!(
        (&json["decision"], &json["policies"]),
        (&json!("hold"), &json!(["big-rollouts-wait"]))
    );
    assert_eq!(
        json["constraint_trace"]["matching_policy_id"],
        "big-rollouts-wait"
    );
}

#[test]
fn a_question_that_cannot_be_put_is_misuse() {
    for context in ["[]", "{", "7"] {
        let ended = evaluate(context, &[]);
        assert!(
            ended.code == 2 && ended.stderr.contains("`--context`"),
            "{}",
            ended.stderr
        );
    }
    let ended = atlasent([
        "evaluate",
        "--policies",
        "/nowhere",
        "--agent",
        "a",
        "--action",
        "b",
    ])
    .run();
    assert!(
        ended.code == 2 && ended.stderr.contains("/nowhere"),
        "{}",
        ended.stderr
    );
}
