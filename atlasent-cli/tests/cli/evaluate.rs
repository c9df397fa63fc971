//! `atlasent evaluate`: the decision and its explanation.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Atlasent, atlasent, directory};

const POLICIES: &str = r#"
@id("deployers") permit (principal == Agent::"bot", action == Action::"deploy", resource);
@id("big") @decision("hold") @reason("a person agrees first") @code("BIG") @retry_after("300")
forbid (principal, action == Action::"deploy", resource) when { context.replicas > 50 };
@id("eu") forbid (principal in Role::"guests", action, resource);
"#;

fn policies() -> TempDir {
    directory(&[("p.cedar", POLICIES)])
}

fn deploy(policies: &TempDir, options: &[&str]) -> Atlasent {
    let path = policies.path().to_str().unwrap();
    let question = [
        "evaluate",
        "--policies",
        path,
        "--agent",
        "bot",
        "--action",
        "deploy",
    ];
    atlasent(question.iter().chain(options))
}

#[test]
fn an_allow_ends_with_0_and_lists_what_was_considered() {
    assert_eq!(
        deploy(&policies(), &["--context", r#"{"replicas": 3}"#]).prints(),
        "allow: permitted by policy `deployers`\n\
         decided by: `deployers` at p.cedar:2:1\n\
         considered:\n\
         \x20 `big` at p.cedar:3:1 (hold): condition does not match\n\
         \x20 `deployers` at p.cedar:2:1 (allow): matches\n\
         \x20 `eu` at p.cedar:5:1 (deny): scope does not match\n"
    );
}

#[test]
fn any_other_decision_ends_with_1_and_says_why() {
    assert_eq!(
        deploy(&policies(), &["--context", r#"{"replicas": 500}"#]).finds(),
        "hold: a person agrees first\n\
         code: BIG\n\
         retry after: 300 s\n\
         decided by: `big` at p.cedar:3:1\n\
         considered:\n\
         \x20 `big` at p.cedar:3:1 (hold): matches\n\
         \x20 `deployers` at p.cedar:2:1 (allow): matches\n\
         \x20 `eu` at p.cedar:5:1 (deny): scope does not match\n"
    );
    let found = deploy(
        &directory(&[(
            "p.cedar",
            r#"permit (principal == Agent::"reader", action == Action::"deploy", resource);"#,
        )]),
        &[],
    )
    .finds();
    assert!(
        found.starts_with("deny: no policy permits")
            && found.ends_with("\nconsidered: no policies\n"),
        "{found}"
    );
}

#[test]
fn a_misspelled_name_is_reported_with_a_suggestion() {
    let policies = directory(&[(
        "p.cedar",
        r#"permit (principal == Agent::"deploy-agent", action == Action::"wire.transfer", resource);"#,
    )]);
    let path = policies.path().to_str().unwrap();
    let ask = |agent: &str, action: &str, options: &[&str]| {
        let question = [
            "evaluate",
            "--policies",
            path,
            "--agent",
            agent,
            "--action",
            action,
        ];
        atlasent(question.iter().chain(options)).finds()
    };
    let found = ask("deploy-agent", "wire.transfre", &[]);
    assert!(
        found.starts_with(
            "deny: no policy names `wire.transfre`; did you mean `wire.transfer`?\ncode: UNKNOWN_ACTION\n"
        ),
        "{found}"
    );
    let found = ask("deploy-agnet", "wire.transfer", &[]);
    assert!(
        found.contains(
            "names the agent `deploy-agnet`: is it misspelt?\ncode: NO_MATCHING_POLICY\n"
        ) && found.contains("\nhint: did you mean the agent `deploy-agent`?\n"),
        "{found}"
    );
    let found: Value =
        serde_json::from_str(&ask("deploy-agnet", "wire.transfer", &["--json"])).unwrap();
    assert_eq!(found["hint"], "did you mean the agent `deploy-agent`?");
}

#[test]
fn a_policy_that_could_not_be_evaluated_is_named_with_its_place() {
    let found = deploy(&policies(), &[]).finds();
    for line in [
        "deny: policy `big` could not be evaluated\ncode: POLICY_EVALUATION_ERROR\n",
        "\nerror: p.cedar:4:65: policy `big`: ",
        "\n  `big` at p.cedar:3:1 (hold): could not be evaluated\n",
    ] {
        assert!(found.contains(line), "{found}");
    }
}

#[test]
fn the_resource_and_a_context_from_standard_input_count() {
    let policies = directory(&[(
        "p.cedar",
        r#"permit (principal, action, resource == Resource::"eu") when { context has ok };"#,
    )]);
    let asked = |options: &[&str]| deploy(&policies, options).stdin(" {\"ok\": 1}\n");
    asked(&["--resource", "eu", "--context", "-"]).prints();
    asked(&["--resource", "us", "--context", "-"]).finds();
    asked(&["--resource", "eu"]).finds();
}

#[test]
fn the_environment_the_amount_and_exact_numbers_count() {
    let policies = directory(&[(
        "p.cedar",
        r#"permit (principal, action, resource)
           when { context.environment == "live" && context.amount == 9223372036854775807 };
           forbid (principal, action, resource) when { context has tier && context.tier == 3 };"#,
    )]);
    let asked = |options: &[&str]| deploy(&policies, options);
    let live = ["--environment", "live", "--amount", "9223372036854775807.0"];
    asked(&live).prints();
    asked(&["--environment", "test", "--amount", "9223372036854775807"]).finds();
    asked(&["--environment", "live", "--amount", "-5"]).finds();
    let with = |context: &'static str| [&live[..], &["--context", context]].concat();
    asked(&with(
        r#"{"environment": "live", "amount": 9223372036854775807e0}"#,
    ))
    .prints();
    asked(&with(r#"{"tier": 300e-2}"#)).finds();
    for options in [
        with(r#"{"environment": "test"}"#),
        with(r#"{"amount": 9223372036854775806.0}"#),
        with(r#"{"tier": 1e10000}"#),
        vec!["--amount", "0.30000000000000000001"],
        vec!["--amount", "much"],
    ] {
        asked(&options).misuse();
    }
}

#[test]
fn a_program_gets_the_trace_of_the_wire_as_json() {
    let text = deploy(
        &policies(),
        &["--json", "--context", r#"{"replicas": 500}"#],
    )
    .finds();
    let mut answer: Value = serde_json::from_str(&text).unwrap();
    let trace = answer
        .as_object_mut()
        .unwrap()
        .remove("constraint_trace")
        .unwrap();
    assert_eq!(
        answer,
        json!({ "decision": "hold", "reason": "a person agrees first", "code": "BIG", "retry_after": 300, "errors": [],
                "policies": [{ "id": "big", "place": "p.cedar:3:1" }] })
    );
    assert_eq!(trace["matching_policy_id"], "big");
    let rule = &trace["rules_evaluated"][0];
    assert_eq!(
        (&rule["policy_id"], &rule["decision"]),
        (&json!("big"), &json!("hold"))
    );
    assert!(rule["fingerprint"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(
        rule["stages"],
        json!([{ "stage": "scope", "matched": true, "order": 0 }, { "stage": "condition", "matched": true, "order": 1 }])
    );

    let allow = deploy(&policies(), &["--json", "--context", r#"{"replicas": 3}"#]).prints();
    let allow: Value = serde_json::from_str(&allow).unwrap();
    assert_eq!(
        (&allow["decision"], allow.get("code")),
        (&json!("allow"), None)
    );
    assert_eq!(allow["constraint_trace"]["matching_policy_id"], json!(null));
}

#[test]
fn an_invalid_request_is_misuse_and_not_a_denial() {
    for context in [
        "",
        "[]",
        "7",
        "{",
        "{'a': 1}",
        "null",
        "{} {}",
        r#"{"a": 1, "a": 2}"#,
    ] {
        let line = deploy(&policies(), &["--context", context]).misuse();
        assert!(
            line.starts_with("`--context` must be a JSON object without repeated keys, "),
            "{context}: {line}"
        );
    }
    let line = deploy(&policies(), &["--context", "{\"key\": s3cret}"]).misuse();
    assert!(!line.contains("s3cret"), "{line}");
    let spaces = deploy(&policies(), &["--context", "-"]).stdin(vec![b' '; (1 << 20) + 1]);
    assert_eq!(
        spaces.misuse(),
        "standard input exceeds the limit of 1048576 bytes for a request"
    );
    deploy(&policies(), &["--context", "-"])
        .stdin([0xff])
        .misuse();

    let path = policies();
    let path = path.path().to_str().unwrap();
    for (agent, action) in [("", "a"), ("a", ""), (&"a".repeat(257), "a")] {
        atlasent([
            "evaluate",
            "--policies",
            path,
            "--agent",
            agent,
            "--action",
            action,
        ])
        .misuse();
    }
    let broken = directory(&[("p.cedar", "permit (principal, action);\npermit (x);")]);
    let line = deploy(&broken, &[]).misuse();
    assert!(
        line.contains("p.cedar:1:26: ")
            && line.contains("(and 3 more: see `atlasent policy check "),
        "{line}"
    );
    assert_eq!(
        atlasent(["evaluate"]).misuse(),
        "missing `--agent <AGENT>`, `--action <ACTION>`; see `atlasent evaluate --help`"
    );
}
