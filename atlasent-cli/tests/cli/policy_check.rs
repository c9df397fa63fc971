//! `atlasent policy check`: each error and warning with its file, line and column.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent, directory};

const GOOD: &str = r#"permit (principal == Agent::"bot", action == Action::"deploy", resource);"#;
const SUSPECT: &str = "\nforbid (principal, action, resource)\nwhen { context.freeze };\n";
const BROKEN: &str = "permit (principal, actoin, resource);\npermit (principal, action);";

fn check(directory: &TempDir, options: &[&str]) -> Atlasent {
    let path = directory.path().to_str().unwrap();
    atlasent(["policy", "check", path].iter().chain(options))
}

/// Splits the output into the findings and the digest on the last line.
fn split_digest(printed: &str) -> (&str, &str) {
    let (findings, digest) = printed.rsplit_once("digest: ").unwrap();
    let digest = digest.strip_suffix('\n').unwrap();
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(
        digest.len() == 64 && digest.bytes().all(is_hex),
        "{printed}"
    );
    (findings, digest)
}

/// Removes the directory from the findings.
fn local(findings: &str, directory: &TempDir) -> String {
    let path = format!("{}/", directory.path().display());
    findings.replace(&path, "")
}

#[test]
fn policies_without_a_finding_pass() {
    let directory = directory(&[("a.cedar", GOOD), ("notes.txt", BROKEN)]);
    let printed = check(&directory, &[]).prints();
    assert_eq!(split_digest(&printed).0, "1 policy, 0 warnings\n");
    assert_eq!(check(&directory, &["--strict"]).prints(), printed);
}

#[test]
fn policies_on_the_types_of_a_schema_pass_the_strict_check() {
    let schema = r#"
        entity Agent; entity Resource;
        action pay appliesTo { principal: Agent, resource: Resource, context: {
            amount: decimal, environment: String, ip: ipaddr, at?: datetime, within?: duration, tags: Set<Long>,
        } };"#;
    let policies = r#"
        permit (principal, action == Action::"pay", resource)
        when { context.amount.lessThan(decimal("100.0")) && context.ip.isInRange(ip("10.0.0.0/8")) };
        forbid (principal, action == Action::"pay", resource)
        when { context.environment == "live" && context has at && context.at > datetime("2026-12-01") };
        forbid (principal, action == Action::"pay", resource)
        when { context.tags.contains(3) || (context has within && context.within > duration("1h")) };"#;
    let directory = directory(&[("a.cedar", policies), ("schema.cedarschema", schema)]);
    let found = check(&directory, &["--strict"]).prints();
    assert_eq!(split_digest(&found).0, "3 policies, 0 warnings\n");
}

#[test]
fn an_error_is_a_line_with_its_place_and_ends_with_1() {
    let directory = directory(&[("a.cedar", GOOD), ("b.cedar", BROKEN)]);
    let found = check(&directory, &[]).finds();
    let path = directory.path().join("b.cedar");
    assert!(
        found.starts_with(&format!("{}:1:20: error: ", path.display())),
        "{found}"
    );
    let lines: Vec<_> = found.lines().collect();
    assert!(lines[1].contains("b.cedar:2:26: error: "), "{found}");
    assert_eq!(lines[2..], ["refused: 2 errors"]);
}

#[test]
fn a_warning_passes_unless_the_check_is_strict() {
    let directory = directory(&[("a.cedar", GOOD), ("b.cedar", SUSPECT)]);
    let found = check(&directory, &[]).prints();
    assert!(
        local(&found, &directory)
            .starts_with("b.cedar:3:8: warning: policy `b.cedar#1` reads `context.freeze`"),
        "{found}"
    );
    let (findings, _) = split_digest(&found);
    assert!(findings.ends_with("\n2 policies, 1 warning\n"), "{found}");
    assert_eq!(check(&directory, &["--strict"]).finds(), found);
}

#[test]
fn warnings_of_loading_are_findings_too() {
    let directory = directory(&[(
        "a.cedar",
        r#"forbid (principal is User, action, resource);"#,
    )]);
    let found = check(&directory, &[]).prints();
    assert!(
        local(&found, &directory)
            .starts_with("a.cedar:1:1: warning: policy `a.cedar#1` never applies"),
        "{found}"
    );
}

#[test]
fn a_program_gets_the_same_as_json() {
    let good = directory(&[("a.cedar", GOOD), ("b.cedar", SUSPECT)]);
    let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let mut found = read(check(&good, &["--json"]).prints());
    let message = found["findings"][0]["message"].take();
    assert!(message.as_str().unwrap().contains("`context.freeze`"));
    let file = good.path().join("b.cedar").display().to_string();
    let printed = check(&good, &[]).prints();
    let digest = split_digest(&printed).1;
    assert_eq!(
        found,
        json!({ "ok": true, "policies": 2, "errors": 0, "warnings": 1, "digest": digest, "findings": [
            { "severity": "warning", "file": file, "line": 3, "column": 8, "message": null }
        ]})
    );
    assert_eq!(
        read(check(&good, &["--json", "--strict"]).finds())["ok"],
        false
    );

    let found = read(check(&directory(&[("a.cedar", BROKEN)]), &["--json"]).finds());
    assert_eq!(
        (&found["ok"], &found["errors"], found.get("policies")),
        (&json!(false), &json!(2), None)
    );
    assert_eq!(found.get("digest"), None);
    assert_eq!(found["findings"][1]["severity"], "error");
}

#[test]
fn a_directory_without_policies_is_refused() {
    let found = check(&directory(&[("notes.txt", "")]), &[]).finds();
    assert!(found.contains(": error: no `*.cedar` file"), "{found}");
}

#[test]
fn a_path_that_is_not_a_directory_is_misuse() {
    let directory = directory(&[("a.cedar", GOOD)]);
    for name in ["a.cedar", "missing"] {
        let path = directory.path().join(name);
        let line = atlasent(["policy".as_ref(), "check".as_ref(), path.as_os_str()]).misuse();
        assert!(
            line.ends_with(
                "` is not a directory: name the directory that holds the `*.cedar` files"
            ),
            "{line}"
        );
    }
    assert!(
        atlasent(["policy", "check"])
            .misuse()
            .starts_with("missing `<DIR>`")
    );
}

#[test]
fn a_policy_cannot_act_on_the_terminal() {
    let text = "@id(\"\u{1b}[31mx\u{202e}\") permit (principal, action, resource);";
    let found = check(&directory(&[("a.cedar", text)]), &[]).prints();
    assert!(
        found.contains("\\u{1b}[31mx\\u{202e}") && !found.contains('\u{1b}'),
        "{found:?}"
    );
}

#[test]
fn each_command_refuses_what_does_not_match_its_manifest() {
    let cases = r#"{ "policies": ".", "cases": [{ "agent": "bot", "action": "deploy", "expect": "allow" }] }"#;
    let manifest = format!("{}  a.cedar\n", "0".repeat(64));
    let directory = directory(&[
        ("a.cedar", GOOD),
        ("policies.sha256", &manifest),
        ("tests.json", cases),
    ]);
    let why = "`a.cedar` has another content than the manifest says";
    let found = check(&directory, &[]).finds();
    let place = directory.path().join("policies.sha256");
    assert!(
        found.starts_with(&format!("{}: error: {why}", place.display())),
        "{found}"
    );
    let path = directory.path().to_str().unwrap();
    let cases = format!("{path}/tests.json");
    let tested = atlasent(["policy", "test", &cases]).misuse();
    assert!(tested.contains(why), "{tested}");
    let evaluated = atlasent([
        "evaluate",
        "--policies",
        path,
        "--agent",
        "bot",
        "--action",
        "deploy",
    ]);
    let evaluated = evaluated.misuse();
    assert!(evaluated.contains(why), "{evaluated}");
}
