//! Random policies, entities and requests, for the properties that hold for all of them.

use atlasent::Context;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::policy::fields::Fields;
use crate::policy::{Policies, PolicyInput};

/// An entity as a policy names it, by type and id.
type Name = (&'static str, &'static str);

// The principals of requests, groups of them, and look-alikes of another type. A parent comes
// before its children, which keeps the hierarchy free of cycles.
const PRINCIPALS: [Name; 7] = [
    ("Role", "r0"),
    ("Role", "r1"),
    ("Agent", "p0"),
    ("Agent", "p1"),
    ("Agent", "p2"),
    ("User", "p0"),
    ("Agent", "default"),
];
const ACTIONS: [Name; 8] = [
    ("Action", "g0"),
    ("Action", "g1"),
    ("App::Action", "g2"),
    ("Action", "a0"),
    ("Action", "a1"),
    ("Action", "a2"),
    ("Action", "a3"),
    ("App::Action", "a0"),
];
const RESOURCES: [Name; 5] = [
    ("Folder", "f0"),
    ("Resource", "f1"),
    ("Resource", "default"),
    ("Resource", "s0"),
    ("File", "s0"),
];

/// Some are true, some are false, and some fail: on a missing attribute, a wrong type, a missing
/// entity.
const CONDITIONS: [&str; 12] = [
    "",
    "",
    "when { context.flag }",
    "when { context has flag && context.flag }",
    "unless { context.n > 2 }",
    "when { context.n == 1 }",
    "when { context.n + 9223372036854775807 > 0 }",
    "when { principal.level > 1 }",
    "when { principal has level } unless { context.missing }",
    "when { resource in Folder::\"f0\" || context.flag }",
    "when { action in [Action::\"g0\", Action::\"a1\"] }",
    "when { principal == Agent::\"p0\" } when { context.flag }",
];

/// Values of every kind, present and absent.
const VALUES: [&str; 26] = [
    "true",
    "false",
    "1",
    "5",
    "9223372036854775807",
    "\"yes\"",
    "\"no\"",
    "[]",
    "[1, 5]",
    "[\"yes\", \"no\"]",
    "[Role::\"r0\", Agent::\"p1\"]",
    "{ \"x\": 1 }",
    "decimal(\"1.5\")",
    "ip(\"10.0.0.1\")",
    "datetime(\"2024-10-15\")",
    "duration(\"1h\")",
    "principal",
    "action",
    "resource",
    "context",
    "Agent::\"p0\"",
    "Role::\"r0\"",
    "context.flag",
    "context.n",
    "context.s",
    "context.r",
];

/// Tests that conditions often open with.
const TESTS: [&str; 20] = [
    "context.s == \"yes\"",
    "\"no\" == context.s",
    "context.s == \"yes\" || context.s == \"no\"",
    "context.s == \"no\" || context.s like \"ye*\"",
    "context.n == 1 || context.n like \"y*\"",
    "[\"yes\", 1].contains(context.s)",
    "[].contains(context.s)",
    "context.s like \"y*\"",
    "context.s like \"*s\"",
    "context.s like \"no\"",
    "context.r.x == 1",
    "context.r.x.y == 1",
    "context.s.x == 1",
    "context.n == 5",
    "context has s",
    "context has r.x",
    "context has r && context.r has x",
    "context.r has x",
    "principal == Agent::\"p0\"",
    "!(principal in Role::\"r0\")",
];

fn quoted((type_name, id): Name) -> String {
    format!("{type_name}::\"{id}\"")
}

/// Generates expressions of all kinds. Many have a value, and many fail.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![select(&VALUES[..]), select(&TESTS[..])].prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let unary = select(
            &[
                "!(@)",
                "-(@)",
                "(@) has x",
                "(@) has r.x",
                "(@) like \"y*\"",
                "(@) is Agent",
                "(@).x",
                "(@).level",
                "(@).isEmpty()",
                "(@).isIpv4()",
                "[@]",
                "{ \"x\": @ }",
            ][..],
        );
        let binary = select(
            &[
                "(@) && (#)",
                "(@) && (#)",
                "(@) && (#)",
                "(@) || (#)",
                "(@) == (#)",
                "(@) != (#)",
                "(@) < (#)",
                "(@) >= (#)",
                "(@) + (#)",
                "(@) - (#)",
                "(@) * (#)",
                "(@) in (#)",
                "(@) is Agent in (#)",
                "(@).contains(#)",
                "(@).containsAll(#)",
                "(@).containsAny(#)",
                "(@).hasTag(#)",
                "(@).getTag(#)",
                "(@).lessThan(#)",
                "(@).offset(#)",
                "if (@) then (#) else false",
                "if true then (@) else (#)",
            ][..],
        );
        prop_oneof![
            (unary, inner.clone()).prop_map(|(form, one)| form.replace('@', &one)),
            (binary, inner.clone(), inner).prop_map(|(form, one, two)| {
                let (before, after) = form.split_once('#').unwrap();
                format!("{}{two}{after}", before.replace('@', &one))
            }),
        ]
    })
}

/// Generates up to three `when` and `unless`, of which most open with a test.
pub(super) fn conditions() -> impl Strategy<Value = String> {
    let body = prop_oneof![
        2 => select(&TESTS[..]).prop_map(str::to_owned),
        3 => (select(&TESTS[..]), expression()).prop_map(|(test, e)| format!("({test}) && ({e})")),
        2 => expression(),
    ];
    let condition = (select(&["when", "when", "unless"][..]), body)
        .prop_map(|(keyword, body)| format!("{keyword} {{ {body} }}"));
    prop::collection::vec(condition, 0..=3).prop_map(|conditions| conditions.join(" "))
}

fn scope(variable: &'static str, names: &'static [Name]) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(variable.to_owned()),
        3 => select(names).prop_map(move |name| format!("{variable} == {}", quoted(name))),
        2 => select(names).prop_map(move |name| format!("{variable} in {}", quoted(name))),
        1 => select(names).prop_map(move |(type_name, _)| format!("{variable} is {type_name}")),
        1 => (select(names), select(names)).prop_map(move |((type_name, _), group)| {
            format!("{variable} is {type_name} in {}", quoted(group))
        }),
    ]
}

fn action_scope() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("action".to_owned()),
        3 => select(&ACTIONS[..]).prop_map(|name| format!("action == {}", quoted(name))),
        2 => select(&ACTIONS[..]).prop_map(|name| format!("action in {}", quoted(name))),
        // Repetitions are allowed, and so is the empty list.
        2 => prop::collection::vec(select(&ACTIONS[..]), 0..4).prop_map(|names| {
            format!("action in [{}]", names.into_iter().map(quoted).collect::<Vec<_>>().join(", "))
        }),
    ]
}

pub(super) fn policy() -> impl Strategy<Value = String> {
    (
        select(
            &[
                "permit",
                "permit",
                "forbid",
                "@decision(\"hold\") forbid",
                "@decision(\"escalate\") forbid",
            ][..],
        ),
        scope("principal", &PRINCIPALS),
        action_scope(),
        scope("resource", &RESOURCES),
        prop_oneof![
            select(&CONDITIONS[..]).prop_map(str::to_owned),
            conditions(),
        ],
    )
        .prop_map(|(effect, principal, action, resource, condition)| {
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        })
}

/// Generates entities from some of `names`, with some of those before them as parents.
fn hierarchy(names: &'static [Name]) -> impl Strategy<Value = Vec<Value>> {
    let entity = move |index: usize| {
        let parents = subsequence(&names[..index], 0..=index.min(3));
        (any::<bool>(), parents, prop::option::of(0..4)).prop_map(move |(present, parents, level)| {
            let reference = |(type_name, id): Name| json!({ "type": type_name, "id": id });
            let parents: Vec<Value> = parents.into_iter().map(reference).collect();
            let attrs = level.map_or(json!({}), |level| json!({ "level": level }));
            present.then(|| json!({ "uid": reference(names[index]), "attrs": attrs, "parents": parents }))
        })
    };
    let entities: Vec<_> = (0..names.len()).map(entity).collect();
    entities.prop_map(|entities| entities.into_iter().flatten().collect())
}

pub(super) fn entities() -> impl Strategy<Value = String> {
    (
        hierarchy(&PRINCIPALS),
        hierarchy(&ACTIONS),
        hierarchy(&RESOURCES),
    )
        .prop_map(|(principals, actions, resources)| {
            Value::from([principals, actions, resources].concat()).to_string()
        })
}

fn context() -> impl Strategy<Value = Value> {
    let flag = select(vec![json!(null), json!(true), json!(false), json!("yes")]);
    let n = select(vec![
        json!(null),
        json!(1),
        json!(5),
        json!(1.5),
        json!(1e300),
    ]);
    let s = select(vec![
        json!(null),
        json!("yes"),
        json!("no"),
        json!(""),
        json!(1),
        json!({ "x": 1 }),
    ]);
    let r = select(vec![
        json!(null),
        json!({}),
        json!({ "x": 1 }),
        json!({ "x": { "y": 1 } }),
        json!([1]),
        json!("yes"),
    ]);
    (flag, n, s, r).prop_map(|(flag, n, s, r)| json!({ "flag": flag, "n": n, "s": s, "r": r }))
}

#[derive(Debug, Clone)]
pub(super) struct RandomRequest {
    pub(super) agent: &'static str,
    pub(super) action: &'static str,
    pub(super) resource: &'static str,
    pub(super) context: Context,
}

impl RandomRequest {
    pub(super) fn input(&self) -> PolicyInput<'_> {
        PolicyInput {
            agent: self.agent,
            action: self.action,
            resource: Some(self.resource),
            context: &self.context,
            fields: Fields::default(),
            is_shadow: false,
        }
    }
}

pub(super) fn request() -> impl Strategy<Value = RandomRequest> {
    (
        select(&["p0", "p1", "p2", "p9", "r0"][..]),
        select(&["a0", "a1", "a2", "a3", "a9", "g0", "g1"][..]),
        select(&["default", "s0", "f1", "s9"][..]),
        context(),
    )
        .prop_map(|(agent, action, resource, context)| RandomRequest {
            agent,
            action,
            resource,
            context: context.as_object().unwrap().clone().into(),
        })
}

/// Joins the policies to one text, with their positions as ids.
pub(super) fn numbered(texts: &[String]) -> String {
    let numbered = texts.iter().enumerate();
    numbered
        .map(|(n, text)| format!("@id(\"{n}\") {text}\n"))
        .collect()
}

pub(super) fn build(text: &str, entities: String) -> Policies {
    let builder = Policies::builder().source("p.cedar", text);
    builder.entities("entities.json", entities).build().unwrap()
}
