//! An inferred schema declares what the policies use, and the policies load with it.

use proptest::prelude::*;

use crate::policy::{InferredSchema, Policies, PoliciesBuilder};

fn inferred(builder: PoliciesBuilder) -> InferredSchema {
    builder.infer_schema([]).unwrap()
}

fn of_policy(text: &str) -> InferredSchema {
    inferred(Policies::builder().source("p", text))
}

/// The schema without its header, on one line.
#[track_caller]
fn shown(schema: &InferredSchema) -> String {
    assert_eq!(schema.problems, [], "{}", schema.text);
    let lines = schema.text.lines().filter(|line| !line.starts_with("//"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// The attributes of the context of the action `a`, which the conditions use.
#[track_caller]
fn context(conditions: &str) -> String {
    let text = format!("permit (principal, action == Action::\"a\", resource) {conditions};");
    let shown = shown(&of_policy(&text));
    let (_, context) = shown.split_once("context: ").unwrap();
    let context = context.strip_suffix(", };").unwrap();
    context.to_owned()
}

#[test]
fn each_use_shows_a_type() {
    for (condition, kind) in [
        ("context.x == 5", "Long"),
        ("context.x + 1 == -context.y", "Long, y: Long"),
        ("context.x < 5", "Long"),
        ("context.x == \"a\"", "String"),
        ("context.x like \"a*\"", "String"),
        ("context.x", "Bool"),
        ("!context.x", "Bool"),
        ("context.x == true", "Bool"),
        ("if context.x then true else context.y", "Bool, y: Bool"),
        ("context.x.contains(\"a\")", "Set<String>"),
        ("[\"a\", \"b\"].contains(context.x)", "String"),
        ("[1, 2].containsAll(context.x)", "Set<Long>"),
        ("context.x.contains([1])", "Set<Set<Long>>"),
        ("context.x.lessThan(decimal(\"1.0\"))", "decimal"),
        ("context.x == decimal(\"1.0\")", "decimal"),
        ("context.x.isInRange(ip(\"10.0.0.0/8\"))", "ipaddr"),
        ("context.x < datetime(\"2025-01-01\")", "datetime"),
        (
            "context.x.offset(context.y) > context.x",
            "datetime, y: duration",
        ),
        ("context.x.toTime() < duration(\"8h\")", "datetime"),
        ("context.x.toHours() > 5", "duration"),
        ("context.x == principal", "Agent"),
        ("context.x == Team::\"t\"", "Team"),
        ("context.x.contains(Team::\"t\")", "Set<Team>"),
        ("context.x is Team", "Team"),
        ("context.x == {a: 1, b: \"t\"}", "{ a: Long, b: String, }"),
        ("context.x.a.b > 1", "{ a: { b: Long, }, }"),
        ("context.x == context.y && context.y > 3", "Long, y: Long"),
        ("context.x == [] && context.x.contains(1)", "Set<Long>"),
    ] {
        // An empty set literal is an error with any schema.
        if condition.contains("[]") {
            continue;
        }
        let condition = format!("when {{ {condition} }}");
        assert_eq!(
            context(&condition),
            format!("{{ x: {kind}, }}"),
            "{condition}"
        );
    }
}

#[test]
fn an_attribute_is_optional_if_each_read_is_guarded() {
    for (conditions, expected) in [
        ("when { context has x && context.x > 1 }", "{ x?: Long, }"),
        (
            "when { context has x } when { context.x > 1 }",
            "{ x?: Long, }",
        ),
        (
            "when { if context has x then context.x > 1 else true }",
            "{ x?: Long, }",
        ),
        (
            "when { (context has x && context.y || context has x) && context.x > 1 }",
            "{ x?: Long, y: Bool, }",
        ),
        (
            "when { context has x.y && context.x.y }",
            "{ x?: { y?: Bool, }, }",
        ),
        (
            "when { context has x }",
            "{ x?: String, // fill in: no policy shows the type }",
        ),
        (
            "when { context has x || context.x > 1 }",
            "{ x: Long, // required: a policy reads it without a `has` before }",
        ),
        (
            "unless { !(context has x) } when { context.x > 1 }",
            "{ x: Long, // required: a policy reads it without a `has` before }",
        ),
    ] {
        assert_eq!(context(conditions), expected, "{conditions}");
    }
}

#[test]
fn what_an_action_never_evaluates_is_not_in_its_context() {
    let shown = shown(&of_policy(
        r#"
        permit (principal, action in [Action::"a", Action::"b"], resource);
        forbid (principal, action, resource) when { action == Action::"a" && context.x > 1 };
        forbid (principal, action, resource) unless { action != Action::"b" || context.y };"#,
    ));
    assert!(shown.contains(r#"action "a" appliesTo { principal: Agent, resource: Resource, context: { x: Long, }, };"#), "{shown}");
    assert!(shown.contains(r#"action "b" appliesTo { principal: Agent, resource: Resource, context: { y: Bool, }, };"#), "{shown}");
}

#[test]
fn entities_have_their_groups_attributes_and_tags() {
    let shown = shown(&of_policy(
        r#"
        permit (principal in Role::"ops", action == Action::"a", resource in Folder::"f")
        when { principal.level > 3 && resource has owner && resource.owner == principal };
        forbid (principal, action == Action::"a", resource)
        when { resource.hasTag("env") && resource.getTag("env") == "live" && context.by in Team::"t" };"#,
    ));
    assert!(shown.starts_with(
        "entity Agent in [Role] = { level: Long, }; entity Folder; \
         entity Resource in [Folder] = { owner?: Agent, } tags String; entity Role; entity Team in [Team];"
    ), "{shown}");
    assert!(
        shown.contains("{ by: Team, // fill in: no policy shows the type }"),
        "{shown}"
    );
}

#[test]
fn the_entities_show_attributes_groups_and_action_groups() {
    let entities = r#"[
        { "uid": { "type": "Agent", "id": "a" }, "attrs": { "level": 1, "team": { "__entity": { "type": "Team", "id": "t" } } },
          "parents": [{ "type": "Role", "id": "r" }] },
        { "uid": { "type": "Agent", "id": "b" }, "attrs": { "level": 2, "cost": { "__extn": { "fn": "decimal", "arg": "1.5" } } },
          "parents": [], "tags": { "k": "v" } },
        { "uid": { "type": "Action", "id": "read" }, "attrs": {}, "parents": [{ "type": "Action", "id": "view" }] },
        { "uid": { "type": "Action", "id": "view" }, "attrs": {}, "parents": [] }]"#;
    let builder = Policies::builder().entities("entities.json", entities);
    let text = "permit (principal, action in Action::\"view\", resource) when { principal.level > 1 && context.x };";
    let shown = shown(&inferred(builder.source("p", text)));
    assert_eq!(
        shown,
        "entity Agent in [Role] = { cost?: decimal, level: Long, team?: Team, } tags String; entity Resource; \
         entity Role; entity Team; action \"read\" in [\"view\"] appliesTo { principal: Agent, resource: Resource, \
         context: { x: Bool, }, }; action \"view\";"
    );
}

#[test]
fn names_in_namespaces_and_odd_names_are_declared() {
    let shown = shown(&of_policy(
        r#"
        permit (principal == Org::User::"u", action == Org::Action::"do \"it\"", resource is Org::Doc)
        when { context["odd key"] && context["in"] > 1 };
        permit (principal, action == Action::"a\nb", resource);"#,
    ));
    assert!(shown.contains("namespace Org { entity Doc; entity User; action \"do \\\"it\\\"\" appliesTo { principal: [Agent, Org::User], \
        resource: [Org::Doc, Resource], context: { \"in\": Long, \"odd key\": Bool, }, }; }"), "{shown}");
    assert!(shown.contains(r#"action "a\nb" appliesTo"#), "{shown}");
}

#[test]
fn uses_that_fit_no_type_are_problems_at_their_place() {
    for (text, words) in [
        (
            "permit (principal, action == Action::\"a\", resource) when { context.x > 5 && context.x };",
            "p:1:60: no type fits `context.x`: policy `p#1` uses it as `Long` and as `Bool`",
        ),
        (
            "permit (principal, action == Action::\"a\", resource) when { context.x == 5 };\n\
             forbid (principal, action == Action::\"a\", resource) when { context.x.contains(5) };",
            "p:2:60: no type fits `context.x`: policy `p#2` uses it as a set, and policy `p#1` at p:1:1 as `Long`",
        ),
        (
            "permit (principal, action == Action::\"a\", resource) when { context.x == 5 && context.x.y };",
            "no type fits `context.x`: policy `p#1` uses it as `Long` and as a record or an entity",
        ),
        (
            "permit (principal, action == Action::\"a\", resource) when { context.x == context.x.y };",
            "would have to contain itself",
        ),
        // Valid without a schema only.
        (
            "permit (principal, action == Action::\"a\", resource) when { context.x == [] };",
            "empty set",
        ),
    ] {
        let problems = of_policy(text).problems;
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            found.iter().any(|found| found.contains(words)),
            "{text}: {found:#?}"
        );
    }
    let entities = r#"[{ "uid": { "type": "Agent", "id": "a" }, "attrs": { "level": "high" }, "parents": [] }]"#;
    let text =
        "permit (principal, action == Action::\"a\", resource) when { principal.level > 1 };";
    let builder = Policies::builder()
        .entities("entities.json", entities)
        .source("p", text);
    let problems = inferred(builder).problems;
    assert!(
        problems[0].to_string().starts_with(
            "entities.json: no type fits `level`: its value in `Agent::\"a\"` is not `Long`"
        ),
        "{problems:?}"
    );
}

#[test]
fn a_schema_that_is_already_there_is_ignored_and_actions_of_code_are_added() {
    let builder = Policies::builder().schema("s", "broken");
    let builder = builder.source(
        "p",
        "permit (principal, action == Action::\"a\", resource);",
    );
    let schema = builder.infer_schema(["in.code".to_owned()]).unwrap();
    assert!(shown(&schema).contains("action \"in.code\" appliesTo"));
    let broken = Policies::builder().source("p", "permit (").infer_schema([]);
    assert!(broken.is_err());
}

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// The attributes of the hidden schema: the name says the type, the second letter whether it is
/// optional.
const TYPES: [(&str, &[&str]); 9] = [
    ("Long", &["1", "-7"]),
    ("String", &["\"a\"", "\"b\\n\""]),
    ("Bool", &["true", "false"]),
    ("decimal", &["decimal(\"1.5\")"]),
    ("ipaddr", &["ip(\"10.0.0.1\")"]),
    ("datetime", &["datetime(\"2025-01-01\")"]),
    ("Set<String>", &["[\"a\", \"b\"]"]),
    ("Team", &["Team::\"t\""]),
    ("{ inner: Long, maybe?: String }", &["1"]),
];

/// Returns the paths of a type in an environment: an expression and its guard, if it needs one.
fn attribute(random: &mut Random, kind: usize) -> (String, Option<String>) {
    let root = random.pick(&["context", "context", "context", "principal", "resource"]);
    let name = format!("k{kind}{}", random.pick(&["a", "b"]));
    match random.below(2) {
        0 => (format!("{root}.r{name}"), None),
        _ => (
            format!("{root}.o{name}"),
            Some(format!("{root} has o{name}")),
        ),
    }
}

/// Returns a condition that is well typed in the hidden schema.
fn condition(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.below(3) > 0 {
        let (one, other) = (condition(random, depth - 1), condition(random, depth - 1));
        return match random.below(5) {
            0 => format!("({one} && {other})"),
            1 => format!("({one} || {other})"),
            2 => format!("!({one})"),
            3 => format!(
                "(if {one} then {other} else {})",
                condition(random, depth - 1)
            ),
            _ => format!(
                "(action == Action::\"{}\" && {one})",
                random.pick(&["a0", "a1", "a2"])
            ),
        };
    }
    let kind = random.below(TYPES.len());
    let (read, guard) = attribute(random, kind);
    let (other, other_guard) = attribute(random, kind);
    let literal = random.pick(TYPES[kind].1);
    let test = match (TYPES[kind].0, random.below(4)) {
        ("Long", 0) => format!("{read} + 1 > {literal}"),
        ("Long", 1) => format!("{read} <= {other}"),
        ("String", 0) => format!("{read} like \"a*\""),
        ("String", 1) => format!("[{literal}].contains({read})"),
        ("Bool", 0 | 1) => read.clone(),
        ("decimal", 0) => format!("{read}.lessThan({literal})"),
        ("ipaddr", 0) => format!("{read}.isLoopback()"),
        ("datetime", 0) => format!("{read}.toTime() < duration(\"1h\")"),
        ("Set<String>", 0) => format!("{read}.contains(\"a\")"),
        ("Set<String>", 1) => format!("{read}.containsAny({other})"),
        ("Team", 0) => format!("{read} in Team::\"t\""),
        ("Team", 1) => format!("principal in {read}"),
        ("{ inner: Long, maybe?: String }", 0) => format!("{read}.inner < 5"),
        ("{ inner: Long, maybe?: String }", 1) => {
            format!("({read} has maybe && {read}.maybe like \"a*\")")
        }
        (_, 2) => format!("{read} == {other}"),
        // A record literal has no optional attributes, so it is of another type.
        ("{ inner: Long, maybe?: String }", _) => format!("{read}.inner != {literal}"),
        _ => format!("{read} != {literal}"),
    };
    let mut guarded = test.clone();
    let needs = |path: &str| test.contains(path);
    if let Some(guard) = other_guard.filter(|_| needs(&other)) {
        guarded = format!("{guard} && {guarded}");
    }
    if let Some(guard) = guard {
        guarded = format!("{guard} && {guarded}");
    }
    format!("({guarded})")
}

fn random_policies(seed: u64) -> String {
    let mut random = Random(seed);
    let mut text = String::new();
    for _ in 0..=random.below(5) {
        let effect = random.pick(&["permit", "forbid"]);
        let principal = random.pick(&[
            "principal",
            "principal == Agent::\"x\"",
            "principal in Team::\"t\"",
            "principal is Agent",
        ]);
        let action = random.pick(&[
            "action",
            "action == Action::\"a0\"",
            "action == Action::\"a1\"",
            "action in [Action::\"a1\", Action::\"a2\"]",
        ]);
        let resource = random.pick(&["resource", "resource in Folder::\"f\""]);
        text.push_str(&format!("{effect} ({principal}, {action}, {resource})"));
        for _ in 0..random.below(3) {
            let kind = random.pick(&["when", "unless"]);
            text.push_str(&format!(" {kind} {{ {} }}", condition(&mut random, 3)));
        }
        text.push_str(";\n");
    }
    text
}

fn hidden_schema() -> String {
    let attributes = || -> String {
        let kinds = TYPES.iter().enumerate();
        let of_kind = |(n, (kind, _)): (usize, &(&str, _))| {
            ["a", "b"]
                .map(|letter| format!("rk{n}{letter}: {kind}, ok{n}{letter}?: {kind}, "))
                .concat()
        };
        kinds.map(of_kind).collect()
    };
    let actions: String = ["a0", "a1", "a2"]
        .map(|name| {
            format!("action {name} appliesTo {{ principal: Agent, resource: Resource, context: {{ {} }} }};\n", attributes())
        })
        .concat();
    format!(
        "entity Folder;\nentity Team in [Team];\nentity Agent in [Team] = {{ {} }};\nentity Resource in [Folder] = {{ {} }};\n{actions}",
        attributes(),
        attributes()
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn policies_that_fit_some_schema_load_with_the_inferred_one(seed in any::<u64>()) {
        let text = random_policies(seed);
        let fits = Policies::builder().schema("hidden", hidden_schema()).source("p", &*text).build();
        prop_assert!(fits.is_ok(), "{text}\n{:?}", fits.err());
        let schema = of_policy(&text);
        prop_assert!(schema.problems.is_empty(), "{text}\n{}\n{:?}", schema.text, schema.problems);
        // What is optional in the hidden schema is not required by the inferred one.
        prop_assert!(!schema.text.contains(" ok") || !schema.text.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with("ok") && !line.contains("?:")
        }), "{text}\n{}", schema.text);
    }
}
