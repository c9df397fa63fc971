//! Editing a policy compiles the code again, and a misfit on either side breaks the build.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod package;

use package::Package;

const SCHEMA: &str = r#"entity Agent, Resource;
action "deploy" appliesTo { principal: Agent, resource: Resource, context: { commit: String } };
"#;

const POLICY: &str = r#"permit (principal, action == Action::"deploy", resource) when { context.commit != "" };
"#;

const CODE: &str = r#"
#[atlasent::protect(action = "deploy", agent = "bot", context = { commit })]
pub fn deploy(commit: &str) -> Result<(), atlasent::Error> {
    Ok(())
}
"#;

/// Returns the messages of `cargo check`, which has to succeed or to fail as `succeeds` says.
#[track_caller]
fn check(package: &Package<'_>, succeeds: bool) -> String {
    let check = package.check(&[]);
    let messages = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.success(), succeeds, "{messages}");
    messages
}

#[test]
fn editing_a_policy_checks_the_code_again() {
    let folder = tempfile::tempdir().unwrap();
    let package = Package::new(folder.path(), "recompiled", "");
    package.write("src/lib.rs", CODE);
    package.write("policies/schema.cedarschema", SCHEMA);
    package.write("policies/deploy.cedar", POLICY);
    check(&package, true);

    // The policies rename the action: the code does not compile.
    package.write(
        "policies/schema.cedarschema",
        &SCHEMA.replace("deploy", "deploys"),
    );
    package.write(
        "policies/deploy.cedar",
        &POLICY.replace("deploy", "deploys"),
    );
    let messages = check(&package, false);
    assert!(
        messages.contains("unknown action `deploy`: did you mean `deploys`?"),
        "{messages}"
    );
    assert!(messages.contains("src/lib.rs:2:30"), "{messages}");

    // The schema asks for more.
    let more = SCHEMA.replace("commit: String", "commit: String, replicas: Long");
    package.write("policies/schema.cedarschema", &more);
    package.write("policies/deploy.cedar", POLICY);
    let messages = check(&package, false);
    assert!(
        messages.contains("requires the context key `replicas: Long`"),
        "{messages}"
    );

    // A policy with an error, at its place.
    package.write("policies/schema.cedarschema", SCHEMA);
    package.write("policies/deploy.cedar", &POLICY.replace("commit", "comit"));
    let messages = check(&package, false);
    assert!(messages.contains("policies/deploy.cedar:1:"), "{messages}");
    assert!(messages.contains("`comit`"), "{messages}");

    // A new file is noticed, too.
    package.write("policies/deploy.cedar", POLICY);
    check(&package, true);
    package.write(
        "policies/other.cedar",
        "permit (principal, action, resource",
    );
    let messages = check(&package, false);
    assert!(messages.contains("policies/other.cedar:1:"), "{messages}");
}
