//! The lints of holds that no approval can release, and of quorums that cannot be reached.

use crate::policy::Policies;

fn lint(text: &str) -> Vec<String> {
    let policies = Policies::parse(text).unwrap();
    policies.lint().iter().map(ToString::to_string).collect()
}

fn hold(scope: &str) -> String {
    format!("@id(\"h\")\n  @decision(\"hold\") forbid ({scope});\n")
}

const NO_PERMIT: &str = "<policies>:2:3: policy `h` holds requests that no `permit` matches";

#[test]
fn a_hold_that_no_permit_follows_is_found() {
    let deploy = r#"principal, action == Action::"deploy", resource"#;
    let bot_deploys =
        r#"principal == Agent::"bot", action == Action::"deploy", resource == Resource::"a""#;
    for (held, permitted) in [
        (deploy, r#"principal, action == Action::"read", resource"#),
        (
            deploy,
            r#"principal, action in [Action::"read", Action::"list"], resource"#,
        ),
        (
            bot_deploys,
            r#"principal == Agent::"other", action, resource"#,
        ),
        (
            bot_deploys,
            r#"principal, action, resource == Resource::"b""#,
        ),
        (
            r#"principal == Agent::"bot", action, resource"#,
            r#"principal == Agent::"other", action == Action::"x", resource"#,
        ),
    ] {
        let found = lint(&format!("{}permit ({permitted});", hold(held)));
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with(NO_PERMIT)),
            "{held} {permitted}: {found:#?}"
        );
    }
    // A `permit` that never matches follows nothing, and a set may have none at all.
    let never = format!("{}permit ({deploy}) when {{ false }};", hold(deploy));
    assert!(lint(&never)[0].starts_with(NO_PERMIT));
    assert!(lint(&hold(deploy))[0].starts_with(NO_PERMIT));
}

#[test]
fn a_hold_that_a_permit_may_follow_is_not() {
    let deploy = r#"principal, action == Action::"deploy", resource"#;
    for (held, permitted) in [
        (deploy, deploy),
        (deploy, r#"principal in Role::"ops", action, resource"#),
        (
            deploy,
            r#"principal == Agent::"bot", action in [Action::"x", Action::"deploy"], resource == Resource::"a""#,
        ),
        (
            r#"principal == Agent::"bot", action, resource"#,
            r#"principal == Agent::"bot", action == Action::"x", resource"#,
        ),
    ] {
        let text = format!("{}permit ({permitted});", hold(held));
        assert_eq!(lint(&text), [""; 0], "{held} {permitted}");
    }
    // A plain `forbid` needs no `permit`.
    let denied = format!("forbid ({deploy});");
    assert_eq!(lint(&denied), [""; 0]);
}

#[test]
fn the_members_of_a_group_count_as_its_actions() {
    let text = format!(
        "{}permit (principal, action == Action::\"deploy\", resource);",
        hold(r#"principal, action in Action::"writes", resource"#)
    );
    let entities = r#"[
        { "uid": { "type": "Action", "id": "writes" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "Action", "id": "deploy" }, "attrs": {}, "parents": [{ "type": "Action", "id": "writes" }] }
    ]"#;
    let builder = Policies::builder().source("<policies>", text.clone());
    let policies = builder.entities("entities.json", entities).build().unwrap();
    assert_eq!(policies.lint(), []);
    assert!(lint(&text)[0].starts_with(NO_PERMIT));
}

#[test]
fn a_schema_tells_the_actions_of_a_scope() {
    let schema = r#"
        entity Agent, Resource;
        action writes;
        action deploy in [writes] appliesTo { principal: Agent, resource: Resource, context: {} };
        action read appliesTo { principal: Agent, resource: Resource, context: {} };
    "#;
    let found = |permitted: &str| {
        let text = format!(
            "{}permit (principal, action == Action::\"{permitted}\", resource);",
            hold(r#"principal, action in Action::"writes", resource"#)
        );
        let builder = Policies::builder().source("<policies>", text);
        let policies = builder.schema("s.cedarschema", schema).build().unwrap();
        policies.lint()
    };
    assert_eq!(found("deploy"), []);
    assert!(found("read")[0].to_string().starts_with(NO_PERMIT));
}

#[test]
fn a_quorum_that_the_agent_would_have_to_complete_is_found() {
    let text = |annotations: &str, principal: &str| {
        format!(
            "permit (principal == Agent::\"alice\", action == Action::\"pay\", resource);\n\
             @id(\"h\") @decision(\"hold\")\n{annotations}\n\
             forbid (principal{principal}, action == Action::\"pay\", resource);"
        )
    };
    let alice = r#" == Agent::"alice""#;
    for (annotations, message) in [
        (
            r#"@approvers("user:alice")"#,
            "<policies>:3:1: policy `h` needs 1 approval, and `@approvers` lists 0 beside the agent, \
             which does not approve its own request: list more people or a role",
        ),
        (
            r#"@approvers("user:alice, user:bob") @quorum("unanimous")"#,
            "<policies>:3:1: policy `h` needs 2 approvals (all of 2), and `@approvers` lists 1",
        ),
        (
            r#"@approvers("user:alice, user:bob") @quorum("2") @escalate_to("user:alice, then user:bob")"#,
            "<policies>:3:49: policy `h` needs 2 approvals, and `@approvers` and `@escalate_to` list 1 beside the \
             agent, which does not approve its own request: list",
        ),
    ] {
        let found = lint(&text(annotations, alice));
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with(message)),
            "{annotations}: {found:#?}"
        );
    }
    for annotations in [
        r#"@approvers("user:bob")"#,
        r#"@approvers("user:alice, user:bob")"#,
        r#"@approvers("user:alice, role:x") @quorum("3")"#,
        r#"@quorum("2") @escalate_to("role:a, user:alice, then user:a, user:b")"#,
        r#"@approvers("user:alice, user:bob") @quorum("2") @escalate_to("user:carol")"#,
    ] {
        assert_eq!(lint(&text(annotations, alice)), [""; 0], "{annotations}");
    }
    // Another agent may be held, too.
    assert_eq!(lint(&text(r#"@approvers("user:alice")"#, "")), [""; 0]);
}
