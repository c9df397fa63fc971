//! `atlasent policy schema`: the written schema fits the policies, or the findings say why no schema
//! does.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Atlasent, atlasent, directory};

const POLICIES: &str = r#"
permit (principal in Group::"ops", action == Action::"deploy.production", resource)
when { context.replicas <= 50 && context.commit like "v*" };
@id("noted") forbid (principal, action, resource) when { context has note && context.note == "stop" };
@id("same") permit (principal, action == Action::"copy", resource) when { context.from == context.to };
"#;

fn schema(folder: &Path, options: &[&str]) -> Atlasent {
    let folder = folder.to_str().unwrap();
    atlasent(["policy", "schema", folder].iter().chain(options))
}

fn check(folder: &Path) -> String {
    atlasent(["policy", "check", folder.to_str().unwrap()]).prints()
}

fn sample() -> TempDir {
    directory(&[("p.cedar", POLICIES)])
}

#[test]
fn the_schema_has_the_actions_and_the_types_that_the_policies_require() {
    let folder = sample();
    assert_eq!(
        schema(folder.path(), &[]).prints(),
        "\
// Inferred from the policies. Complete it before you use it. With a schema, a request is denied if
// its action or a key of its context is not declared, or if it lacks a key without `?`: add what
// the code sends, also `environment` and `amount` where requests set them.

entity Agent in [Group];

entity Group;

entity Resource;

action \"copy\" appliesTo {
  principal: Agent,
  resource: Resource,
  context: {
    from: String, // fill in: no policy shows the type
    note?: String,
    to: String, // fill in: no policy shows the type
  },
};

action \"deploy.production\" appliesTo {
  principal: Agent,
  resource: Resource,
  context: {
    commit: String,
    note?: String,
    replicas: Long,
  },
};
"
    );
}

#[test]
fn the_policies_load_with_the_written_schema() {
    let folder = sample();
    let file = folder.path().join("schema.cedarschema");
    let written = schema(folder.path(), &["--out", file.to_str().unwrap()]).prints();
    assert_eq!(written, format!("wrote {}\n", file.display()));
    assert!(check(folder.path()).contains("3 policies, 0 warnings"));
}

#[test]
fn an_existing_schema_is_overwritten_with_force_only() {
    let folder = sample();
    let file = folder.path().join("schema.cedarschema");
    // A schema that is there is not read: it may be the reason to write a new one.
    fs::write(&file, "broken").unwrap();
    let out = file.to_str().unwrap();
    let line = schema(folder.path(), &["--out", out]).misuse();
    assert!(
        line.ends_with("already exists, so nothing was written: overwrite it with --force"),
        "{line}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "broken");
    schema(folder.path(), &["--out", out, "--force"]).prints();
    assert!(check(folder.path()).contains("0 warnings"));
    let line = schema(folder.path(), &["--force"]).misuse();
    assert!(line.contains("--out"), "{line}");
}

#[test]
fn the_actions_of_a_program_are_declared() {
    let folder = sample();
    let sites = folder.path().join("sites.json");
    fs::write(&sites, r#"[{"action": "only.in.code"}, {"action": null}]"#).unwrap();
    let text = schema(folder.path(), &["--sites", sites.to_str().unwrap()]).prints();
    assert!(
        text.contains("action \"only.in.code\" appliesTo {"),
        "{text}"
    );
}

#[test]
fn a_schema_without_actions_says_that_each_must_be_declared() {
    let folder = directory(&[("p.cedar", "permit (principal, action, resource);")]);
    let text = schema(folder.path(), &[]).prints();
    assert!(
        text.contains("\n// No policy names an action: declare each one"),
        "{text}"
    );
}

#[test]
fn policies_that_no_schema_fits_are_findings() {
    let policies = r#"
@id("number") permit (principal, action == Action::"a", resource) when { context.x > 5 };
@id("text") forbid (principal, action == Action::"a", resource) when { context.x == "5" };
"#;
    let folder = directory(&[("p.cedar", policies)]);
    let out = folder.path().join("s");
    let text = schema(folder.path(), &["--out", out.to_str().unwrap()]).finds();
    let place = folder.path().join("p.cedar").display().to_string();
    assert_eq!(
        text,
        format!(
            "{place}:3:72: error: no type fits `context.x`: policy `text` uses it as `String`, and policy `number` at \
             p.cedar:2:1 as `Long`\n\
             refused: no schema fits these policies: change them, and run the command again\n"
        )
    );
    assert!(!out.exists());

    // A constructor with a value of the request is valid without a schema only.
    let policies = "permit (principal, action == Action::\"a\", resource) when { decimal(context.x) == decimal(\"1.0\") };";
    let folder = directory(&[("p.cedar", policies)]);
    let text = schema(folder.path(), &[]).finds();
    assert!(text.contains("p.cedar:1:"), "{text}");
}

#[test]
fn policies_that_do_not_load_are_misuse() {
    let folder = directory(&[("p.cedar", "permit (principal, action, resource")]);
    let line = schema(folder.path(), &[]).misuse();
    assert!(line.starts_with("cannot load the policies in `"), "{line}");
}

#[test]
fn the_policies_of_the_repository_load_with_their_inferred_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for policies in [
        "atlasent-cli/init",
        "atlasent-cli/policies",
        "examples/first/policies",
        "examples/services/policies",
        "tests/policy_index/policies",
    ] {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(root.join(policies)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".cedar") || name == "entities.json" {
                fs::copy(&path, folder.path().join(name)).unwrap();
            }
        }
        let file = folder.path().join("schema.cedarschema");
        schema(folder.path(), &["--out", file.to_str().unwrap()]).prints();
        let checked = check(folder.path());
        assert!(checked.contains("digest: "), "{policies}: {checked}");
    }
}
