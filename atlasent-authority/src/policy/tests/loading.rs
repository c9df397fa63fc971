//! What is rejected at load, and the text of each error.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{PERMIT, parse_error, places};
use crate::policy::Policies;

const SCHEMA: &str = r#"
    entity Role;
    entity Agent in [Role] { level: Long };
    entity Resource;
    action deploy appliesTo { principal: Agent, resource: Resource, context: { commit: String } };
"#;

/// A directory that is removed with the test.
struct Dir(PathBuf);

impl Dir {
    fn with(files: &[(&str, &[u8])]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("atlasent-policies-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (name, content) in files {
            fs::write(path.join(name), content).unwrap();
        }
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_syntax_error_names_file_line_and_column_in_characters() {
    let error = Policies::builder()
        .source("a.cedar", PERMIT)
        .source("b.cedar", "// héllo 日本\npermit (principal, action, resource)\nwhen { \"日本\" == oops oops };\n")
        .build()
        .unwrap_err();
    assert_eq!(places(&error), ["b.cedar:3:21"]);
    assert!(
        error
            .to_string()
            .starts_with("b.cedar:3:21: unexpected token `oops`, expected "),
        "{error}"
    );
}

#[test]
fn every_problem_of_every_file_is_reported_at_once() {
    let error = Policies::builder()
        .source(
            "a.cedar",
            "permit (principal, action);\npermit (principal, actoin, resource);",
        )
        .source(
            "b.cedar",
            "permit (principal, action, resource) when { nobody };",
        )
        .source(
            "c.cedar",
            "@decision(\"hold\") permit (principal, action, resource);",
        )
        .schema("schema.cedarschema", "entity Agent in [Nobody];")
        .build()
        .unwrap_err();
    let expected = [
        "a.cedar:1:26",
        "a.cedar:2:20",
        "b.cedar:1:45",
        "c.cedar:1:1",
        "schema.cedarschema:1:18",
    ];
    assert_eq!(places(&error), expected, "{error}");
    assert_eq!(error.to_string().lines().count(), expected.len());
}

#[test]
fn no_second_schema_and_no_second_entities_take_the_place_of_the_first() {
    let error = Policies::builder()
        .source("a.cedar", PERMIT)
        .schema("one.cedarschema", SCHEMA)
        .schema("two.cedarschema", SCHEMA)
        .entities("one.json", "[]")
        .entities("two.json", "[]")
        .build()
        .unwrap_err();
    assert_eq!(places(&error), ["two.cedarschema", "two.json"], "{error}");
    let both = Policies::builder()
        .source("a.cedar", PERMIT)
        .source("b.cedar", PERMIT);
    assert_eq!(both.build().unwrap().len(), 2, "sources add up");
}

#[test]
fn templates_are_refused() {
    let text = format!(
        "{PERMIT}\n// permit (principal == ?principal, action, resource);\npermit (principal == ?principal, action, resource);\n{PERMIT}"
    );
    let error = parse_error(&text);
    assert!(
        error.starts_with("<policies>:4:1: this policy is a template"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_policy_without_an_id_is_named_after_its_place() {
    let policies = Policies::builder()
        .source(
            "b.cedar",
            format!("{PERMIT}@id(\"named\") {PERMIT}{PERMIT}"),
        )
        .source("a.cedar", PERMIT)
        .build()
        .unwrap();
    assert_eq!(
        policies.ids().collect::<Vec<_>>(),
        ["a.cedar#1", "b.cedar#1", "b.cedar#3", "named"]
    );
    assert_eq!((policies.len(), policies.is_empty()), (4, false));
}

#[test]
fn many_policies_in_one_text_keep_their_order() {
    let text: String = (1..=120)
        .map(|n| format!("@x_n(\"{n}\") {PERMIT}"))
        .collect();
    let text = text + "@id(\"<policies>#11\") forbid (principal, action, resource);";
    let error = parse_error(&text);
    assert_eq!(
        error,
        "<policies>:121:1: policy id `<policies>#11` is already used at <policies>:11:1"
    );
}

#[test]
fn an_id_used_twice_is_refused_and_both_places_are_named() {
    let error = Policies::builder()
        .source("a.cedar", format!("{PERMIT}@id(\"x\") {PERMIT}"))
        .source("b.cedar", format!("\n\n  @id(\"x\") {PERMIT}"))
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "b.cedar:3:3: policy id `x` is already used at a.cedar:2:1"
    );
}

#[test]
fn a_source_name_used_twice_is_refused() {
    let error = Policies::builder()
        .source("a.cedar", PERMIT)
        .source("a.cedar", "")
        .build()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("a.cedar: this name is used for two sources"),
        "{error}"
    );
}

#[test]
fn every_validation_error_names_its_place() {
    let error = Policies::builder()
        .schema("schema.cedarschema", SCHEMA)
        .source("a.cedar", "permit (principal, action == Action::\"deploy\", resource)\nwhen { context.comit == \"é\" && context.branch == \"x\" };")
        .source("b.cedar", format!("permit (principal, action == Action::\"deploy\", resource)\nwhen {{ principal.level > \"1\" }};\n{}", "permit (principal, action == Action::\"deplay\", resource);"))
        .build()
        .unwrap_err();
    assert_eq!(
        places(&error),
        [
            "a.cedar:2:8",
            "a.cedar:2:32",
            "b.cedar:2:26",
            "b.cedar:3:30"
        ],
        "{error}"
    );
    let text = error.to_string();
    for part in [
        "`a.cedar#1`",
        "attribute `comit`",
        "did you mean `commit`?",
        "did you mean `Action::\"deploy\"`?",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_schema_that_does_not_parse_names_its_place() {
    let error = Policies::builder()
        .schema("s.cedarschema", "entity Agent;\nentity é;")
        .build()
        .unwrap_err();
    assert_eq!(places(&error), ["s.cedarschema:2:8"], "{error}");
}

#[test]
fn entities_that_are_not_json_name_their_place() {
    let error = Policies::builder()
        .entities("entities.json", "[\n  {\"é\": }]")
        .build()
        .unwrap_err();
    assert_eq!(places(&error), ["entities.json:2:9"], "{error}");
}

#[test]
fn entities_that_do_not_conform_are_refused_and_named() {
    let entity = r#"[{ "uid": { "type": "Agent", "id": "bot" }, "attrs": { "level": "high" }, "parents": [] }]"#;
    assert!(
        Policies::builder()
            .source("a.cedar", PERMIT)
            .entities("entities.json", entity)
            .build()
            .is_ok()
    );
    let error = Policies::builder()
        .schema("schema.cedarschema", SCHEMA)
        .entities("entities.json", entity)
        .build()
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("entities.json: ") && error.contains("Agent::\"bot\""),
        "{error}"
    );
}

#[test]
fn a_policy_that_can_never_apply_is_warned_about() {
    let policies = Policies::parse(
        "forbid (principal == User::\"mallory\", action, resource);\npermit (principal in Role::\"ops\", action, resource is File);",
    )
    .unwrap();
    let warnings: Vec<String> = policies
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with(
        "<policies>:1:1: policy `<policies>#1` never applies: its scope asks for `User`"
    ));
    assert!(
        warnings[1].contains("asks for `File` where requests have `Resource`"),
        "{warnings:?}"
    );
}

#[test]
fn what_the_validator_warns_about_is_kept() {
    let policies = Policies::builder()
        .schema("schema.cedarschema", SCHEMA)
        .source(
            "a.cedar",
            "permit (principal, action, resource) when { principal.level > 1 && false };",
        )
        .build()
        .unwrap();
    assert!(
        policies.warnings()[0]
            .to_string()
            .starts_with("a.cedar:1:1: for policy `a.cedar#1`, policy is impossible")
    );
}

#[test]
fn a_directory_gives_its_cedar_files_in_the_order_of_their_names() {
    let dir = Dir::with(&[
        ("b.cedar", PERMIT.as_bytes()),
        (
            "a.cedar",
            b"\xef\xbb\xbfpermit (principal, action == Action::\"deploy\", resource);",
        ),
        (".changeset.cedar", b"not a policy"),
        ("README.md", b"\xff"),
        ("schema.cedarschema", SCHEMA.as_bytes()),
        (
            "entities.json",
            br#"[{ "uid": { "type": "Role", "id": "ops" }, "attrs": {}, "parents": [] }]"#,
        ),
    ]);
    fs::create_dir(dir.path().join("old")).unwrap();
    fs::write(dir.path().join("old/c.cedar"), "not a policy").unwrap();
    let policies = Policies::from_dir(dir.path()).unwrap();
    assert_eq!(
        policies.ids().collect::<Vec<_>>(),
        ["a.cedar#1", "b.cedar#1"]
    );
    // The role of the file and the action of the schema.
    assert!(
        format!("{policies:?}").contains("entities: 2, schema: true"),
        "{policies:?}"
    );
}

#[test]
fn a_directory_without_policies_is_an_error() {
    let dir = Dir::with(&[("schema.cedarschema", SCHEMA.as_bytes())]);
    let error = Policies::from_dir(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains(&dir.path().display().to_string()) && error.contains("no `*.cedar` file"),
        "{error}"
    );
    let error = Policies::from_dir(dir.path().join("missing"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing: cannot be read: "), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_as_text_is_an_error_that_names_it() {
    let dir = Dir::with(&[("a.cedar", PERMIT.as_bytes()), ("b.cedar", b"// \xff")]);
    // Ignoring a policy could ignore a `forbid`.
    fs::create_dir(dir.path().join("c.cedar")).unwrap();
    let error = Policies::from_dir(dir.path()).unwrap_err();
    let names: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| problem.source_name().to_owned())
        .collect();
    assert_eq!(
        names,
        ["b.cedar", "c.cedar"].map(|name| dir.path().join(name).display().to_string())
    );
}
