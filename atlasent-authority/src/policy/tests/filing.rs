//! Policies are skipped only where their conditions are false and do not fail.

use std::collections::BTreeSet;

use cedar_policy::Policy;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::random::{self, build, entities, numbered, request};
use super::slicing::{indexed, unindexed, whole};
use crate::policy::comparison::{Accepted, Comparison};
use crate::policy::fields::Fields;
use crate::policy::{Policies, PolicyInput};

fn comparison(conditions: &str) -> Option<Comparison> {
    let policy = format!("permit (principal, action, resource) {conditions};");
    let policy = Policy::parse(None, policy).unwrap();
    Comparison::find(policy.as_ref().non_scope_constraints()?)
}

fn is(value: &str) -> Accepted {
    Accepted::Value(value.into())
}

fn starts(prefix: &str) -> Accepted {
    Accepted::Prefix(prefix.to_owned())
}

#[test]
fn the_comparison_that_conditions_open_with_is_found() {
    for (conditions, path, tested, accepts) in [
        (
            r#"when { context.region == "eu" && context.n > 5 }"#,
            "region",
            0,
            vec![is("eu")],
        ),
        (
            r#"when { "eu" == context.region } when { context.n > 5 }"#,
            "region",
            0,
            vec![is("eu")],
        ),
        (
            r#"when { context.a.b.c == 7 } unless { context.n > 5 }"#,
            "a.b.c",
            0,
            vec![Accepted::Value(7.into())],
        ),
        (
            r#"when { ["eu", "us"].contains(context.region) }"#,
            "region",
            0,
            vec![is("eu"), is("us")],
        ),
        (
            r#"when { context.path like "/srv/*/x" || context.path == "/" }"#,
            "path",
            0,
            vec![starts("/srv/"), is("/")],
        ),
        (
            r#"when { context has a && context.a has b && context.a.b == "x" }"#,
            "a.b",
            2,
            vec![is("x")],
        ),
        (
            r#"when { context has a.b && context.a.b == "x" }"#,
            "a.b",
            2,
            vec![is("x")],
        ),
        (
            r#"when { principal == Agent::"a" && context has other && context.a == "x" }"#,
            "a",
            0,
            vec![is("x")],
        ),
        (
            r#"unless { principal in Role::"r" } when { context.a == "x" }"#,
            "a",
            0,
            vec![is("x")],
        ),
    ] {
        let expected = Comparison {
            path: path.split('.').map(str::to_owned).collect(),
            tested,
            accepts,
        };
        assert_eq!(comparison(conditions), Some(expected), "{conditions}");
    }
}

#[test]
fn conditions_that_may_fail_before_they_compare_open_with_no_comparison() {
    for conditions in [
        "",
        r#"when { context.n > 5 && context.region == "eu" }"#,
        r#"when { context.n == context.m && context.region == "eu" }"#,
        r#"when { principal.level == 1 && context.region == "eu" }"#,
        r#"when { context.other has x && context.region == "eu" }"#,
        r#"when { context has other.x && context.region == "eu" }"#,
        r#"when { context.a has b && context.a.b == "x" }"#,
        r#"when { context.region == "eu" || context.zone == "z" }"#,
        r#"when { context.region == "eu" || context.n > 5 }"#,
        r#"unless { context.region == "eu" }"#,
        r#"when { context.region != "eu" }"#,
        r#"when { context.path like "*.rs" }"#,
        r#"when { context.set.contains("eu") }"#,
        r#"when { [context.n].contains(context.region) }"#,
        r#"when { if context.a == "x" then true else true }"#,
        r#"when { principal.region == "eu" }"#,
    ] {
        assert_eq!(comparison(conditions), None, "{conditions}");
    }
}

/// Returns how many of the policies the context evaluates.
fn evaluated(policies: &Policies, context: &Value) -> usize {
    let context = context.as_object().unwrap().clone().into();
    let request = policies.cedar_request(PolicyInput {
        agent: "bot",
        action: "deploy",
        resource: None,
        context: &context,
        fields: Fields::default(),
        is_shadow: false,
    });
    let request = request.unwrap();
    let mut visited = BTreeSet::new();
    for place in policies.slices.select(&request) {
        place.visit(request.as_ref(), &mut |policy| {
            visited.insert(policy.id().clone());
        });
    }
    visited.len()
}

#[test]
fn a_context_evaluates_the_policies_that_compare_as_it_does() {
    let set = |condition: &dyn Fn(usize) -> String| {
        let texts = (0..200).map(|n| {
            format!(
                "permit (principal, action, resource) when {{ {} }};\n",
                condition(n)
            )
        });
        Policies::parse(&texts.collect::<String>()).unwrap()
    };
    let equal = set(&|n| format!(r#"context.tenant == "t{n}""#));
    let tested = set(&|n| format!(r#"context has tenant && context.tenant == "t{n}""#));
    let like = set(&|n| format!(r#"context.tenant like "t{n}*""#));
    for (context, counts) in [
        (json!({ "tenant": "t17" }), [1, 1, 2]),
        (json!({ "tenant": "t170" }), [1, 1, 3]),
        (json!({ "tenant": "u" }), [0, 0, 0]),
        (json!({ "tenant": "" }), [0, 0, 0]),
        (json!({ "tenant": "t" }), [0, 0, 0]),
        (json!({ "tenant": "töö" }), [0, 0, 0]),
        // `like` fails for these, and so does every comparison of an absent attribute.
        (json!({ "tenant": 17 }), [0, 0, 200]),
        (json!({ "tenant": ["t17"] }), [0, 0, 200]),
        (json!({}), [200, 0, 200]),
    ] {
        let found = [&equal, &tested, &like].map(|policies| evaluated(policies, &context));
        assert_eq!(found, counts, "{context}");
    }
}

#[test]
fn a_path_through_an_entity_evaluates_its_policies() {
    let schema = r"
        entity Owner { level: Long };
        entity Agent; entity Resource;
        action deploy appliesTo { principal: Agent, resource: Resource, context: { owner: Owner } };
    ";
    let entities = json!([
        { "uid": { "type": "Owner", "id": "ann" }, "attrs": { "level": 1 }, "parents": [] },
    ]);
    let policies = Policies::builder()
        .schema("schema", schema)
        .entities("entities", entities.to_string())
        .source(
            "p",
            r#"permit (principal, action == Action::"deploy", resource) when { context.owner.level == 1 };"#,
        )
        .build()
        .unwrap();
    for (owner, is_allowed) in [("ann", true), ("bob", false)] {
        let context = json!({ "owner": owner });
        assert_eq!(evaluated(&policies, &context), 1);
        let verdict = super::ask(&policies, "deploy", &context);
        assert_eq!(verdict.decision.is_allow(), is_allowed);
        assert_eq!(verdict.errors.is_empty(), is_allowed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn conditions_of_any_kind_answer_as_cedar_does(
        conditions in prop::collection::vec((any::<bool>(), random::conditions()), 1..8),
        entities in entities(),
        requests in prop::collection::vec(request(), 1..8),
    ) {
        let texts = conditions.iter().map(|(permits, conditions)| {
            let effect = if *permits { "permit" } else { "forbid" };
            format!("{effect} (principal, action, resource) {conditions};")
        });
        let text = numbered(&texts.collect::<Vec<_>>());
        let (policies, set) = (build(&text, entities), whole(&text));
        for asked in &requests {
            prop_assert_eq!(indexed(&policies, asked), unindexed(&policies, &set, asked), "{:?}", asked);
        }
    }
}
