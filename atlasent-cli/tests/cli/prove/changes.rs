//! `atlasent policy compare`: what new policies allow, and the old ones do not, and the reverse.

use atlasent::Decision;
use serde_json::{Value, json};

use super::support::{DEPLOY, SCHEMA, Set, cvc5, decide, findings, json};

/// Compares two sets, and returns for each counterexample which set allows it, its action, and the
/// finding. Asserts that the authority confirms each.
fn differences(old: &Set, new: &Set) -> Vec<(String, String, Value)> {
    let cvc5 = cvc5().unwrap();
    let cases = new.beside("found.json");
    let report = {
        let ended = old
            .compare(
                new,
                &cvc5,
                &["--json", "--write-cases", cases.to_str().unwrap()],
            )
            .run();
        assert_eq!(ended.stderr, "");
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        let code = i32::from(!findings(&report, "counterexample").is_empty());
        assert_eq!(ended.code, code, "{report}");
        assert!(findings(&report, "undecided").is_empty(), "{report}");
        report
    };
    let (old_policies, new_policies) = (old.policies(), new.policies());
    let found = findings(&report, "counterexample");
    for finding in &found {
        let (wider, narrower) = match finding["set"].as_str().unwrap() {
            "new" => (&new_policies, &old_policies),
            _ => (&old_policies, &new_policies),
        };
        assert_eq!(
            decide(wider, finding).decision,
            Decision::Allow,
            "{finding}"
        );
        assert_ne!(
            decide(narrower, finding).decision,
            Decision::Allow,
            "{finding}"
        );
    }
    if !found.is_empty() {
        // The cases state what the old policies decide, and the new ones do not.
        assert_eq!(old.test(&cases).code, 0);
        let ended = new.test(&cases);
        let failed = format!("0 passed, {} failed\n", found.len());
        assert!(ended.stdout.ends_with(&failed), "{}", ended.stdout);
    }
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    (found.into_iter())
        .map(|finding| {
            (
                text(finding, "set"),
                text(finding, "action"),
                finding.clone(),
            )
        })
        .collect()
}

/// Returns which set allows more, for which action.
fn wider(old: &Set, new: &Set) -> Vec<(String, String)> {
    let differences = differences(old, new).into_iter();
    differences.map(|(set, action, _)| (set, action)).collect()
}

fn pair(set: &str, action: &str) -> (String, String) {
    (set.to_owned(), action.to_owned())
}

#[test]
fn policies_that_are_only_written_otherwise_are_the_same() {
    let Some(cvc5) = cvc5() else { return };
    let new = Set::first()
        .with(
            "deploy.cedar",
            "when { context.replicas > 50 }",
            "unless { context.replicas < 51 }",
        )
        .with(
            "patients.cedar",
            r#"context.change_reason != """#,
            r#"!(context.change_reason == "")"#,
        );
    let text = Set::first().compare(&new, &cvc5, &[]).prints();
    let proved = text
        .lines()
        .filter(|line| line.starts_with("proved: "))
        .count();
    assert_eq!(proved, 4, "{text}");
    assert!(text.contains("proved: `deploy.production`: NEW allows nothing that OLD denies\n"));
    assert!(text.contains("proved: `deploy.production`: OLD allows nothing that NEW denies\n"));
}

#[test]
fn each_direction_is_told_by_action() {
    if cvc5().is_none() {
        return;
    }
    let (deploy, modify) = ("deploy.production", "modify_patient_record");
    let more = || Set::first().with("deploy.cedar", "> 50", "> 500");
    assert_eq!(wider(&Set::first(), &more()), [pair("new", deploy)]);
    assert_eq!(wider(&more(), &Set::first()), [pair("old", deploy)]);
    let both = more().with("patients.cedar", r#"forbid ("#, "forbid (\n");
    let both = both.with(
        "patients.cedar",
        r#"resource == Resource::"patient-1""#,
        r#"resource == Resource::"patient-2""#,
    );
    assert_eq!(
        wider(&Set::first(), &both),
        [
            pair("new", deploy),
            pair("new", modify),
            pair("old", modify)
        ]
    );
}

#[test]
fn only_the_wider_direction_can_be_asked() {
    let Some(cvc5) = cvc5() else { return };
    let fewer = Set::first().with("deploy.cedar", "> 50", "> 5");
    Set::first()
        .compare(&fewer, &cvc5, &["--only-wider"])
        .prints();
    fewer
        .compare(&Set::first(), &cvc5, &["--only-wider"])
        .finds();
}

#[test]
fn budgets_are_reported_and_not_compared() {
    let Some(cvc5) = cvc5() else { return };
    let with = |budget: &str| {
        let permit = format!("@budget(\"{budget}\") permit");
        Set::first().with("deploy.cedar", "permit", &permit)
    };
    let (few, many, none) = (
        with("calls 5/day per agent"),
        with("calls 9/day per agent"),
        Set::first(),
    );
    for (old, new, lines) in [
        (&few, &few, vec![]),
        (
            &none,
            &few,
            vec![
                "not compared: the budget of `deployers-deploy`: NEW has `calls 5/day per agent`, OLD has none",
            ],
        ),
        (
            &few,
            &many,
            vec![
                "not compared: the budget of `deployers-deploy`: NEW has `calls 9/day per agent`, OLD has `calls 5/day per agent`",
                "not compared: the budget of `deployers-deploy`: OLD has `calls 5/day per agent`, NEW has `calls 9/day per agent`",
            ],
        ),
    ] {
        let printed = old.compare(new, &cvc5, &[]).prints();
        let found = printed
            .lines()
            .filter(|line| line.starts_with("not compared"));
        assert_eq!(found.collect::<Vec<_>>(), lines);
    }
}

#[test]
fn an_action_that_one_schema_lacks_is_denied_by_it() {
    if cvc5().is_none() {
        return;
    }
    let schema = format!(
        "{SCHEMA}\naction drop appliesTo {{ principal: Agent, resource: Resource, context: {{}} }};"
    );
    let deploy = format!("{DEPLOY}\npermit (principal, action == Action::\"drop\", resource);");
    let more = || {
        Set::first()
            .with("schema.cedarschema", SCHEMA, &schema)
            .with("deploy.cedar", DEPLOY, &deploy)
    };
    assert_eq!(wider(&Set::first(), &more()), [pair("new", "drop")]);
    assert_eq!(wider(&more(), &Set::first()), [pair("old", "drop")]);
    let unused = || Set::first().with("schema.cedarschema", SCHEMA, &schema);
    assert_eq!(wider(&Set::first(), &unused()), []);
}

#[test]
fn a_context_that_one_schema_rejects_is_denied_by_it() {
    if cvc5().is_none() {
        return;
    }
    let deploy = "deploy.production";
    let declares = |from: &str, to: &str| Set::first().with("schema.cedarschema", from, to);
    let optional = r#""environment"?: String"#;
    let more = || declares(optional, r#""environment"?: String, "dry"?: Bool"#);
    assert_eq!(wider(&Set::first(), &more()), [pair("new", deploy)]);
    let required = || declares(optional, r#""environment": String"#);
    assert_eq!(wider(&Set::first(), &required()), [pair("old", deploy)]);
    let without = || declares(&format!(", {optional}"), "");
    assert_eq!(wider(&Set::first(), &without()), [pair("old", deploy)]);
    let needs_more = || declares(optional, r#""environment"?: String, "ticket": String"#);
    let both = [pair("new", deploy), pair("old", deploy)];
    assert_eq!(wider(&Set::first(), &needs_more()), both);
}

#[test]
fn entities_with_other_groups_are_compared() {
    if cvc5().is_none() {
        return;
    }
    let joined = r#""id": "chart-bot" }, "attrs": {}, "parents": ["#;
    let to = format!(r#"{joined}{{ "type": "Group", "id": "deployers" }}, "#);
    let more = || Set::first().with("entities.json", joined, &to);
    let found = differences(&Set::first(), &more());
    assert_eq!(found.len(), 1, "{found:?}");
    let (set, action, finding) = &found[0];
    assert_eq!(
        (set.as_str(), action.as_str()),
        ("new", "deploy.production")
    );
    assert_eq!(finding["counterexample"]["agent"], "chart-bot");
    assert_eq!(
        wider(&more(), &Set::first()),
        [pair("old", "deploy.production")]
    );

    // Another agent in no group changes nothing, and neither does an unused group.
    let first = r#"  { "uid": { "type": "Agent", "id": "deploy-bot" }"#;
    let to = format!(
        "  {{ \"uid\": {{ \"type\": \"Agent\", \"id\": \"new-bot\" }}, \"attrs\": {{}}, \"parents\": [] }},\n{first}"
    );
    let idle = Set::first().with("entities.json", first, &to);
    assert_eq!(wider(&Set::first(), &idle), []);
    // A deny that names a group counts as well.
    let forbid = format!(
        "{DEPLOY}\nforbid (principal, action, resource) when {{ principal in Group::\"clinic\" }};"
    );
    let old = Set::first().with("deploy.cedar", DEPLOY, &forbid);
    let new = more().with("deploy.cedar", DEPLOY, &forbid);
    assert_eq!(wider(&old, &new), []);
}

#[test]
fn schemas_and_entities_that_cannot_be_compared_prove_nothing() {
    let Some(cvc5) = cvc5() else { return };
    let schema = |from: &str, to: &str| Set::first().with("schema.cedarschema", from, to);
    for (new, words) in [
        (
            schema(
                "entity Agent in [Group];",
                "entity Agent in [Group] { level?: Long };",
            ),
            "declare different entity types",
        ),
        (
            schema(r#""replicas": Long"#, r#""replicas": decimal"#).with(
                "deploy.cedar",
                "context.replicas > 50",
                r#"context.replicas.greaterThan(decimal("50.0"))"#,
            ),
            "different types for `context.replicas`",
        ),
    ] {
        let report = json(Set::first().compare(&new, &cvc5, &["--json"]), 2);
        let undecided = findings(&report, "undecided");
        assert!(!undecided.is_empty(), "{report}");
        for finding in undecided {
            assert!(
                finding["reason"].as_str().unwrap().contains(words),
                "{finding}"
            );
        }
    }
    let attributes = r#"entity Agent in [Group] { level?: Long };"#;
    let old = schema("entity Agent in [Group];", attributes);
    let new = schema("entity Agent in [Group];", attributes).with(
        "entities.json",
        r#""id": "chart-bot" }, "attrs": {}"#,
        r#""id": "chart-bot" }, "attrs": { "level": 3 }"#,
    );
    let report = json(old.compare(&new, &cvc5, &["--json"]), 2);
    let reason = findings(&report, "undecided")[0]["reason"].clone();
    assert!(
        reason
            .as_str()
            .unwrap()
            .contains(r#"`Agent::"chart-bot"` has other attributes"#),
        "{reason}"
    );
}

#[test]
fn a_policy_that_fails_denies() {
    let Some(cvc5) = cvc5() else { return };
    let results = |condition: &str| {
        let old = Set::first().with("deploy.cedar", "context.replicas > 50", condition);
        let report = json(old.compare(&Set::first(), &cvc5, &["--json"]), 1);
        let findings = report["findings"].as_array().unwrap().iter();
        let claims = findings.filter(|finding| {
            finding["claim"] == "allows_no_more" && finding["action"] == "deploy.production"
        });
        let results = claims.map(|finding| (finding["set"].clone(), finding["result"].clone()));
        results.collect::<Vec<_>>()
    };
    // It fails for the largest number, for which Cedar would skip it, and so allow.
    assert_eq!(
        results("context.replicas + 1 > 51"),
        [
            (json!("new"), json!("proved")),
            (json!("old"), json!("proved"))
        ]
    );
    // It fails for small numbers as well, which the new one allows.
    assert_eq!(
        results("context.replicas * 2 > 101"),
        [
            (json!("new"), json!("counterexample")),
            (json!("old"), json!("proved"))
        ]
    );
}
