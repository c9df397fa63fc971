//! Editing a policy compiles the code again, and a misfit on either side breaks the build.
#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The directory of this package.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The manifest of the workspace.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

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

/// A package with a build script, outside of the workspace.
struct Package<'a>(&'a Path);

impl Package<'_> {
    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The messages of `cargo check`, which has to succeed or to fail as `succeeds` says.
    fn check(&self, succeeds: bool) -> String {
        let check = Command::new(env!("CARGO"))
            .args(["check", "--offline", "--color", "never"])
            .current_dir(self.0)
            // That of the workspace, so that both share the dependencies that they build.
            .env(
                "CARGO_TARGET_DIR",
                Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap(),
            )
            .env_remove("ATLASENT_POLICY_INDEX")
            .output()
            .unwrap();
        let messages = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.success(), succeeds, "{messages}");
        messages
    }
}

#[test]
fn editing_a_policy_checks_the_code_again() {
    let folder = tempfile::tempdir().unwrap();
    let package = Package(folder.path());
    let root = Path::new(HERE).join("../..").display().to_string();
    let (_, profile) = WORKSPACE.split_once("[profile.dev]").unwrap();
    let (profile, _) = profile.split_once("[profile.bench]").unwrap();
    package.write(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"recompiled\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
             atlasent = {{ path = \"{root}/atlasent\", default-features = false }}\n[build-dependencies]\n\
             atlasent-build = {{ path = \"{root}/atlasent-build\" }}\n\
             [profile.dev]{profile}"
        ),
    );
    // The versions of the workspace, which are on this machine.
    fs::copy(
        Path::new(&root).join("Cargo.lock"),
        folder.path().join("Cargo.lock"),
    )
    .unwrap();
    package.write(
        "build.rs",
        "fn main() { atlasent_build::policies(\"policies\"); }",
    );
    package.write("src/lib.rs", CODE);
    package.write("policies/schema.cedarschema", SCHEMA);
    package.write("policies/deploy.cedar", POLICY);
    package.check(true);

    // The policies rename the action: the code does not compile.
    package.write(
        "policies/schema.cedarschema",
        &SCHEMA.replace("deploy", "deploys"),
    );
    package.write(
        "policies/deploy.cedar",
        &POLICY.replace("deploy", "deploys"),
    );
    let messages = package.check(false);
    assert!(
        messages.contains("unknown action `deploy`: did you mean `deploys`?"),
        "{messages}"
    );
    assert!(messages.contains("src/lib.rs:2:30"), "{messages}");

    // The schema asks for more.
    let more = SCHEMA.replace("commit: String", "commit: String, replicas: Long");
    package.write("policies/schema.cedarschema", &more);
    package.write("policies/deploy.cedar", POLICY);
    let messages = package.check(false);
    assert!(
        messages.contains("requires the context key `replicas: Long`"),
        "{messages}"
    );

    // A policy with an error, at its place.
    package.write("policies/schema.cedarschema", SCHEMA);
    package.write("policies/deploy.cedar", &POLICY.replace("commit", "comit"));
    let messages = package.check(false);
    assert!(messages.contains("policies/deploy.cedar:1:"), "{messages}");
    assert!(messages.contains("`comit`"), "{messages}");

    // A new file is noticed, too.
    package.write("policies/deploy.cedar", POLICY);
    package.check(true);
    package.write(
        "policies/other.cedar",
        "permit (principal, action, resource",
    );
    let messages = package.check(false);
    assert!(messages.contains("policies/other.cedar:1:"), "{messages}");
}
