//! Shadows of requests whose context is not known yet.

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context, Decision};

use crate::policy::{Explanation, Policies, code};

const SCHEMA: &str = r#"
    entity Group; entity Agent in [Group]; entity Resource;
    action change;
    action write in [change] appliesTo { principal: Agent, resource: Resource, context: {
        path: String, options: { mode: String }, force?: Bool,
    } };
    action list appliesTo { principal: Agent, resource: Resource, context: {
        wide: { a: Long, b: Long, c: Long, d: Long, e: Long, f: Long, g: Long, h: Long }, z: Long,
    } };
"#;

const ENTITIES: &str = r#"[
    { "uid": { "type": "Agent", "id": "writer" }, "attrs": {}, "parents": [{ "type": "Group", "id": "writers" }] },
    { "uid": { "type": "Group", "id": "writers" }, "attrs": {}, "parents": [] }
]"#;

fn policies(text: &str) -> Policies {
    let builder = Policies::builder().source("p.cedar", text);
    let builder = builder.schema("s.cedarschema", SCHEMA);
    builder.entities("entities.json", ENTITIES).build().unwrap()
}

fn request(agent: &str, action: &str, context: &str) -> EvaluateRequest {
    let context = Context::parse(context).unwrap();
    let action = AnyAction::new(action.to_owned()).unwrap();
    let action = action.with_context(context).with_resource("file");
    EvaluateRequest::new(Agent::new(agent).unwrap(), &action).unwrap()
}

/// Returns the code of a denial.
fn code_of(explanation: &Explanation) -> &str {
    assert_eq!(explanation.decision, Decision::Deny, "{explanation:?}");
    explanation.code.as_deref().unwrap_or_default()
}

/// Returns the code for a shadow of `write` without arguments.
fn shadow_code(policies: &Policies, agent: &str) -> String {
    let explained = policies.explain(&request(agent, "write", "{}").shadow(true));
    code_of(&explained).to_owned()
}

const WRITERS: &str =
    r#"permit (principal in Group::"writers", action == Action::"write", resource);"#;

#[test]
fn a_shadow_without_arguments_is_denied_as_the_call_if_no_permit_can_match() {
    let policies = policies(WRITERS);
    assert_eq!(
        shadow_code(&policies, "writer"),
        code::REQUEST_NOT_IN_SCHEMA
    );
    let shadow = policies.explain(&request("writre", "write", "{}").shadow(true));
    assert_eq!(code_of(&shadow), code::NO_MATCHING_POLICY);
    // The reason and the hint are those of the whole call.
    let call = r#"{"path": "/a", "options": {"mode": "x"}}"#;
    let call = policies.explain(&request("writre", "write", call));
    assert_eq!(
        (&shadow.code, &shadow.reason, &shadow.hint),
        (&call.code, &call.reason, &call.hint)
    );
    assert!(shadow.hint.is_some(), "{shadow:?}");
}

#[test]
fn a_request_that_is_no_shadow_is_not_in_the_schema() {
    let policies = policies(WRITERS);
    for shadow in [None, Some(false)] {
        for agent in ["writer", "stranger"] {
            let mut request = request(agent, "write", "{}");
            request.shadow = shadow;
            let explained = policies.explain(&request);
            assert_eq!(code_of(&explained), code::REQUEST_NOT_IN_SCHEMA, "{agent}");
        }
    }
}

#[test]
fn a_shadow_with_a_value_that_does_not_fit_is_not_in_the_schema() {
    let policies = policies(WRITERS);
    for (context, expected) in [
        (r#"{"path": "/a"}"#, code::NO_MATCHING_POLICY),
        (r#"{"path": "/a", "options": {}}"#, code::NO_MATCHING_POLICY),
        (r#"{"path": 7}"#, code::REQUEST_NOT_IN_SCHEMA),
        (r#"{"other": 7}"#, code::REQUEST_NOT_IN_SCHEMA),
        (
            r#"{"options": {"mode": true}}"#,
            code::REQUEST_NOT_IN_SCHEMA,
        ),
    ] {
        let explained = policies.explain(&request("stranger", "write", context).shadow(true));
        assert_eq!(code_of(&explained), expected, "{context}");
    }
}

#[test]
fn a_value_that_does_not_fit_counts_even_if_the_answer_does_not_list_it() {
    let policies = policies(WRITERS);
    for (context, expected) in [
        (r#"{"wide": {}}"#, code::NO_MATCHING_POLICY),
        (r#"{"wide": {}, "z": "text"}"#, code::REQUEST_NOT_IN_SCHEMA),
    ] {
        let explained = policies.explain(&request("writer", "list", context).shadow(true));
        assert_eq!(code_of(&explained), expected, "{context}");
    }
}

#[test]
fn only_the_scope_of_a_permit_keeps_the_answer_open() {
    for (text, is_open) in [
        (r#"permit (principal, action, resource);"#, true),
        (
            r#"permit (principal, action in Action::"change", resource);"#,
            true,
        ),
        // Whether the conditions hold is not known yet.
        (
            r#"permit (principal, action == Action::"write", resource) when { context.path == "/a" };"#,
            true,
        ),
        (
            r#"permit (principal is Agent in Group::"writers", action, resource is Resource);"#,
            true,
        ),
        (
            r#"permit (principal, action, resource == Resource::"file");"#,
            true,
        ),
        (
            r#"permit (principal, action, resource == Resource::"other");"#,
            false,
        ),
        (
            r#"permit (principal == Agent::"other", action, resource);"#,
            false,
        ),
        (
            r#"permit (principal in Group::"others", action, resource);"#,
            false,
        ),
        (
            r#"permit (principal, action == Action::"list", resource);"#,
            false,
        ),
        (
            r#"@decision("hold") forbid (principal, action == Action::"write", resource);"#,
            false,
        ),
    ] {
        let expected = match is_open {
            true => code::REQUEST_NOT_IN_SCHEMA,
            false => code::NO_MATCHING_POLICY,
        };
        assert_eq!(shadow_code(&policies(text), "writer"), expected, "{text}");
    }
}
