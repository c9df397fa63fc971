//! What the lints report about comparisons, patterns and numbers, and what they accept.

use std::path::Path;

use crate::policy::Policies;

fn lint(policies: &Policies) -> Vec<String> {
    (policies.lint().iter())
        .map(|problem| problem.message().to_owned())
        .collect()
}

/// Returns the findings on policies for one action.
fn findings(conditions: &[&str]) -> Vec<String> {
    let text: String = (conditions.iter().enumerate())
        .map(|(n, condition)| {
            let effect = if condition.starts_with("forbid ") {
                "forbid"
            } else {
                "permit"
            };
            let condition = condition.trim_start_matches("forbid ");
            format!("@id(\"p{n}\") {effect} (principal, action == Action::\"a\", resource) {condition};\n")
        })
        .collect();
    lint(&Policies::parse(&text).unwrap())
}

#[track_caller]
fn assert_one(conditions: &[&str], words: &str) {
    let found = findings(conditions);
    assert_eq!(found.len(), 1, "{conditions:?}: {found:#?}");
    assert!(found[0].contains(words), "{conditions:?}: {found:#?}");
}

#[test]
fn a_comparison_that_can_never_be_true_is_found() {
    for (condition, words) in [
        (
            "when { context.x == 1 && context.x == 2 }",
            "asks `context.x` to equal two different values",
        ),
        (
            "when { context.x == 1 } when { context.x == 2 }",
            "two different values",
        ),
        (
            "when { context.a.b == \"x\" && (context.y || context.a.b == \"z\") && context.a.b == \"z\" }",
            "asks `context.a.b` to equal two different values",
        ),
        (
            "when { context.x == 1 && context.x == \"1\" }",
            "asks `context.x` to be an integer and a string at once",
        ),
        (
            "when { context.x > 5 && context.x == \"high\" }",
            "an integer and a string",
        ),
        (
            "when { context.x like \"a*\" && context.x < 5 }",
            "a string and an integer",
        ),
        (
            "when { context.x > 5 && context.x.lessThan(decimal(\"9.0\")) }",
            "an integer and a `decimal`",
        ),
        (
            "when { context.x > 5 && context.x < 3 }",
            "a range that holds no number",
        ),
        ("when { context.x > 5 && context.x < 6 }", "a range"),
        ("when { context.x > 5 && 6 > context.x }", "a range"),
        (
            "when { context.x >= 5 } unless { context.x > 4 }",
            "a range",
        ),
        ("when { !(context.x < 5 || context.x > 3) }", "a range"),
        ("when { context.x == 7 && context.x < 7 }", "a range"),
        (
            "when { context.x.greaterThan(decimal(\"1.5\")) && context.x.lessThanOrEqual(decimal(\"1.5\")) }",
            "a range",
        ),
        (
            "when { context.x == \"a\" && context.x != \"a\" }",
            "to equal a value and not to equal it",
        ),
        (
            "when { true || (context.x == 1 && context.x == 2) }",
            "two different values",
        ),
        (
            "when { if context.y then context.x > 5 && context.x < 3 else true }",
            "a range",
        ),
        ("when { 1 == \"1\" }", "compares an integer with a string"),
        (
            "when { principal == \"bot\" }",
            "compares `principal`, an entity, with a string: write `Agent::\"…\"`",
        ),
        (
            "when { User::\"bot\" == principal }",
            "compares `principal` with a `User`, where requests have `Agent`",
        ),
        (
            "when { context.owner == Agent::\"bot\" }",
            "compares `context.owner` with an entity, and without a schema",
        ),
        (
            "when { context.env in [\"prod\", \"test\"] }",
            "write `[…].contains(context.env)`",
        ),
        (
            "when { context.team in Group::\"ops\" }",
            "uses `in` with `context.team`",
        ),
        (
            "when { \"a\" in [\"a\"] }",
            "uses `in` with values that are no entities",
        ),
    ] {
        assert_one(&[condition], words);
        assert_one(&[&format!("forbid {condition}")], words);
    }
}

#[test]
fn a_comparison_that_can_be_true_is_not() {
    for condition in [
        "when { context.x == 1 || context.x == 2 }",
        "when { context.x == 1 && context.y == 2 }",
        "when { context.x == 1 && context.x == 1 }",
        "when { context.x > 5 && context.x < 7 }",
        "when { context.x >= 5 && context.x <= 5 }",
        "when { context.x < 3 || context.x > 5 }",
        "when { context.x > 5 } unless { context.x > 9 }",
        "unless { context.x < 3 && context.x > 5 }",
        "when { context.x != 1 && context.x != \"1\" }",
        "when { context.x == 1 && context.x != 2 }",
        "unless { context.x == 1 || context.x == 2 }",
        "when { if context.y then context.x == 1 else context.x == 2 }",
        "when { context.x.lessThan(decimal(\"2.0\")) && context.x.greaterThan(decimal(\"1.9998\")) }",
        "when { context.x == -1 && context.x < 0 }",
        "when { context.x > 9223372036854775806 }",
        "when { context.x + 1 > 5 && context.x + 2 < 3 }",
        "when { principal == Agent::\"bot\" && resource == Resource::\"r\" && action == Action::\"a\" }",
        "when { principal in Group::\"ops\" && resource in [Group::\"a\", Group::\"b\"] }",
        "when { [\"prod\", \"test\"].contains(context.env) }",
        "when { context.a == context.b && context.x == {} && context.y == [1] }",
        "when { 1 == 2 }",
        "when { false }",
    ] {
        assert_eq!(findings(&[condition]), [""; 0], "{condition}");
    }
}

#[test]
fn a_pattern_for_a_folder_is_found() {
    for (condition, pattern) in [
        (
            "when { context.path like \"/srv/sandbox/*\" }",
            "/srv/sandbox/*",
        ),
        (
            "when { context.target like \"/srv/sandbox/*\" }",
            "/srv/sandbox/*",
        ),
        ("when { context.file_path like \"sandbox/*\" }", "sandbox/*"),
        (
            "when { context.args.filename like \"*/sandbox/*\" }",
            "*/sandbox/*",
        ),
        (
            "when { context.dir like \"C:\\\\sandbox\\\\*\" }",
            "C:\\sandbox\\*",
        ),
        (
            "forbid unless { context.path like \"~/work/*\" }",
            "~/work/*",
        ),
    ] {
        let found = findings(&[condition]);
        assert_eq!(found.len(), 1, "{condition}: {found:#?}");
        assert!(
            found[0].contains(&format!("with `{pattern}`, which also matches")),
            "{found:#?}"
        );
    }
    let text = "permit (principal, action == Action::\"a\", resource)\nwhen { context.path like \"/x/*\" };";
    let found = Policies::parse(text).unwrap().lint();
    assert_eq!((found[0].line(), found[0].column()), (Some(2), Some(8)));
    assert!(
        found[0].message().contains("also matches `/x/../x`"),
        "{found:?}"
    );
}

#[test]
fn a_pattern_that_nothing_leads_out_of_is_not() {
    for condition in [
        "when { context.path like \"/srv/sandbox/*\" && !(context.path like \"*..*\") }",
        "when { context.path like \"/srv/*\" } unless { context.path like \"*/../*\" }",
        "when { context.path like \"/srv/sandbox/report.csv\" }",
        "when { context.path like \"*.txt\" }",
        "when { context.path like \"/*\" || context.path like \"*\" }",
        "when { context.path like \"/srv/sandbox/\\*\" }",
        "when { context.media_type like \"application/*\" }",
        "when { context.branch like \"release/*\" }",
        "when { context.url like \"https://api.example.com/*\" }",
        "when { resource.path like \"/srv/sandbox/*\" }",
    ] {
        let found = findings(&[condition]);
        let found: Vec<_> = found
            .iter()
            .filter(|found| found.contains("like"))
            .collect();
        assert!(found.is_empty(), "{condition}: {found:?}");
    }
    let elsewhere = [
        "when { context.path like \"/srv/sandbox/*\" }",
        "forbid when { context.path like \"*..*\" }",
    ];
    assert_eq!(findings(&elsewhere), [""; 0]);
    // A `permit` of another policy forbids nothing.
    let permits = [
        "when { context.path like \"/srv/sandbox/*\" }",
        "when { context.path like \"*..*\" }",
    ];
    assert_eq!(findings(&permits).len(), 1);
}

#[test]
fn a_number_that_may_arrive_in_another_form_is_found() {
    assert_one(
        &["when { context.amount < 10 }"],
        "compares `context.amount` as an integer: a number with a fraction",
    );
    assert_one(
        &["when { context.order.unitPrice >= 10 }"],
        "`context.order.unitPrice`",
    );
    assert_one(
        &["when { context.amount == \"19.99\" }"],
        "with a string that reads like a number",
    );
    assert_one(
        &[
            "when { context.x < 10 }",
            "forbid when { context.x.greaterThan(decimal(\"5.0\")) }",
        ],
        "policy `p1` compares `context.x` as a `decimal`, and policy `p0` as an integer",
    );
}

#[test]
fn a_number_that_arrives_as_it_is_compared_is_not() {
    for conditions in [
        &["when { context.replicas > 50 && context.retries < 3 }"][..],
        &["when { context.amount_cents < 1000 }"],
        &["when { context.amountInCents < 1000 }"],
        &["when { context.price_count < 10 && context.rate_limit < 5 }"],
        &["when { context.amount.lessThan(decimal(\"10.0\")) }"],
        &["when { context.version == \"1.2\" || context.release == \"10.4\" }"],
        &["when { context.host == \"10.0.0.1\" || context.name == \"a.b\" }"],
        &["when { context.x == 10 }", "when { context.x == \"a\" }"],
        &[
            "when { context.x < 10 }",
            "when { context.y.lessThan(decimal(\"1.0\")) }",
        ],
    ] {
        assert_eq!(findings(conditions), [""; 0], "{conditions:?}");
    }
    let apart = r#"
        permit (principal, action == Action::"a", resource) when { context.x < 10 };
        permit (principal, action == Action::"b", resource) when { context.x.lessThan(decimal("1.0")) };
    "#;
    assert_eq!(lint(&Policies::parse(apart).unwrap()), [""; 0]);
}

const SCHEMA: &str = r#"
    entity Group; entity Agent in [Group] { level?: Long }; entity Resource;
    action a, b appliesTo { principal: Agent, resource: Resource, context: {
        amount: Long, note?: String, more?: { x?: Long } } };
"#;

fn with_schema(text: &str) -> Result<Policies, String> {
    let builder = Policies::builder()
        .source("p.cedar", text)
        .schema("s.cedarschema", SCHEMA);
    builder.build().map_err(|error| error.to_string())
}

#[test]
fn an_attribute_that_no_schema_declares_is_found() {
    for (condition, words) in [
        (
            "context has notes && context.amount > 1",
            "asks `context has notes`",
        ),
        (
            "context has notes || context.amount > 1",
            "asks `context has notes`",
        ),
        (
            "context has more && context.more has y || context.amount > 1",
            "asks `context.more has y`",
        ),
        (
            "principal has levle || context.amount > 1",
            "asks `principal has levle`",
        ),
    ] {
        let text = format!(
            "permit (principal, action == Action::\"a\", resource) when {{ {condition} }};"
        );
        let found = lint(&with_schema(&text).unwrap());
        assert_eq!(found.len(), 1, "{condition}: {found:#?}");
        assert!(found[0].contains(words), "{condition}: {found:#?}");
    }
    for condition in [
        "context has note && context.note == \"x\"",
        "principal has level && principal.level > 1",
        "context has more.x && context.more.x > 1",
        "context has more && context.more has x",
    ] {
        let text = format!(
            "permit (principal, action == Action::\"a\", resource) when {{ {condition} }};"
        );
        assert_eq!(lint(&with_schema(&text).unwrap()), [""; 0], "{condition}");
    }
}

#[test]
fn with_a_schema_numbers_are_checked_at_load() {
    let text = |condition: &str| {
        format!("permit (principal, action == Action::\"a\", resource) when {{ {condition} }};")
    };
    let error = with_schema(&text("context.amount.lessThan(decimal(\"1.0\"))")).unwrap_err();
    assert!(
        error.contains("decimal") && error.contains("Long"),
        "{error}"
    );
    assert_eq!(
        lint(&with_schema(&text("context.amount < 10")).unwrap()),
        [""; 0]
    );
}

#[test]
fn the_policies_of_the_repository_draw_no_finding() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["atlasent-cli/policies", "examples/services/policies"] {
        let policies = Policies::from_dir(root.join(folder)).unwrap();
        assert_eq!(lint(&policies), [""; 0], "{folder}");
        assert!(policies.warnings().is_empty(), "{folder}");
    }
}
