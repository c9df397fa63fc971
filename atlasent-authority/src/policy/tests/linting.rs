//! What the lints find, where, and what they accept.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value};

use super::ask;
use crate::policy::Policies;

fn lint(text: &str) -> Vec<String> {
    let policies = Policies::parse(text).unwrap();
    policies.lint().iter().map(ToString::to_string).collect()
}

fn with_entities(text: &str, entities: &str) -> Vec<String> {
    let builder = Policies::builder().source("p.cedar", text);
    let policies = builder.entities("entities.json", entities).build().unwrap();
    policies.lint().iter().map(ToString::to_string).collect()
}

/// Checks the findings, in their order: each starts with its position and contains the words.
#[track_caller]
fn assert_found(found: &[String], expected: &[(&str, &[&str])]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (place, words)) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("{place}: ")), "{place}: {found}");
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
    }
}

#[test]
fn policies_that_say_what_they_mean_draw_no_finding() {
    let text = r#"
        permit (principal == Agent::"bot", action == Action::"deploy.production", resource);
        forbid (principal, action == Action::"deploy.production", resource) when { context.replicas > 50 };
        forbid (principal, action in [Action::"deploy.production", Action::"deploy.staging"], resource)
        when { context.replicas > 50 };
        forbid (principal, action, resource) when { context has freeze && context.freeze };
        permit (principal, action, resource) when { context has sudo };
    "#;
    assert_eq!(lint(text), [""; 0]);
}

#[test]
fn an_unguarded_read_for_any_action_is_found_where_it_stands() {
    let text = "// context.replicas\n@id(\"big\")\n@reason(\"context.replicas is high\")\nforbid (principal, action, resource)\n\
                // context.replicas\nwhen { context.replicasets == 1 || context.replicas > 50 };";
    assert_found(
        &lint(text),
        &[
            (
                "<policies>:6:8",
                &["policy `big` reads `context.replicasets` of requests for any action"],
            ),
            (
                "<policies>:6:36",
                &[
                    "policy `big` reads `context.replicas` of requests for any action",
                    "denied as `POLICY_EVALUATION_ERROR`",
                    "`context has replicas && …`",
                    "`!(context has replicas) || …`",
                ],
            ),
        ],
    );
    let permit = r#"permit (principal == Agent::"bot", action, resource) when { context.x };"#;
    assert_found(&lint(permit), &[("<policies>:1:61", &["`context.x`"])]);
}

#[test]
fn a_read_that_is_written_in_an_odd_way_is_found_at_its_policy() {
    let text = "\n@id(\"x\") forbid (principal, action, resource) when { context\n.replicas > 5 };";
    assert_found(&lint(text), &[("<policies>:2:1", &["`context.replicas`"])]);
}

#[test]
fn a_group_of_actions_is_as_wide_as_any_action() {
    let entities = r#"[{ "uid": { "type": "Action", "id": "deploy" }, "attrs": {}, "parents": [{ "type": "Action", "id": "writes" }] }]"#;
    let policy = |actions: &str| {
        format!("forbid (principal, action in {actions}, resource) when {{ context.x }};")
    };
    assert_found(
        &with_entities(&policy("Action::\"writes\""), entities),
        &[("p.cedar:1:65", &["a whole group of actions"])],
    );
    assert_found(
        &with_entities(
            &policy("[Action::\"deploy\", Action::\"writes\"]"),
            entities,
        ),
        &[("p.cedar:1:85", &["a whole group of actions"])],
    );
    assert_eq!(
        with_entities(&policy("Action::\"deploy\""), entities),
        [""; 0]
    );
}

#[test]
fn attributes_of_agents_and_resources_have_to_be_among_the_entities() {
    let entities =
        r#"[{ "uid": { "type": "Agent", "id": "bot" }, "attrs": { "level": 3 }, "parents": [] }]"#;
    let find = |scope: &str, condition: &str| {
        with_entities(
            &format!("forbid ({scope}) when {{ {condition} }};"),
            entities,
        )
    };
    let named = r#"action == Action::"deploy""#;
    let one = |principal: &str| format!("principal == Agent::\"{principal}\", action, resource");

    // An entity has the attribute, and the policy is about one action.
    let scope = format!("principal, {named}, resource");
    assert_eq!(find(&scope, "principal.level > 1"), [""; 0]);
    assert_eq!(find(&one("bot"), "principal.level > 1"), [""; 0]);
    assert_eq!(
        find(&scope, "principal has age && principal.age > 1"),
        [""; 0]
    );

    assert_found(
        &find(&scope, "principal.age > 1"),
        &[(
            "p.cedar:1:65",
            &[
                "no `Agent` among the entities has it",
                "`principal has age && …`",
            ],
        )],
    );
    assert_found(
        &find(&scope, "resource.owner == principal"),
        &[("p.cedar:1:65", &["no `Resource` among the entities has it"])],
    );
    assert_found(
        &find("principal, action, resource", "principal.level > 1"),
        &[("p.cedar:1:45", &["requests for any action"])],
    );
    assert_found(
        &find(&one("other"), "principal.level > 1"),
        &[(
            "p.cedar:1:63",
            &["though `Agent::\"other\"` has no such attribute"],
        )],
    );
}

#[test]
fn an_action_that_is_probably_misspelled_is_found() {
    let text = r#"@id("a") permit (principal == Agent::"bot", action == Action::"deploy.production", resource);
@id("b") forbid (principal, action == Action::"deploy.producton", resource);
@id("c") permit (principal == Agent::"bot", action == Action::"rollback", resource);
@id("d") forbid (principal, action, resource) when { action in [Action::"rolback"] };
"#;
    assert_found(
        &lint(text),
        &[
            (
                "<policies>:2:39",
                &[
                    "policy `b` names the action `deploy.producton`",
                    "did you mean `deploy.production`?",
                ],
            ),
            (
                "<policies>:4:65",
                &["`rolback`", "did you mean `rollback`?"],
            ),
        ],
    );
}

#[test]
fn an_action_that_others_name_or_the_entities_know_is_no_misspelling() {
    let rule =
        |action: &str| format!("forbid (principal, action == Action::\"{action}\", resource);\n");
    let twice = rule("deploy.producton").repeat(2) + &rule("deploy.production");
    assert_found(
        &lint(&twice),
        &[(
            "<policies>:3:30",
            &["`deploy.production`", "did you mean `deploy.producton`?"],
        )],
    );
    let entities = r#"[{ "uid": { "type": "Action", "id": "deploy.producton" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "Action", "id": "deploy.production" }, "attrs": {}, "parents": [] }]"#;
    assert_eq!(with_entities(&twice, entities), [""; 0]);
    assert_found(
        &with_entities(&rule("deploy.prodution"), entities),
        &[("p.cedar:1:30", &["did you mean `deploy.production`?"])],
    );
}

#[test]
fn a_policy_without_any_constraint_is_found() {
    let scope = "(principal, action, resource);";
    for (policy, words) in [
        (
            "permit",
            "permits every agent every action on every resource",
        ),
        (
            "forbid",
            "forbids everything, so that nothing is ever allowed",
        ),
        ("@decision(\"hold\") forbid", "holds everything"),
        ("@decision(\"escalate\") forbid", "escalates everything"),
    ] {
        // An approval of the holds lets this through.
        let permit = r#"permit (principal == Agent::"a", action, resource);"#;
        let found = lint(&format!("\n  @id(\"x\") {policy} {scope}\n{permit}"));
        assert_found(
            &found,
            &[("<policies>:2:3", &["policy `x`", words, "name an agent"])],
        );
    }
    for constrained in [
        r#"permit (principal == Agent::"a", action, resource);"#,
        r#"permit (principal, action == Action::"a", resource);"#,
        r#"permit (principal, action, resource is Resource);"#,
        r#"forbid (principal, action, resource) unless { principal in Role::"ops" };"#,
    ] {
        assert_eq!(lint(constrained), [""; 0], "{constrained}");
    }
}

#[test]
fn with_a_schema_its_own_errors_are_not_repeated() {
    let schema = r#"entity Agent { level: Long }; entity Resource;
        action deploy, deplyo appliesTo { principal: Agent, resource: Resource, context: { commit: String } };"#;
    let text = r#"forbid (principal, action, resource) when { context.commit == "" || principal.level > 1 };
        forbid (principal, action == Action::"deploy", resource) when { context has x };
        permit (principal, action == Action::"deplyo", resource);
        permit (principal, action, resource);"#;
    let builder = Policies::builder()
        .source("p.cedar", text)
        .schema("schema.cedarschema", schema);
    let found = builder.build().unwrap().lint();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected: [(&str, &[&str]); 2] = [
        ("p.cedar:2:73", &["asks `context has x`"]),
        ("p.cedar:4:9", &["permits every agent"]),
    ];
    assert_found(&found, &expected);
}

#[test]
fn the_findings_come_in_the_order_of_the_sources() {
    let text = "permit (principal, action, resource);\nforbid (principal, action, resource) when { context.x };\n";
    let builder = Policies::builder()
        .source("b.cedar", text)
        .source("a.cedar", text);
    let found = builder.build().unwrap().lint();
    let places: Vec<_> = found
        .iter()
        .map(|problem| (problem.source_name(), problem.line().unwrap()))
        .collect();
    assert_eq!(
        places,
        [
            ("a.cedar", 1),
            ("a.cedar", 2),
            ("b.cedar", 1),
            ("b.cedar", 2)
        ]
    );
}

/// Generates conditions on two flags that may be absent; most conditions test for them first.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => select(&["context has a", "context has b"][..]),
        1 => select(&["context.a", "context.b"][..]),
    ];
    leaf.prop_map(str::to_owned)
        .prop_recursive(4, 16, 3, |inner| {
            let two = (inner.clone(), inner.clone());
            prop_oneof![
                inner.clone().prop_map(|a| format!("!({a})")),
                two.clone().prop_map(|(a, b)| format!("({a}) && ({b})")),
                two.clone().prop_map(|(a, b)| format!("({a}) || ({b})")),
                two.prop_map(|(a, b)| format!("({a}) == ({b})")),
                (inner.clone(), inner.clone(), inner)
                    .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
            ]
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_draws_no_finding_never_misses_an_attribute(
        conditions in prop::collection::vec((any::<bool>(), condition()), 1..3),
        present in subsequence(vec!["a", "b"], 0..=2),
        values in any::<[bool; 2]>(),
    ) {
        let conditions: String = conditions.iter().map(|(when, condition)| {
            format!("{} {{ {condition} }} ", if *when { "when" } else { "unless" })
        }).collect();
        let policies = Policies::parse(&format!("forbid (principal, action, resource) {conditions};")).unwrap();
        let context: Map<String, Value> = (present.iter().zip(values))
            .map(|(key, value)| ((*key).to_owned(), value.into()))
            .collect();
        let verdict = ask(&policies, "deploy", &Value::Object(context));
        prop_assert!(!policies.lint().is_empty() || verdict.errors.is_empty(), "{conditions}: {:?}", verdict.errors);
    }
}
