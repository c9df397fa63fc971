//! The decision, reason, code and wait of a verdict.

use std::time::Duration;

use atlasent::{Context, Decision};
use serde_json::{Value, json};

use super::ask;
use crate::policy::fields::Fields;
use crate::policy::{Policies, PolicyInput, code};

const PERMIT_ALL: &str = r#"@id("all") permit (principal, action, resource);"#;

fn policies(text: &str) -> Policies {
    Policies::parse(text).unwrap()
}

fn ids(verdict: &crate::policy::Verdict) -> Vec<&str> {
    verdict.determining.iter().map(|id| &**id).collect()
}

#[test]
fn nothing_is_allowed_without_a_permit() {
    for text in [
        r#"permit (principal == Agent::"read-bot", action == Action::"deploy", resource);"#,
        r#"forbid (principal == Agent::"read-bot", action, resource);"#,
    ] {
        let verdict = ask(&policies(text), "deploy", &json!({}));
        assert_eq!(verdict.decision, Decision::Deny);
        assert_eq!(verdict.code.as_deref(), Some(code::NO_MATCHING_POLICY));
        assert!(!verdict.reason.is_empty());
        assert!(verdict.determining.is_empty());
    }
}

#[test]
fn an_allow_names_the_policy_that_permits_or_its_reason() {
    let verdict = ask(&policies(PERMIT_ALL), "deploy", &json!({}));
    assert_eq!(
        (verdict.decision, &*verdict.reason),
        (Decision::Allow, "permitted by policy `all`")
    );
    assert_eq!(
        (verdict.code.as_deref(), ids(&verdict)),
        (None, vec!["all"])
    );

    let text = r#"@reason("bots may deploy") permit (principal == Agent::"deploy-bot", action, resource);"#;
    let verdict = ask(&policies(text), "deploy", &json!({}));
    assert_eq!(
        (verdict.decision, &*verdict.reason),
        (Decision::Allow, "bots may deploy")
    );
    assert_eq!(ids(&verdict), ["<policies>#1"]);
}

#[test]
fn the_strongest_forbid_decides_and_words_the_answer() {
    let hold = r#"@id("a-hold") @decision("hold") @reason("wait") @code("WAIT") forbid (principal, action, resource);"#;
    let escalate = r#"@id("b-esc") @decision("escalate") @reason("ask") forbid (principal, action, resource);"#;
    let deny =
        r#"@id("c-deny") @decision("deny") @code("NO") forbid (principal, action, resource);"#;
    let bare = r#"@id("d-bare") @reason("never") forbid (principal, action, resource);"#;
    for (forbids, decision, reason, code) in [
        (vec![hold], Decision::Hold, "wait", Some("WAIT")),
        (vec![hold, escalate], Decision::Escalate, "ask", None),
        (
            vec![hold, escalate, deny],
            Decision::Deny,
            "forbidden by policy `c-deny`",
            Some("NO"),
        ),
        (vec![bare, hold, deny], Decision::Deny, "never", Some("NO")),
        (vec![bare], Decision::Deny, "never", None),
    ] {
        let verdict = ask(
            &policies(&(forbids.concat() + PERMIT_ALL)),
            "deploy",
            &json!({}),
        );
        assert_eq!(
            (verdict.decision, &*verdict.reason, verdict.code.as_deref()),
            (decision, reason, code)
        );
        assert_eq!(
            verdict.determining.len(),
            forbids.len(),
            "every forbid that matched is named"
        );
    }
}

#[test]
fn of_equally_strong_policies_the_first_by_id_speaks() {
    let text = r#"
        @id("z") @reason("last") @code("Z") forbid (principal, action, resource);
        @id("a") forbid (principal, action, resource);
        @id("m") @reason("middle") forbid (principal, action, resource);
    "#;
    let verdict = ask(&policies(text), "deploy", &json!({}));
    assert_eq!(
        (&*verdict.reason, verdict.code.as_deref()),
        ("middle", Some("Z"))
    );
    assert_eq!(ids(&verdict), ["a", "m", "z"]);
}

#[test]
fn the_wait_is_that_of_the_first_winning_policy_by_id_that_has_one() {
    let rule = |id: &str, annotations: &str| {
        format!("@id(\"{id}\") {annotations} forbid (principal, action, resource);\n")
    };
    let hold = rule("a", r#"@decision("hold") @retry_after("1")"#);
    let bare = rule("b", r#"@decision("escalate") @reason("ask")"#);
    let late = rule("d", r#"@decision("escalate") @retry_after("4")"#);
    let soon = rule("c", r#"@decision("escalate") @retry_after("3")"#);
    let deny = rule("e", r#"@retry_after("31536000")"#);
    let plain = rule("f", "");
    for (forbids, decision, seconds) in [
        (vec![&hold], Decision::Hold, Some(1)),
        // The annotations of a weaker policy apply to its own decision only.
        (vec![&hold, &bare], Decision::Escalate, None),
        (vec![&hold, &bare, &late], Decision::Escalate, Some(4)),
        (vec![&late, &bare, &soon], Decision::Escalate, Some(3)),
        (vec![&hold, &soon, &deny], Decision::Deny, Some(31_536_000)),
        (vec![&hold, &plain], Decision::Deny, None),
        (vec![], Decision::Allow, None),
    ] {
        let text: String = forbids.into_iter().map(String::as_str).collect();
        let verdict = ask(&policies(&(text + PERMIT_ALL)), "deploy", &json!({}));
        assert_eq!(
            (verdict.decision, verdict.retry_after),
            (decision, seconds.map(Duration::from_secs))
        );
    }
}

#[test]
fn what_no_policy_words_has_no_wait() {
    let unmatched = r#"@retry_after("5") forbid (principal == Agent::"x", action == Action::"deploy", resource);"#;
    let failing = format!(
        r#"{PERMIT_ALL} @decision("hold") @retry_after("5") forbid (principal, action, resource) when {{ context.x }};"#
    );
    for (text, word) in [
        (unmatched, code::NO_MATCHING_POLICY),
        (&failing, code::POLICY_EVALUATION_ERROR),
    ] {
        let verdict = ask(&policies(text), "deploy", &json!({}));
        assert_eq!(verdict.code.as_deref(), Some(word));
        assert_eq!(verdict.retry_after, None, "{word}");
    }
}

#[test]
fn a_forbid_that_cannot_be_evaluated_denies() {
    let text = format!(
        "{PERMIT_ALL}\n@id(\"prod\")\nforbid (principal, action, resource)\nwhen {{ context.env == \"prod\" }};"
    );
    let policies = policies(&text);
    assert_eq!(
        ask(&policies, "deploy", &json!({ "env": "test" })).decision,
        Decision::Allow
    );

    let verdict = ask(&policies, "deploy", &json!({}));
    assert_eq!(verdict.decision, Decision::Deny);
    assert_eq!(verdict.code.as_deref(), Some(code::POLICY_EVALUATION_ERROR));
    assert_eq!(&*verdict.reason, "policy `prod` could not be evaluated");
    assert_eq!(ids(&verdict), ["prod"]);
    assert_eq!(
        verdict.errors,
        ["<policies>:4:8: policy `prod`: `context.env`: record does not have the attribute `env`"]
    );
}

#[test]
fn a_permit_that_cannot_be_evaluated_denies_though_another_permits() {
    let text = format!(
        "{PERMIT_ALL} @id(\"x\") permit (principal, action, resource) when {{ context.x }};\n@id(\"y\") permit (principal, action, resource) when {{ context.y }};"
    );
    let verdict = ask(&policies(&text), "deploy", &json!({}));
    assert_eq!(
        (verdict.decision, &*verdict.reason),
        (Decision::Deny, "policies `x`, `y` could not be evaluated")
    );
    assert_eq!(verdict.errors.len(), 2);
}

#[test]
fn an_error_in_a_policy_about_something_else_does_not_matter() {
    let text = format!(
        "{PERMIT_ALL} forbid (principal, action == Action::\"pay\", resource) when {{ context.amount > 5 }};"
    );
    assert_eq!(
        ask(&policies(&text), "deploy", &json!({})).decision,
        Decision::Allow
    );
    assert_eq!(
        ask(&policies(&text), "pay", &json!({})).decision,
        Decision::Deny
    );
}

#[test]
fn a_number_that_cedar_cannot_hold_does_not_slip_under_a_limit() {
    let policies = policies(
        r#"permit (principal, action == Action::"pay", resource);
           forbid (principal, action == Action::"pay", resource) when { context.amount > 100 };
           permit (principal, action == Action::"refund", resource)
           when { context.amount.lessThan(decimal("100.0")) };"#,
    );
    for (action, amount, expected) in [
        ("pay", json!(100), Decision::Allow),
        ("pay", json!(101), Decision::Deny),
        ("pay", json!(u64::MAX), Decision::Deny),
        ("pay", json!(1e300), Decision::Deny),
        ("pay", json!(99.5), Decision::Deny),
        ("pay", json!(null), Decision::Deny),
        ("refund", json!(99.99), Decision::Allow),
        ("refund", json!(100.0), Decision::Deny),
        ("refund", json!(99.999_999), Decision::Deny),
    ] {
        let verdict = ask(&policies, action, &json!({ "amount": amount }));
        assert_eq!(verdict.decision, expected, "{action} {amount}");
    }
}

#[test]
fn a_request_without_a_resource_is_about_the_default_one() {
    let policies = policies(r#"permit (principal, action, resource == Resource::"default");"#);
    let context = Context::new();
    let input = |resource| PolicyInput {
        agent: "a",
        action: "b",
        resource,
        context: &context,
        fields: Fields::default(),
        is_shadow: false,
    };
    assert_eq!(policies.decide(input(None)).decision, Decision::Allow);
    assert_eq!(
        policies.decide(input(Some("default"))).decision,
        Decision::Allow
    );
    assert_eq!(
        policies.decide(input(Some("other"))).decision,
        Decision::Deny
    );
}

#[test]
fn names_are_data_and_cannot_reach_into_the_policy_language() {
    let policies = policies(
        r#"permit (principal == Agent::"a", action == Action::"b", resource == Resource::"c");"#,
    );
    for odd in ["", "*", "a\" || true", "Agent::\"a\"", "a\0", "日本", "a\n"] {
        for (agent, action, resource) in [(odd, "b", "c"), ("a", odd, "c"), ("a", "b", odd)] {
            let input = PolicyInput {
                agent,
                action,
                resource: Some(resource),
                context: &Context::new(),
                fields: Fields::default(),
                is_shadow: false,
            };
            assert_eq!(policies.decide(input).decision, Decision::Deny, "{input:?}");
        }
    }
}

#[test]
fn a_context_that_nests_too_deeply_is_denied() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let verdict = ask(&policies(PERMIT_ALL), "deploy", &json!({ "v": deep }));
    assert_eq!(
        (verdict.decision, verdict.code.as_deref()),
        (Decision::Deny, Some(code::CONTEXT_TOO_DEEP))
    );
}

#[test]
fn groups_of_agents_and_actions_come_from_the_entities() {
    let policies = Policies::builder()
        .source("p.cedar", r#"permit (principal in Role::"ops", action in Action::"writes", resource);"#)
        .entities(
            "entities.json",
            r#"[{ "uid": { "type": "Agent", "id": "deploy-bot" }, "attrs": {}, "parents": [{ "type": "Role", "id": "ops" }] },
                { "uid": { "type": "Action", "id": "deploy" }, "attrs": {}, "parents": [{ "type": "Action", "id": "writes" }] }]"#,
        )
        .build()
        .unwrap();
    assert_eq!(
        ask(&policies, "deploy", &json!({})).decision,
        Decision::Allow
    );
    assert_eq!(
        ask(&policies, "writes", &json!({})).decision,
        Decision::Allow,
        "a group is in itself"
    );
    assert_eq!(ask(&policies, "read", &json!({})).decision, Decision::Deny);
}

fn with_schema() -> Policies {
    Policies::builder()
        .schema(
            "schema.cedarschema",
            r#"entity Agent; entity Resource;
               action writes;
               action deploy in [writes] appliesTo { principal: Agent, resource: Resource, context: { commit: String, cost?: decimal } };
               action read appliesTo { principal: Agent, resource: Resource, context: {} };"#,
        )
        .source("p.cedar", r#"permit (principal, action in Action::"writes", resource) when { context.commit != "" };"#)
        .build()
        .unwrap()
}

#[test]
fn with_a_schema_its_action_groups_hold() {
    assert_eq!(
        ask(
            &with_schema(),
            "deploy",
            &json!({ "commit": "abc", "cost": 1.5 })
        )
        .decision,
        Decision::Allow
    );
    assert_eq!(
        ask(&with_schema(), "read", &json!({})).decision,
        Decision::Deny
    );
}

#[test]
fn with_a_schema_a_request_that_does_not_conform_is_denied() {
    let policies = with_schema();
    let deny = |action: &str, context: Value| {
        let verdict = ask(&policies, action, &context);
        assert_eq!(verdict.decision, Decision::Deny);
        assert_eq!(
            verdict.code.as_deref(),
            Some(code::REQUEST_NOT_IN_SCHEMA),
            "{}",
            verdict.reason
        );
        verdict.reason.to_string()
    };
    for (action, context, why) in [
        ("deploy", json!({}), "`context.commit` is missing"),
        (
            "deploy",
            json!({ "commit": null }),
            "`context.commit` is missing",
        ),
        (
            "read",
            json!({ "extra": 1 }),
            "`context.extra`, an integer, is not declared",
        ),
    ] {
        let reason = deny(action, context);
        assert!(reason.contains(why), "{reason}");
    }
    let reason = deny("deploy", json!({ "commit": "s3cret", "cost": "s3cret" }));
    let why = "`context.cost` has to be of type `decimal`, and is a string";
    assert!(reason.contains(why), "{reason}");
    assert!(
        !reason.contains("s3cret"),
        "values stay out of reasons: {reason}"
    );
}

#[test]
fn policies_can_be_shared_among_threads_and_print_no_policy() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let policies = policies(PERMIT_ALL);
    shared(&policies);
    assert_eq!(
        format!("{policies:?}"),
        "Policies { policies: 1, entities: 0, schema: false, warnings: 0, .. }"
    );

    let builder = Policies::builder()
        .source("a.cedar", PERMIT_ALL)
        .entities("e.json", "[]");
    let printed = format!("{builder:?}");
    assert!(printed.contains("a.cedar") && !printed.contains("permit"));
}
