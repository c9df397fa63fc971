//! The explanations of policies that fail to evaluate.

use serde_json::{Value, json};

use super::ask;
use crate::policy::Policies;

fn errors(condition: &str, context: &Value) -> Vec<String> {
    let text = format!("@id(\"x\")\nforbid (principal, action, resource)\nwhen {{ {condition} }};");
    ask(&Policies::parse(&text).unwrap(), "pay", context).errors
}

#[test]
fn a_failure_names_place_attribute_and_types() {
    for (condition, context, words) in [
        (
            "context.env == \"prod\"",
            json!({}),
            ":3:8: policy `x`: `context.env`: record does not have the attribute `env`",
        ),
        (
            "context.amount > 100",
            json!({ "amount": "SECRET" }),
            "policy `x`: `context.amount`: type error: expected long, got string",
        ),
        (
            "context.a.b.c",
            json!({ "a": { "b": {} } }),
            "`context.a.b.c`: record does not have the attribute `c`",
        ),
        (
            "principal.level > 1",
            json!({}),
            "policy `x`: `principal`: the entity is not among the entities of the policies",
        ),
        (
            "context[\"a b\"] && true",
            json!({ "a b": 1 }),
            "`context[\"a b\"]`: type error: expected bool, got long",
        ),
    ] {
        let errors = errors(condition, &context);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("<policies>:3:"), "{errors:?}");
        assert!(errors[0].contains(words), "{condition}: {errors:?}");
    }
}

#[test]
fn each_failure_of_a_policy_names_its_own_expression_each_time() {
    let policies = Policies::parse(
        "forbid (principal, action, resource) when { context.env == \"prod\" && context.n > 1 };",
    )
    .unwrap();
    for _ in 0..3 {
        for (context, path) in [
            (json!({}), "`context.env`: "),
            (json!({ "env": "prod" }), "`context.n`: "),
            (
                json!({ "env": "prod", "n": "x" }),
                "`context.n`: type error",
            ),
        ] {
            let errors = ask(&policies, "pay", &context).errors;
            assert!(errors[0].contains(path), "{errors:?}");
        }
    }
}

#[test]
fn no_value_of_the_request_is_quoted() {
    let secret = 9_007_199_254_740_993_i64;
    for condition in [
        "context.n * context.n == 1",
        "context.n + context.n + context.n * 4096 == 1",
        "-(context.n * 1024) * 1024 == 1",
        "context.n.lessThan(decimal(\"1.0\"))",
        "decimal(context.s).lessThan(decimal(\"1.0\"))",
        "context.s > 1",
        "context.s.x == 1",
        "context.r.x == 1",
        "[context.s] == [1] || context.s",
        "principal.getTag(context.s) == 1",
        "resource.getTag(context.s) == 1",
        "context.s in principal",
    ] {
        let context = json!({ "n": secret, "s": "SECRET", "r": { "SECRET": 1 } });
        let errors = errors(condition, &context);
        assert_eq!(errors.len(), 1, "{condition}");
        let words = &errors[0];
        assert!(!words.contains("SECRET"), "{condition}: {words}");
        assert!(!words.contains("9007199254740993"), "{condition}: {words}");
    }
}

#[test]
fn an_entity_is_not_named_and_its_attribute_is() {
    let entities =
        r#"[{ "uid": { "type": "Agent", "id": "deploy-bot" }, "attrs": {}, "parents": [] }]"#;
    for (condition, words) in [
        (
            "principal.level > 1",
            "`principal.level`: the entity does not have the attribute",
        ),
        (
            "principal.getTag(context.s) == 1",
            "the entity does not have the tag",
        ),
    ] {
        let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
        let policies = Policies::builder()
            .source("p.cedar", text)
            .entities("e.json", entities)
            .build()
            .unwrap();
        let errors = ask(&policies, "pay", &json!({ "s": "SECRET" })).errors;
        assert!(errors[0].ends_with(words), "{errors:?}");
    }
}

#[test]
fn many_failures_are_counted() {
    let text: String = (0..25)
        .map(|n| {
            format!("@id(\"p{n:02}\") forbid (principal, action, resource) when {{ context.x }};\n")
        })
        .collect();
    let verdict = ask(&Policies::parse(&text).unwrap(), "pay", &json!({}));
    assert_eq!(verdict.errors.len(), 21);
    assert_eq!(
        verdict.errors[20],
        "and 5 more policies could not be evaluated"
    );
    assert_eq!(verdict.determining.len(), 25);
    assert!(
        verdict
            .reason
            .ends_with("and 17 more could not be evaluated"),
        "{}",
        verdict.reason
    );
}
