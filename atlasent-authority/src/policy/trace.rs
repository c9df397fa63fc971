//! The `constraint_trace` of a decision: the outcome of each policy that was considered. It does
//! not affect decisions.

use std::collections::BTreeMap;

use atlasent::wire::{ConstraintTrace, PolicyTrace, StageTrace};
use cedar_policy::{
    ActionConstraint, Authorizer, Entities, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet,
    PrincipalConstraint, Request, ResourceConstraint,
};
use sha2::{Digest, Sha256};

use super::annotations::AnnotatedPolicy;
use super::failure::explain;
use super::slice::Considered;
use super::verdict::AnnotatedPolicies;
use super::{CedarRequest, Policies, PolicyInput, Verdict};

impl Policies {
    /// Returns the verdict of [`decide`](Self::decide), and the outcome of each policy that the
    /// index selected.
    ///
    /// Costs a second evaluation of each of these policies: for a whole set, Cedar does not report
    /// which `permit`s were satisfied when a `forbid` was.
    pub(crate) fn decide_traced(&self, input: PolicyInput<'_>) -> (Verdict, ConstraintTrace) {
        let cedar_request = match self.cedar_request(Considered::All, input) {
            Ok(cedar_request) => cedar_request,
            // No policy was evaluated.
            Err(refusal) => return (*refusal, ConstraintTrace::default()),
        };
        let verdict = self.verdict(&cedar_request, input);
        let trace = self.trace(&cedar_request, &verdict);
        (verdict, trace)
    }

    /// Returns one entry for each policy of the cedar_request, by id.
    fn trace(&self, cedar_request: &CedarRequest<'_>, verdict: &Verdict) -> ConstraintTrace {
        // A policy may be in two of the sets.
        let considered: BTreeMap<&PolicyId, &Policy> = (cedar_request.sets.iter())
            .flat_map(|set| set.policies())
            .map(|policy| (policy.id(), policy))
            .collect();
        let entries = (considered.into_iter())
            .filter_map(|(id, policy)| Some((policy, self.by_id.get(id)?)))
            .map(|(policy, annotated)| {
                entry(
                    policy,
                    annotated,
                    cedar_request,
                    &self.entities,
                    &self.by_id,
                )
            })
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
    policy: &Policy,
    annotated: &AnnotatedPolicy,
    cedar_request: &CedarRequest<'_>,
    entities: &Entities,
    by_id: &AnnotatedPolicies,
) -> PolicyTrace {
    let trace = PolicyTrace::new(&*annotated.id, annotated.decision, fingerprint(annotated));
    let in_scope = scope_holds(policy, &cedar_request.request, entities);
    let trace = trace.with_stage(StageTrace::new("scope", in_scope));
    if in_scope {
        trace.with_stage(condition(policy, &cedar_request.request, entities, by_id))
    } else {
        // Cedar does not evaluate the conditions then, so the trace has no stage for them.
        trace
    }
}

/// Returns the stage of the conditions, for a policy whose scope matches. A policy without
/// conditions matches.
fn condition(
    policy: &Policy,
    request: &Request,
    entities: &Entities,
    by_id: &AnnotatedPolicies,
) -> StageTrace {
    let unmatched = StageTrace::new("condition", false);
    let set = match PolicySet::from_policies([policy.clone()]) {
        Ok(set) => set,
        Err(error) => return unmatched.with_detail(error.to_string()),
    };
    let response = Authorizer::new().is_authorized(request, &set, entities);
    let diagnostics = response.diagnostics();
    match diagnostics.errors().next() {
        Some(error) => unmatched.with_detail(explain(error, by_id)),
        None => StageTrace::new("condition", diagnostics.reason().next().is_some()),
    }
}

/// Returns whether the scope of the policy matches the request, as Cedar evaluates it. No
/// expression in a scope can fail.
fn scope_holds(policy: &Policy, request: &Request, entities: &Entities) -> bool {
    // Requests are always complete: without one of the three, no scope matches.
    let (Some(principal), Some(action), Some(resource)) =
        (request.principal(), request.action(), request.resource())
    else {
        return false;
    };
    let within =
        |uid: &EntityUid, group: &EntityUid| uid == group || entities.is_ancestor_of(group, uid);
    let is = |uid: &EntityUid, name: &EntityTypeName| uid.type_name() == name;
    let principal_holds = match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(uid) => *principal == uid,
        PrincipalConstraint::In(group) => within(principal, &group),
        PrincipalConstraint::Is(name) => is(principal, &name),
        PrincipalConstraint::IsIn(name, group) => is(principal, &name) && within(principal, &group),
    };
    let action_holds = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => *action == uid,
        ActionConstraint::In(groups) => groups.iter().any(|group| within(action, group)),
    };
    let resource_holds = match policy.resource_constraint() {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) => *resource == uid,
        ResourceConstraint::In(group) => within(resource, &group),
        ResourceConstraint::Is(name) => is(resource, &name),
        ResourceConstraint::IsIn(name, group) => is(resource, &name) && within(resource, &group),
    };
    principal_holds && action_holds && resource_holds
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
