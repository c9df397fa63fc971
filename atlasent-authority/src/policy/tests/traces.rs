//! The trace has the outcome of each policy, and agrees with the verdict.

use atlasent::wire::{ConstraintTrace, EvaluateRequest, PolicyTrace};
use atlasent::{Agent, AnyAction, Decision};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::random::{build, entities, numbered, policy, request};
use crate::policy::{Explanation, Policies, code};

const POLICIES: &str = r#"
@id("all") permit (principal, action, resource);
@id("b-hold") @decision("hold") forbid (principal, action == Action::"deploy", resource)
when { context.replicas > 50 };
@id("a-hold") @decision("hold") @retry_after("60") forbid (principal, action, resource)
when { context has freeze };
@id("ops") permit (principal in Role::"ops", action, resource) when { context.replicas > 1 };
@id("read") permit (principal, action == Action::"read", resource);
"#;

fn explain(policies: &Policies, context: Value) -> Explanation {
    let mut action = AnyAction::new("deploy").unwrap();
    for (key, value) in context.as_object().unwrap() {
        action = action.with_field(key, value).unwrap();
    }
    policies.explain(&EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap())
}

fn stages(policy: &PolicyTrace) -> Vec<(&str, bool)> {
    let stages = policy.stages.iter();
    stages
        .map(|stage| (stage.stage.as_str(), stage.matched))
        .collect()
}

fn entry<'t>(trace: &'t ConstraintTrace, id: &str) -> &'t PolicyTrace {
    let mut entries = trace.rules_evaluated.iter();
    entries.find(|policy| policy.policy_id == id).unwrap()
}

#[test]
fn every_selected_policy_is_listed_with_how_far_it_came() {
    let policies = Policies::parse(POLICIES).unwrap();
    let trace = explain(&policies, json!({ "replicas": 500 })).trace;
    let listed: Vec<_> = (trace.rules_evaluated.iter())
        .map(|policy| {
            (
                policy.policy_id.as_str(),
                policy.decision.as_str(),
                stages(policy),
            )
        })
        .collect();
    let (scope, condition) = ("scope", "condition");
    assert_eq!(
        listed,
        [
            ("a-hold", "hold", vec![(scope, true), (condition, false)]),
            ("all", "allow", vec![(scope, true), (condition, true)]),
            ("b-hold", "hold", vec![(scope, true), (condition, true)]),
            ("ops", "allow", vec![(scope, false)]),
        ]
    );
    assert_eq!(trace.matching_policy_id.as_deref(), Some("b-hold"));
}

#[test]
fn a_clean_allow_rests_on_no_policy_in_particular() {
    let policies = Policies::parse(POLICIES).unwrap();
    let explanation = explain(&policies, json!({ "replicas": 5 }));
    assert_eq!(explanation.decision, Decision::Allow);
    assert_eq!(explanation.determining, ["all"]);
    assert_eq!(explanation.trace.matching_policy_id, None);
}

#[test]
fn the_first_by_id_of_the_winning_policies_is_the_matching_one() {
    let policies = Policies::parse(POLICIES).unwrap();
    let explanation = explain(&policies, json!({ "replicas": 500, "freeze": true }));
    assert_eq!(explanation.determining, ["a-hold", "b-hold"]);
    assert_eq!(explanation.retry_after.unwrap().as_secs(), 60);
    assert_eq!(
        explanation.trace.matching_policy_id.as_deref(),
        Some("a-hold")
    );
}

#[test]
fn a_policy_that_could_not_be_evaluated_says_why_and_is_the_matching_one() {
    let policies = Policies::parse(POLICIES).unwrap();
    let explanation = explain(&policies, json!({}));
    assert_eq!(
        explanation.code.as_deref(),
        Some(code::POLICY_EVALUATION_ERROR)
    );
    let condition = &entry(&explanation.trace, "b-hold").stages[1];
    assert!(!condition.matched);
    assert_eq!(condition.detail.as_ref(), explanation.errors.first());
    assert!(explanation.errors[0].starts_with("<policies>:4:8: policy `b-hold`: "));
    assert_eq!(
        explanation.trace.matching_policy_id.as_deref(),
        Some("b-hold")
    );
}

#[test]
fn a_request_that_no_policy_was_asked_about_has_an_empty_trace() {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let policies = Policies::parse(POLICIES).unwrap();
    // `atlasent::Context` itself limits the nesting, so this test passes the context in below it.
    let context = json!({ "v": deep });
    let (verdict, trace) = policies.decide_traced(crate::policy::PolicyInput {
        agent: "bot",
        action: "deploy",
        resource: None,
        context: &context.as_object().unwrap().clone().into(),
        fields: crate::policy::fields::Fields::default(),
        is_shadow: false,
    });
    assert_eq!(verdict.code.as_deref(), Some(code::CONTEXT_TOO_DEEP));
    assert_eq!(trace, ConstraintTrace::default());
}

#[test]
fn a_fingerprint_is_the_hash_of_the_policy_s_own_text() {
    let fingerprint = |text: &str, id: &str| {
        let policies = Policies::parse(text).unwrap();
        entry(&explain(&policies, json!({})).trace, id)
            .fingerprint
            .clone()
    };
    let policy = "@id(\"x\") permit (principal, action, resource);";
    let alone = fingerprint(policy, "x");
    // From `printf '…' | sha256sum`.
    assert_eq!(
        alone,
        "sha256:6ff99c27f15d41a82640df3e1d9517bc967e0425a33b878fa5db366ed290a6bf"
    );
    let moved = format!("// first\n@id(\"y\") forbid (principal, action, resource);\n\n{policy}\n");
    assert_eq!(fingerprint(&moved, "x"), alone);
    assert_ne!(fingerprint(&moved, "y"), alone);
    assert_ne!(
        fingerprint(&policy.replace("permit", "permit "), "x"),
        alone
    );
}

#[test]
fn the_place_of_a_policy_is_where_it_begins() {
    let policies = Policies::parse(POLICIES).unwrap();
    assert_eq!(policies.place("ops").as_deref(), Some("<policies>:7:1"));
    assert_eq!(policies.place("nobody"), None);
}

/// The outcome of a condition: satisfied, not satisfied, in error, or not evaluated.
fn outcome(policy: &PolicyTrace) -> Option<Result<bool, &str>> {
    let condition = policy.stages.get(1)?;
    Some(match &condition.detail {
        Some(error) => Err(error),
        None => Ok(condition.matched),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_trace_agrees_with_the_verdict(
        texts in prop::collection::vec(policy(), 1..16),
        entities in entities(),
        requests in prop::collection::vec(request(), 1..12),
    ) {
        let policies = build(&numbered(&texts), entities);
        for asked in &requests {
            let verdict = policies.decide(asked.input());
            let (traced, trace) = policies.decide_traced(asked.input());
            prop_assert_eq!(format!("{traced:?}"), format!("{verdict:?}"));
            let (_, again) = policies.decide_traced(asked.input());
            prop_assert_eq!(&again, &trace);

            let entries = &trace.rules_evaluated;
            prop_assert!(entries.is_sorted_by(|a, b| a.policy_id < b.policy_id));
            let with = |wanted: Result<bool, ()>, allows: bool| -> Vec<&str> {
                (entries.iter())
                    .filter(|policy| outcome(policy).map(|o| o.map_err(drop)) == Some(wanted))
                    .filter(|policy| wanted.is_err() || (policy.decision == "allow") == allows)
                    .map(|policy| policy.policy_id.as_str())
                    .collect()
            };
            let (errors, forbids, permits) = (with(Err(()), false), with(Ok(true), false), with(Ok(true), true));
            let determining = [&errors, &forbids, &permits].into_iter().find(|ids| !ids.is_empty());
            let named: Vec<&str> = verdict.determining.iter().map(|id| &**id).collect();
            prop_assert_eq!(&named, determining.unwrap_or(&permits));

            let details: Vec<&str> = entries.iter().filter_map(|policy| outcome(policy)?.err()).collect();
            prop_assert_eq!(details, verdict.errors.iter().map(String::as_str).collect::<Vec<_>>());

            match &trace.matching_policy_id {
                None => prop_assert!(verdict.decision == Decision::Allow || named.is_empty()),
                Some(id) => {
                    prop_assert!(verdict.decision != Decision::Allow && named.contains(&id.as_str()));
                    let says = &entry(&trace, id).decision;
                    prop_assert!(!errors.is_empty() || says == verdict.decision.as_str(), "{says}");
                }
            }
            // The trace leaves out policies whose scope does not match. A policy without conditions
            // matches where its scope does.
            for (n, text) in texts.iter().enumerate() {
                let Some(policy) = entries.iter().find(|policy| policy.policy_id == n.to_string()) else { continue };
                if !text.contains("when") && !text.contains("unless") {
                    prop_assert!(outcome(policy).is_none_or(|outcome| outcome == Ok(true)), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_scope_is_said_to_hold_exactly_when_the_policy_without_conditions_matches(
        texts in prop::collection::vec(policy(), 1..12),
        entities in entities(),
        asked in request(),
    ) {
        let whole = build(&numbered(&texts), entities.clone()).decide_traced(asked.input()).1;
        for policy in &whole.rules_evaluated {
            let text = &texts[policy.policy_id.parse::<usize>().unwrap()];
            let conditions = [" when ", " unless "].map(|word| text.find(word));
            let scope = match conditions.into_iter().flatten().min() {
                Some(end) => text.get(..end).unwrap(),
                None => text.trim_end_matches(';'),
            };
            // Alone and without conditions, the policy determines the answer exactly when its scope
            // matches.
            let alone = build(&format!("{scope};"), entities.clone()).decide(asked.input());
            prop_assert_eq!(policy.stages[0].matched, !alone.determining.is_empty(), "{}", text);
        }
    }
}
