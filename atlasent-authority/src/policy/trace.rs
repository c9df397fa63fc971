//! The `constraint_trace` of a decision: the outcome of each policy that was considered. It does
//! not affect decisions.

use std::collections::BTreeMap;

use atlasent::wire::{ConstraintTrace, PolicyTrace, StageTrace};
use cedar_policy::{PolicyId, Request};
use sha2::{Digest, Sha256};

use super::annotations::AnnotatedPolicy;
use super::failure::explain;
use super::place::Place;
use super::prepare::{PreparedPolicy, RequestEvaluator};
use super::slice::Considered;
use super::verdict::AnnotatedPolicies;
use super::{Policies, PolicyInput, Verdict};

impl Policies {
    /// Returns the verdict of [`decide`](Self::decide), and the outcome of each policy that the
    /// index selected.
    ///
    /// Costs a second evaluation of each of these policies.
    pub(crate) fn decide_traced(&self, input: PolicyInput<'_>) -> (Verdict, ConstraintTrace) {
        let request = match self.cedar_request(input) {
            Ok(request) => request,
            // No policy was evaluated.
            Err(refusal) => return (*refusal, ConstraintTrace::default()),
        };
        let verdict = self.verdict(&request, Considered::All, input);
        let trace = self.trace(&request, &verdict);
        (verdict, trace)
    }

    /// Returns one entry for each policy that the request selects, by id.
    fn trace(&self, request: &Request, verdict: &Verdict) -> ConstraintTrace {
        let evaluator = RequestEvaluator::new(request, &self.entities);
        // A policy may be in two of the places.
        let selected: BTreeMap<&PolicyId, &PreparedPolicy> = (self.slices.select(request))
            .flat_map(Place::all)
            .map(|policy| (policy.id(), policy))
            .collect();
        let entries = (selected.into_iter())
            .filter_map(|(id, policy)| Some((policy, self.by_id.get(id)?)))
            .map(|(policy, annotated)| entry(policy, annotated, &evaluator, &self.by_id))
            .collect();
        ConstraintTrace::new(entries, winner(verdict, &self.by_id))
    }
}

/// Returns the policy that a refusal rests on: of several, the first by id, whose reason is
/// returned, too. An allow has none (contract, part B), and neither has a refusal because no
/// `permit` matches.
fn winner(verdict: &Verdict, by_id: &AnnotatedPolicies) -> Option<String> {
    if verdict.decision.is_allow() {
        return None;
    }
    let in_error = !verdict.errors.is_empty();
    let says_so = |id: &str| {
        let annotated = by_id.get(&PolicyId::new(id));
        annotated.is_some_and(|annotated| annotated.decision == verdict.decision)
    };
    let mut determining = verdict.determining.iter();
    determining
        .find(|id| in_error || says_so(id))
        .map(ToString::to_string)
}

fn entry(
    policy: &PreparedPolicy,
    annotated: &AnnotatedPolicy,
    evaluator: &RequestEvaluator<'_>,
    by_id: &AnnotatedPolicies,
) -> PolicyTrace {
    let trace = PolicyTrace::new(&*annotated.id, annotated.decision, fingerprint(annotated));
    let in_scope = policy.scope_matches(evaluator);
    let trace = trace.with_stage(StageTrace::new("scope", in_scope));
    if !in_scope {
        // Cedar does not evaluate the conditions then, so the trace has no stage for them.
        return trace;
    }
    // A policy without conditions matches.
    trace.with_stage(match policy.conditions_hold(evaluator) {
        Ok(hold) => StageTrace::new("condition", hold),
        Err(failed) => StageTrace::new("condition", false).with_detail(explain(&failed, by_id)),
    })
}

/// Returns a digest that changes with any change to the policy's text, comments inside it and
/// annotations included.
fn fingerprint(annotated: &AnnotatedPolicy) -> String {
    let text = annotated
        .source
        .text
        .get(annotated.span.clone())
        .unwrap_or_default();
    let digest = base16ct::lower::encode_string(&Sha256::digest(text));
    format!("sha256:{digest}")
}
