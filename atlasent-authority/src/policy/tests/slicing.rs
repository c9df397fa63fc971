//! The index answers as the whole set does, for any policies, entities and request, and without
//! holds as a set does that has none.

use std::collections::{BTreeMap, BTreeSet};

use atlasent::Decision;
use cedar_policy::{AuthorizationError, Authorizer, PolicyId, PolicySet, Request};
use proptest::prelude::*;

use super::random::{RandomRequest, build, entities, numbered, policy, request};
use crate::policy::failure::explain;
use crate::policy::prepare::FailedPolicy;
use crate::policy::slice::{Considered, UnitedOutcome};
use crate::policy::{Policies, code, context, uid};

/// The decision, the determining policies, and the policies in error with the explanation of each.
pub(super) type Answer = (bool, BTreeSet<String>, BTreeMap<String, String>);

fn ids<'i>(ids: impl Iterator<Item = &'i PolicyId>) -> BTreeSet<String> {
    ids.map(ToString::to_string).collect()
}

fn explained(
    policies: &Policies,
    failed: impl Iterator<Item = FailedPolicy>,
) -> BTreeMap<String, String> {
    failed
        .map(|failed| (failed.id.to_string(), explain(&failed, &policies.by_id)))
        .collect()
}

fn cedar_request(policies: &Policies, asked: &RandomRequest) -> Request {
    let types = &policies.types;
    Request::new(
        uid(&types.agent, asked.agent),
        uid(&types.action, asked.action),
        uid(&types.resource, asked.resource),
        context::to_cedar(&asked.input(), None).unwrap(),
        None,
    )
    .unwrap()
}

/// Parses all policies of a text. Their ids are annotations.
pub(super) fn whole(text: &str) -> PolicySet {
    let parsed: PolicySet = text.parse().unwrap();
    let named = parsed
        .policies()
        .map(|policy| policy.new_id(PolicyId::new(policy.annotation("id").unwrap())));
    PolicySet::from_policies(named).unwrap()
}

/// Returns the answer of Cedar's authorizer on the whole set.
pub(super) fn unindexed(policies: &Policies, set: &PolicySet, asked: &RandomRequest) -> Answer {
    let response =
        Authorizer::new().is_authorized(&cedar_request(policies, asked), set, &policies.entities);
    let diagnostics = response.diagnostics();
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    (
        allowed,
        ids(diagnostics.reason()),
        explained(policies, diagnostics.errors().map(failed_policy)),
    )
}

fn failed_policy(error: &AuthorizationError) -> FailedPolicy {
    let AuthorizationError::PolicyEvaluationError(error) = error;
    FailedPolicy {
        id: error.policy_id().clone(),
        cause: Box::new(error.inner().clone()),
    }
}

/// Returns the answer of the index, before annotations are considered.
pub(super) fn indexed(policies: &Policies, asked: &RandomRequest) -> Answer {
    let request = cedar_request(policies, asked);
    let Policies {
        slices, entities, ..
    } = policies;
    let outcome = UnitedOutcome::evaluate(slices, Considered::All, &request, entities);
    let errors = explained(policies, outcome.errors.into_iter());
    if outcome.forbids.is_empty() {
        (
            !outcome.permits.is_empty(),
            ids(outcome.permits.iter()),
            errors,
        )
    } else {
        (false, ids(outcome.forbids.iter()), errors)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_slices_answer_as_the_whole_set_does(
        texts in prop::collection::vec(policy(), 1..16),
        entities in entities(),
        requests in prop::collection::vec(request(), 1..12),
    ) {
        let text = numbered(&texts);
        let (policies, set) = (build(&text, entities), whole(&text));
        for asked in &requests {
            let expected = unindexed(&policies, &set, asked);
            prop_assert_eq!(&indexed(&policies, asked), &expected, "{:?}", asked);

            let (allowed, determining, errors) = expected;
            let verdict = policies.decide(asked.input());
            prop_assert!(!verdict.reason.is_empty());
            prop_assert_eq!(verdict.decision == Decision::Allow, allowed && errors.is_empty());
            let named: BTreeSet<String> = verdict.determining.iter().map(ToString::to_string).collect();
            prop_assert_eq!(named.len(), verdict.determining.len());
            if errors.is_empty() {
                prop_assert_eq!(named, determining);
            } else {
                prop_assert_eq!(verdict.code.as_deref(), Some(code::POLICY_EVALUATION_ERROR));
                prop_assert_eq!(named, errors.into_keys().collect());
            }
        }
    }

    #[test]
    fn without_holds_the_answer_is_that_of_a_set_that_has_none(
        texts in prop::collection::vec(policy(), 1..16),
        entities in entities(),
        requests in prop::collection::vec(request(), 1..12),
    ) {
        let holds = |text: &String| text.starts_with("@decision(");
        let policies = build(&numbered(&texts), entities.clone());
        let others: String = (texts.iter().enumerate())
            .filter(|(_, text)| !holds(text))
            .map(|(n, text)| format!("@id(\"{n}\") {text}\n"))
            .collect();
        // A set without policies does not load.
        let others = (!others.is_empty()).then(|| build(&others, entities));

        for asked in &requests {
            let verdict = policies.decide_without_holds(asked.input());
            prop_assert!(verdict.approval.is_empty());
            prop_assert!(matches!(verdict.decision, Decision::Allow | Decision::Deny));
            let Some(others) = &others else {
                prop_assert_eq!(verdict.decision, Decision::Deny);
                continue;
            };
            let expected = others.decide(asked.input());
            prop_assert_eq!(verdict.decision, expected.decision, "{:?}", asked);
            prop_assert_eq!(verdict.determining, expected.determining);
            prop_assert_eq!(verdict.errors.len(), expected.errors.len());
            // A policy that holds still names its action.
            if expected.code.as_deref() != Some(code::UNKNOWN_ACTION) {
                prop_assert_eq!(verdict.code, expected.code);
            }
        }
    }
}
