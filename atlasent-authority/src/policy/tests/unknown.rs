//! The refusals of requests for an unknown action, or by an unknown agent.

use atlasent::Decision;
use serde_json::{Map, json};

use super::ask;
use crate::policy::{Policies, Verdict, code};

const WIRE: &str = r#"
    @id("clerks") permit (principal == Agent::"payments-bot", action == Action::"wire.transfer", resource);
    @id("refunds") permit (principal == Agent::"deploy-bot", action in [Action::"wire.refund"], resource);
"#;

const SCHEMA: &str = r#"
    entity Agent; entity Resource;
    action "wire.transfer", "wire.refund" appliesTo { principal: Agent, resource: Resource };
"#;

fn with_schema(text: &str) -> Policies {
    let builder = Policies::builder()
        .source("p.cedar", text)
        .schema("s.cedarschema", SCHEMA);
    builder.build().unwrap()
}

fn said(verdict: &Verdict) -> (&str, &str) {
    assert_eq!(verdict.decision, Decision::Deny);
    (verdict.code.as_deref().unwrap_or_default(), &verdict.reason)
}

#[test]
fn a_misspelt_action_is_told_from_one_that_is_not_permitted() {
    let policies = Policies::parse(WIRE).unwrap();
    let refused = |action: &str| ask(&policies, action, &json!({}));
    assert_eq!(
        said(&refused("wire.transfre")),
        (
            code::UNKNOWN_ACTION,
            "no policy names `wire.transfre`; did you mean `wire.transfer`?"
        )
    );
    assert_eq!(
        said(&refused("mail.send")),
        (code::UNKNOWN_ACTION, "no policy names `mail.send`")
    );
    assert_eq!(said(&refused("wire.transfer")).0, code::NO_MATCHING_POLICY);
    assert_eq!(refused("wire.refund").decision, Decision::Allow);
}

#[test]
fn a_policy_over_any_action_names_every_action() {
    for scope in [
        "principal, action, resource",
        r#"principal == Agent::"x", action, resource"#,
        r#"principal, action, resource == Resource::"x""#,
        r#"principal == Agent::"x", action, resource == Resource::"x""#,
    ] {
        let text = format!("{WIRE} forbid ({scope}) when {{ 1 == 2 }};");
        let verdict = ask(
            &Policies::parse(&text).unwrap(),
            "wire.transfre",
            &json!({}),
        );
        assert_eq!(said(&verdict).0, code::NO_MATCHING_POLICY, "{scope}");
    }
}

#[test]
fn an_action_of_the_schema_is_known_and_any_other_is_not() {
    let policies = with_schema(WIRE);
    let refused = |policies: &Policies, action: &str| ask(policies, action, &json!({}));
    assert_eq!(
        said(&refused(&policies, "wire.transfre")),
        (
            code::UNKNOWN_ACTION,
            "no policy names `wire.transfre`, and the schema does not declare it; \
             did you mean `wire.transfer`?"
        )
    );
    let one = r#"permit (principal, action == Action::"wire.refund", resource);"#;
    let verdict = refused(&with_schema(one), "wire.transfer");
    assert_eq!(said(&verdict).0, code::NO_MATCHING_POLICY);

    let over_any = with_schema("permit (principal, action, resource);");
    assert_eq!(
        said(&refused(&over_any, "wire.transfre")),
        (
            code::REQUEST_NOT_IN_SCHEMA,
            "the request is not in the schema: action `wire.transfre` is not declared; \
             did you mean `wire.transfer`?"
        )
    );
}

#[test]
fn an_action_that_is_an_entity_is_known() {
    let group =
        r#"[{ "uid": { "type": "Action", "id": "wire.cancel" }, "attrs": {}, "parents": [] }]"#;
    let policies = Policies::builder()
        .source("p.cedar", WIRE)
        .entities("e.json", group)
        .build()
        .unwrap();
    let verdict = ask(&policies, "wire.cancel", &json!({}));
    assert_eq!(said(&verdict).0, code::NO_MATCHING_POLICY);
}

#[test]
fn a_misspelt_agent_is_a_hint_that_names_no_other_agent() {
    let text = WIRE.replace("deploy-bot", "deplyo-bot");
    let policies = Policies::parse(&text).unwrap();
    let verdict = ask(&policies, "wire.refund", &json!({}));
    let (code, reason) = said(&verdict);
    assert_eq!(code, code::NO_MATCHING_POLICY);
    assert!(
        reason.ends_with("; no policy and no entity names the agent `deploy-bot`: is it misspelt?"),
        "{reason}"
    );
    assert!(!reason.contains("deplyo"), "{reason}");
    assert_eq!(
        verdict.hint.as_deref(),
        Some("did you mean the agent `deplyo-bot`?")
    );
}

#[test]
fn an_agent_that_is_known_or_like_no_other_gets_no_hint() {
    let entity =
        r#"[{ "uid": { "type": "Agent", "id": "deploy-bot" }, "attrs": {}, "parents": [] }]"#;
    let near = r#"permit (principal == Agent::"deplyo-bot", action == Action::"a", resource);"#;
    let known = Policies::builder()
        .source("p.cedar", near)
        .entities("e.json", entity)
        .build()
        .unwrap();
    let far = r#"permit (principal == Agent::"mail-bot", action == Action::"a", resource);"#;
    // The literal of a condition counts, too.
    let named = format!(
        r#"{near} forbid (principal, action == Action::"a", resource) when {{ principal == Agent::"deploy-bot" && 1 == 2 }};"#
    );
    for policies in [
        known,
        Policies::parse(far).unwrap(),
        Policies::parse(&named).unwrap(),
    ] {
        let verdict = ask(&policies, "a", &json!({}));
        assert_eq!(
            said(&verdict),
            (
                code::NO_MATCHING_POLICY,
                "no policy permits this agent to take this action on this resource"
            )
        );
        assert_eq!(verdict.hint, None);
    }
}

#[test]
fn a_refusal_with_a_hint_stays_cheap_whatever_names_there_are() {
    let text: String = (0..3_000)
        .map(|n| {
            let name = "transfer".repeat(15);
            format!("permit (principal, action == Action::\"{name}.x{n}\", resource);\n")
        })
        .collect();
    let policies = Policies::parse(&text).unwrap();
    let action = "transfer".repeat(15) + ".x";
    let begin = std::time::Instant::now();
    for _ in 0..10 {
        let context = json!(Map::new());
        assert_eq!(
            said(&ask(&policies, &action, &context)).0,
            code::UNKNOWN_ACTION
        );
    }
    let each = begin.elapsed() / 10;
    assert!(each < std::time::Duration::from_secs(1), "{each:?}");
}
