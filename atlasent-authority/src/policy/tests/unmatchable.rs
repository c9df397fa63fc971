//! Which policies no request can match, and what coverage learns about actions.

use atlasent::coverage::PolicyOutline;

use crate::policy::{Policies, PolicyText};

const SCHEMA: &str = r#"
    entity Agent, Resource, User, Folder in [Folder];
    action changes, empty;
    action deploy in [changes] appliesTo {
        principal: [Agent, User], resource: [Resource, Folder],
        context: { replicas: Long, note?: String },
    };
    action look appliesTo { principal: Agent, resource: Resource };
    action foreign appliesTo { principal: User, resource: Resource };
"#;

fn with_schema(policy: &str) -> Policies {
    let builder = Policies::builder().schema("s", SCHEMA);
    builder.source("p", policy).build().unwrap()
}

fn without_schema(policy: &str) -> Policies {
    Policies::builder().source("p", policy).build().unwrap()
}

fn found(policies: &Policies) -> Vec<String> {
    let found = policies.unmatchable();
    found.values().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_found(policies: &Policies, words: &str) {
    let found = found(policies);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains(words), "{found:#?}");
}

#[test]
fn a_policy_that_the_schema_excludes_is_found() {
    let scope =
        "its scope covers no action that the schema declares for an `Agent` and a `Resource`";
    let conditions = "its conditions are false for each request that the schema allows";
    for (policy, words) in [
        (
            "permit (principal, action in Action::\"empty\", resource);",
            scope,
        ),
        (
            "permit (principal, action == Action::\"foreign\", resource);",
            scope,
        ),
        (
            "forbid (principal, action == Action::\"deploy\", resource) when { false };",
            conditions,
        ),
        (
            "permit (principal, action == Action::\"deploy\", resource) when { principal is User };",
            conditions,
        ),
        (
            "permit (principal, action == Action::\"deploy\", resource) unless { resource is Resource };",
            conditions,
        ),
        (
            "permit (principal, action == Action::\"deploy\", resource) when { context has missing };",
            conditions,
        ),
        (
            "permit (principal, action in Action::\"changes\", resource) when { action == Action::\"look\" };",
            conditions,
        ),
        (
            "permit (principal == User::\"u\", action == Action::\"deploy\", resource);",
            "asks for `User` where requests have `Agent`",
        ),
        (
            "permit (principal, action == Action::\"deploy\", resource is Folder);",
            "asks for `Folder`",
        ),
        (
            "permit (principal, action == Action::\"deploy\", resource) when { context.replicas > 5 && context.replicas < 3 };",
            "a range that holds no number",
        ),
    ] {
        assert_found(&with_schema(policy), words);
    }
}

#[test]
fn an_id_that_an_enum_type_lacks_is_an_error_at_load() {
    let schema = r#"
        entity Agent;
        entity Resource enum ["eu", "us"];
        action deploy appliesTo { principal: Agent, resource: Resource };"#;
    let load = |resource: &str| {
        let text = format!("permit (principal, action, resource == Resource::\"{resource}\");");
        let builder = Policies::builder().schema("s", schema);
        builder.source("p", text).build()
    };
    assert_eq!(found(&load("eu").unwrap()), [""; 0]);
    let error = load("mars").unwrap_err().to_string();
    assert!(
        error.contains("p:1:") && error.contains("\"mars\""),
        "{error}"
    );
}

#[test]
fn a_policy_that_some_request_matches_is_not_found() {
    for policy in [
        "permit (principal, action, resource);",
        "permit (principal, action in Action::\"changes\", resource);",
        "permit (principal, action in [Action::\"empty\", Action::\"look\"], resource);",
        "permit (principal, action == Action::\"deploy\", resource) when { principal is Agent };",
        "permit (principal, action, resource) when { context has note };",
        "permit (principal, action == Action::\"deploy\", resource) when { context.replicas > 5 || false };",
        "permit (principal == Agent::\"a\", action, resource == Resource::\"r\") unless { false };",
    ] {
        assert_eq!(found(&with_schema(policy)), [""; 0], "{policy}");
    }
}

#[test]
fn without_a_schema_constants_and_contradictions_are_found() {
    let permit = |condition: &str| {
        without_schema(&format!(
            "@id(\"x\") permit (principal, action, resource) {condition};"
        ))
    };
    for condition in [
        "when { false }",
        "unless { true }",
        "when { context.a && false }",
        "when { !true || (false && context.a) }",
        "when { context.a } when { if context.b then false else false }",
        "when { if true then false else context.b }",
        "unless { !(context.a && false) }",
    ] {
        assert_eq!(
            found(&permit(condition)),
            ["p:1:1: policy `x` matches no request: its conditions are always false"],
            "{condition}"
        );
    }
    assert_found(
        &permit("when { context.a == 1 } unless { context.a == 1 }"),
        "this can never be true",
    );
    assert_found(
        &permit("when { principal == User::\"u\" }"),
        "requests have `Agent`",
    );
    for condition in [
        "when { true }",
        "when { context.a || false }",
        "unless { false }",
        "unless { context.a && false }",
        "when { if context.b then false else true }",
        // Only one of two alternatives is impossible.
        "when { context.b || context.a == 1 && context.a == 2 }",
        "when { !(context.a == 1 && context.a == 2) }",
    ] {
        assert_eq!(found(&permit(condition)), [""; 0], "{condition}");
    }
}

#[test]
fn a_group_that_has_no_members_today_is_not_found() {
    let policy = "forbid (principal in Group::\"suspended\", action, resource);";
    assert_eq!(found(&without_schema(policy)), [""; 0]);
}

#[test]
fn an_outline_has_the_actions_of_requests_and_what_can_be_permitted() {
    let text = r#"
        permit (principal, action in Action::"changes", resource);
        forbid (principal, action == Action::"look", resource);
        permit (principal, action == Action::"look", resource) when { false };"#;
    let outline = PolicyOutline::from(&with_schema(text));
    assert_eq!(
        outline.actions().collect::<Vec<_>>(),
        ["deploy", "foreign", "look"]
    );
    assert_eq!(outline.denial("deploy"), None);
    assert!(outline.denial("look").unwrap().contains("no `permit`"));
    assert!(outline.denial("changes").unwrap().contains("do not know"));
    assert_eq!(outline.source("look"), Some("policy `p#2` at p:3:9"));
    assert_eq!(outline.source("foreign"), Some("the schema"));
    assert_eq!(outline.unmatchable_policies().len(), 1);
}

#[test]
fn without_a_schema_scopes_conditions_and_entities_name_the_actions() {
    let entities = r#"[
        { "uid": { "type": "Action", "id": "read" }, "attrs": {}, "parents": [{ "type": "Action", "id": "view" }] },
        { "uid": { "type": "Action", "id": "lone" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "Action", "id": "view" }, "attrs": {}, "parents": [] }]"#;
    let text = r#"
        permit (principal, action in [Action::"view", Action::"write"], resource);
        forbid (principal, action, resource) when { action == Action::"drop" };"#;
    let builder = Policies::builder().entities("e", entities);
    let outline = PolicyOutline::from(&builder.source("p", text).build().unwrap());
    assert_eq!(
        outline.actions().collect::<Vec<_>>(),
        ["drop", "lone", "read", "write"]
    );
    let denied = ["drop", "lone", "view", "x"].map(|name| outline.denial(name).is_some());
    assert_eq!(denied, [true, true, false, true]);
    assert_eq!(outline.denial("read").or(outline.denial("write")), None);

    let any = PolicyOutline::from(&without_schema("permit (principal, action, resource);"));
    assert_eq!(any.denial("whatever"), None);
    assert_eq!(any.actions().count(), 0);
}

#[test]
fn a_policy_shows_its_text_and_lines() {
    let text = "// one\npermit (principal,\n  action, resource\n);\n\n@id(\"two\") forbid (principal, action, resource);";
    let policies = Policies::builder()
        .source("b", text)
        .source("a", "permit (principal, action, resource);");
    let policies = policies.build().unwrap();
    let shown: Vec<_> = policies
        .texts()
        .map(|p| (p.file(), p.id(), p.first_line(), p.last_line()))
        .collect();
    assert_eq!(
        shown,
        [("a", "a#1", 1, 1), ("b", "b#1", 2, 4), ("b", "two", 6, 6)]
    );
    assert_eq!(
        policies.texts().last().map(PolicyText::file_text),
        Some(text)
    );
}
