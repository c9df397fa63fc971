use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

const SCHEMA: &str = r#"
    entity Agent, Resource, Team;
    entity Colour enum ["red", "dark blue"];
    @doc("Rolls a commit out.")
    action "deploy.production" appliesTo {
        principal: Agent, resource: Resource,
        context: {
            @doc("How many.\nAt most 50.") replicas: Long,
            commit?: String,
            "odd key\n": Bool,
            rate: decimal, from: ipaddr, at: datetime, within: duration,
            teams: Set<Set<Team>>, clients: Set<{ "the ip": ipaddr, geo?: { at: Colour } }>,
        },
    };
    action look appliesTo { principal: Agent, resource: Resource };
"#;

const POLICY: &str =
    r#"permit (principal == Agent::"a", action == Action::"deploy.production", resource);"#;

/// A folder of policies, and one for the index.
struct Stage(TempDir);

impl Stage {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("out")).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn schema_digest(&self) -> String {
        let policies = Policies::from_dir(self.path()).unwrap();
        policies.schema_digest().unwrap().to_owned()
    }

    /// The instructions to Cargo, without the path of the folder, and without the files to watch.
    fn instructions(&self, level: Level) -> Vec<String> {
        let text = Builder::new(self.path())
            .lint(level)
            .instructions(Some(&self.path().join("out")));
        let folder = self.path().display().to_string();
        let text = text.replace(&folder, "policies");
        let lines = text.lines().filter(|line| !line.contains("rerun-if"));
        lines.map(str::to_owned).collect()
    }
}

#[test]
fn the_index_has_each_action_key_and_type() {
    let stage = Stage::new(&[("schema.cedarschema", SCHEMA), ("deploy.cedar", POLICY)]);
    assert_eq!(
        stage.instructions(Level::Deny),
        [
            "cargo::rustc-env=ATLASENT_POLICY_INDEX=policies/out/atlasent-policy-index".to_owned(),
            "cargo::rustc-env=ATLASENT_ACTIONS=policies/out/actions.rs".to_owned(),
            "cargo::rustc-env=ATLASENT_POLICIES=policies/out/policies.rs".to_owned(),
            format!(
                "cargo::rustc-env=ATLASENT_SCHEMA_DIGEST={}",
                stage.schema_digest()
            ),
        ]
    );
    let index = fs::read_to_string(stage.path().join("out/atlasent-policy-index")).unwrap();
    let (head, actions) = index.split_once("action ").unwrap();
    let head: Vec<_> = head.lines().collect();
    let [format, schema, folder, ids @ ..] = &head[..] else {
        panic!("{head:?}");
    };
    assert_eq!(ids, ["enum Colour dark blue", "enum Colour red"]);
    assert_eq!(*format, "atlasent-policy-index 1");
    assert_eq!(schema.len(), "schema ".len() + 64);
    assert_eq!(*folder, format!("folder {}", stage.path().display()));
    assert_eq!(
        actions,
        r"deploy.production
doc Rolls a commit out.
required datetime at
required Set<{geo?:{at:Entity<Colour>},the%20ip:ipaddr}> clients
optional String commit
required ipaddr from
required Bool odd key\n
required decimal rate
required Long replicas
doc How many.\nAt most 50.
required Set<Set<Entity<Team>>> teams
required duration within
action look
"
    );
}

#[test]
fn a_record_that_is_too_large_is_written_as_such() {
    // Each type has two of the one before, so the last has more than 2,000 keys.
    let types = (1..12).map(|n| format!("type T{n} = {{ a: T{}, b: T{0} }};\n", n - 1));
    let schema = format!(
        "entity Agent, Resource;\ntype T0 = {{ a: Long }};\n{}action look appliesTo {{ principal: Agent, \
         resource: Resource, context: {{ sets: Set<T11>, small: T2 }} }};",
        types.collect::<String>()
    );
    let everything = "permit (principal, action, resource);";
    let stage = Stage::new(&[("schema.cedarschema", &schema), ("all.cedar", everything)]);
    stage.instructions(Level::Allow);
    let index = fs::read_to_string(stage.path().join("out/atlasent-policy-index")).unwrap();
    assert!(
        index.contains("required Set<LargeRecord> sets\n"),
        "{index}"
    );
    let t1 = "{a:{a:Long},b:{a:Long}}";
    assert!(
        index.contains(&format!("required {{a:{t1},b:{t1}}} small\n")),
        "{index}"
    );
}

#[test]
fn every_problem_is_an_error_at_its_place() {
    let stage = Stage::new(&[
        ("schema.cedarschema", SCHEMA),
        ("a.cedar", "permit (principal, action, resource;"),
        (
            "b.cedar",
            "\n  @decison(\"hold\") forbid (principal, action, resource);",
        ),
    ]);
    let errors = stage.instructions(Level::Allow);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(
        errors[0].starts_with("cargo::error=policies/a.cedar:1:"),
        "{errors:#?}"
    );
    assert!(
        errors[1].starts_with("cargo::error=policies/b.cedar:2:3:"),
        "{errors:#?}"
    );
}

#[test]
fn a_policy_that_reads_a_key_that_the_schema_lacks_is_an_error_at_its_place() {
    let policy = POLICY.replace(';', " when { context.replcas > 5 };");
    let stage = Stage::new(&[("schema.cedarschema", SCHEMA), ("deploy.cedar", &policy)]);
    let errors = stage.instructions(Level::Allow);
    assert!(
        errors[0].starts_with("cargo::error=policies/deploy.cedar:1:"),
        "{errors:#?}"
    );
    assert!(errors[0].contains("`replcas`"), "{errors:#?}");
}

#[test]
fn a_folder_without_a_schema_says_how_to_write_one() {
    let stage = Stage::new(&[("deploy.cedar", POLICY)]);
    let errors = stage.instructions(Level::Warn);
    let [error] = &errors[..] else {
        panic!("{errors:#?}");
    };
    assert!(
        error.starts_with("cargo::error=policies: no `schema.cedarschema`"),
        "{error}"
    );
    assert!(error.contains("`atlasent policy schema`"), "{error}");
    // The suggestion is a schema that a folder can have.
    let (_, schema) = error.split_once("such as `").unwrap();
    let schema = schema.strip_suffix('`').unwrap();
    let policy = POLICY.replace(".production", "");
    let stage = Stage::new(&[("schema.cedarschema", schema), ("deploy.cedar", &policy)]);
    let lines = stage.instructions(Level::Deny);
    assert!(lines[0].starts_with("cargo::rustc-env="), "{lines:#?}");
}

#[test]
fn a_missing_folder_is_an_error() {
    let lines = Builder::new("no-such-folder").instructions(None);
    assert!(
        lines.contains("cargo::error=no-such-folder: cannot be read"),
        "{lines}"
    );
}

#[test]
fn the_level_of_the_lints_decides_about_findings() {
    let everything = "permit (principal, action, resource);";
    let stage = Stage::new(&[("schema.cedarschema", SCHEMA), ("all.cedar", everything)]);
    let warnings = stage.instructions(Level::Warn);
    let expected = "cargo::warning=policies/all.cedar:1:1: policy `all.cedar#1` permits every";
    assert!(warnings[0].starts_with(expected), "{warnings:#?}");
    let errors = stage.instructions(Level::Deny);
    assert!(
        errors[0].starts_with(&expected.replace("warning", "error")),
        "{errors:#?}"
    );
    assert!(stage.instructions(Level::Allow)[0].starts_with("cargo::rustc-env="));
}

#[test]
fn the_policies_are_copied_as_they_were_checked() {
    let stage = Stage::new(&[("schema.cedarschema", SCHEMA), ("all.cedar", POLICY)]);
    stage.instructions(Level::Allow);
    let policies = Policies::from_dir(stage.path()).unwrap();
    let out = stage.path().join("out");
    let expected = format!(
        "(\n    {:?},\n    {:?},\n    &[\n\
         \x20       (\"all.cedar\", ::core::include_str!({:?})),\n\
         \x20       (\"schema.cedarschema\", ::core::include_str!({:?})),\n    ],\n)\n",
        policies.digest(),
        stage.schema_digest(),
        out.join("policies/all.cedar"),
        out.join("policies/schema.cedarschema"),
    );
    assert_eq!(
        fs::read_to_string(out.join("policies.rs")).unwrap(),
        expected
    );
    let copy = fs::read_to_string(out.join("policies/all.cedar")).unwrap();
    assert_eq!(copy, POLICY);
}

#[test]
fn the_folder_and_each_file_are_watched() {
    let stage = Stage::new(&[("schema.cedarschema", SCHEMA), ("all.cedar", POLICY)]);
    let lines = Builder::new(stage.path()).instructions(None);
    for path in ["", "/all.cedar", "/schema.cedarschema"] {
        let line = format!("cargo::rerun-if-changed={}{path}\n", stage.path().display());
        assert!(lines.contains(&line), "no {line} in {lines}");
    }
}
