//! The index of policies, by which a decision costs as much as the policies that can match it.
//!
//! Cedar evaluates every policy of the set that it is given, so its cost grows with policies that
//! name other actions, agents and resources. The index files each policy under the action,
//! principal and resource that its scope names, and a request is evaluated against the few small
//! sets that its action, agent and resource select.
//!
//! A worked example, with `read` and `list` in the action group `view`:
//!
//! ```text
//! P1: permit (principal, action in Action::"view", resource);
//! P2: permit (principal == Agent::"bot", action == Action::"read", resource);
//! P3: forbid (principal, action == Action::"read", resource == Resource::"db") when { context.raw };
//! P4: forbid (principal, action, resource) when { context.freeze };
//! P5: permit (principal, action == Action::"write", resource);
//!
//! any:             { any principal: { any resource: {P4} } }
//! actions["read"]: own    { any principal: { "db": {P3} }, "bot": { any resource: {P2} } }
//!                  shared { any principal: { any resource: {P1} } }       (the slice of `view`)
//! actions["list"]: shared { any principal: { any resource: {P1} } }       (the same slice)
//! ```
//!
//! The request (`bot`, `read`, `db`) selects {P4}, {P3}, {P2} and {P1}. Cedar evaluates each set by
//! itself. With `context.raw` true and `context.freeze` false:
//!
//! ```text
//! {P4} → Deny,  satisfied: none, errors: none
//! {P3} → Deny,  satisfied: P3                     a satisfied `forbid`
//! {P2} → Allow, satisfied: P2
//! {P1} → Allow, satisfied: P1
//! united: forbids {P3}, permits {P1, P2}, errors {} → denied by P3, as the whole set would
//! ```
//!
//! P5 is not evaluated: `action == Action::"write"` is false for this request.
//!
//! # Why this equals the whole set
//!
//! Cedar finds each policy satisfied, unsatisfied or in error, independently of all other policies.
//! Its answer depends on these outcomes alone: a satisfied `forbid` denies, or else a satisfied
//! `permit` allows, or else the request is denied. So the sets may be evaluated one by one and
//! their outcomes united, provided that every policy outside of them is unsatisfied and not in
//! error. A policy is left out only if `principal == …`, `action == …`, `action in …` or
//! `resource == …` in its scope is false for the request. A scope contains no expression that can
//! fail, and Cedar evaluates it before the conditions, with short-circuit. So a policy that is left
//! out is unsatisfied, and none of its conditions can fail.
//!
//! # Without holds
//!
//! When people release a hold, the same request is decided again as if no policy held or escalated.
//! For a request that a `forbid` matches, Cedar does not report the `permit`s, so the answer cannot
//! be taken from the first evaluation. Each place of the index that has such policies therefore
//! also has its set without them. A request selects the one or the other, never both.
//!
//! A policy in two selected sets (`action in [a, group_of_a]`) has the same outcome twice, and the
//! union counts it once. The size of the index is linear in that of the policies: a policy is
//! copied once for each action or group that it names, never for each member of a group.

use std::collections::{HashMap, HashSet};
use std::iter;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Decision, Entities, EntityTypeName,
    EntityUid, Policy, PolicyId, PolicySet, PolicySetError, PrincipalConstraint, Request,
    ResourceConstraint,
};

/// All policies, filed by action, then by principal, then by resource.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// Policies whose scope does not constrain the action.
    any: Slice,
    /// By the name of an action: the slice of the policies that name it, and the slices of the
    /// groups that it is in. The actions of a group share its slice.
    actions: HashMap<String, Vec<Arc<Slice>>>,
}

/// The policies that a decision considers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Considered {
    /// Every policy.
    All,
    /// Every policy but those that hold or escalate.
    WithoutHolds,
}

/// The united outcomes of the selected policies, before annotations are considered.
///
/// Ids are sorted and unique. For a set that satisfies both kinds, Cedar reports only the
/// `forbid`s; `permits` is then incomplete, which does not matter, since the request is denied.
#[derive(Debug, Default)]
pub(super) struct UnitedOutcome {
    pub(super) forbids: Vec<PolicyId>,
    pub(super) permits: Vec<PolicyId>,
    pub(super) errors: Vec<AuthorizationError>,
}

impl Slices {
    /// Indexes `policies`, of which `holds` finds those that hold or escalate. The groups of an
    /// action are its ancestors in `entities`, which must therefore contain the schema's actions.
    /// Only actions of `action_type` are indexed, since requests have no other.
    pub(super) fn new(
        policies: &[Policy],
        holds: impl Fn(&PolicyId) -> bool,
        entities: &Entities,
        action_type: &EntityTypeName,
    ) -> Result<Self, Box<PolicySetError>> {
        let mut any = Slice::default();
        // A policy with `action == a` is in `named` only. A policy with `action in a` holds for the
        // members of `a`, too, and is in both.
        let mut named: HashMap<EntityUid, Slice> = HashMap::new();
        let mut groups: HashMap<EntityUid, Slice> = HashMap::new();
        let parents: HashSet<EntityUid> = (entities.iter())
            .filter(|entity| entity.uid().type_name() == action_type)
            .flat_map(|entity| ancestors(entities, &entity.uid()))
            .collect();
        for policy in policies {
            let holds = holds(policy.id());
            match policy.action_constraint() {
                ActionConstraint::Any => any.add(policy, holds)?,
                ActionConstraint::Eq(action) => {
                    named.entry(action).or_default().add(policy, holds)?;
                }
                ActionConstraint::In(actions) => {
                    for action in actions.into_iter().collect::<HashSet<_>>() {
                        if parents.contains(&action) {
                            groups
                                .entry(action.clone())
                                .or_default()
                                .add(policy, holds)?;
                        }
                        named.entry(action).or_default().add(policy, holds)?;
                    }
                }
            }
        }

        let groups: HashMap<_, _> = groups
            .into_iter()
            .map(|(uid, slice)| (uid, Arc::new(slice)))
            .collect();
        let mut actions: HashMap<String, Vec<Arc<Slice>>> = HashMap::new();
        let known = named
            .keys()
            .cloned()
            .chain(entities.iter().map(|entity| entity.uid()));
        for action in known
            .filter(|uid| uid.type_name() == action_type)
            .collect::<HashSet<_>>()
        {
            let own = named.remove(&action).map(Arc::new);
            let inherited = ancestors(entities, &action)
                .into_iter()
                .filter_map(|group| groups.get(&group).cloned());
            let slices: Vec<_> = own.into_iter().chain(inherited).collect();
            actions.insert(action.id().unescaped().to_owned(), slices);
        }
        Ok(Self { any, actions })
    }

    /// Returns whether a scope, the schema or the entities name an action.
    pub(super) fn names_action(&self, action: &str) -> bool {
        self.actions.contains_key(action)
    }

    /// Returns the sets that contain every considered policy whose scope can match these three.
    pub(super) fn select(
        &self,
        principal: &EntityUid,
        action: &str,
        resource: &EntityUid,
        considered: Considered,
    ) -> Vec<&PolicySet> {
        let mut sets = Vec::with_capacity(4);
        let own = self.actions.get(action).into_iter().flatten();
        for slice in iter::once(&self.any).chain(own.map(|slice| &**slice)) {
            let selected = slice.select(principal, resource);
            sets.extend(selected.map(|place| place.policies(considered)));
        }
        sets.retain(|set| !set.is_empty());
        sets
    }

    /// Returns the policies whose scope does not constrain the action.
    pub(super) fn any_ids(&self) -> Vec<&PolicyId> {
        self.any.ids()
    }

    /// Returns whether the scope of any policy leaves the action open.
    pub(super) fn has_policies_over_any_action(&self) -> bool {
        !self.any.is_empty()
    }

    /// Returns each action that policies or entities name, with its slices.
    pub(super) fn by_action(&self) -> impl Iterator<Item = (&str, &[Arc<Slice>])> {
        self.actions
            .iter()
            .map(|(action, slices)| (action.as_str(), slices.as_slice()))
    }
}

impl UnitedOutcome {
    /// Evaluates each set and unites the outcomes.
    pub(super) fn evaluate(sets: &[&PolicySet], request: &Request, entities: &Entities) -> Self {
        let authorizer = Authorizer::new();
        let mut outcome = Self::default();
        for set in sets {
            let response = authorizer.is_authorized(request, set, entities);
            let satisfied = response.diagnostics().reason().cloned();
            match response.decision() {
                Decision::Allow => outcome.permits.extend(satisfied),
                Decision::Deny => outcome.forbids.extend(satisfied),
            }
            outcome
                .errors
                .extend(response.diagnostics().errors().cloned());
        }
        outcome.permits.sort_unstable();
        outcome.permits.dedup();
        outcome.forbids.sort_unstable();
        outcome.forbids.dedup();
        outcome
            .errors
            .sort_unstable_by(|a, b| policy_of(a).cmp(policy_of(b)));
        outcome.errors.dedup_by(|a, b| policy_of(a) == policy_of(b));
        outcome
    }
}

/// Returns the policy that failed to evaluate.
pub(super) fn policy_of(error: &AuthorizationError) -> &PolicyId {
    match error {
        AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
    }
}

fn ancestors(entities: &Entities, uid: &EntityUid) -> Vec<EntityUid> {
    entities
        .ancestors(uid)
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

/// Policies by the principal that their scope fixes with `==`; `any` holds the others.
#[derive(Debug, Default)]
pub(super) struct Slice {
    any: ByResource,
    fixed: HashMap<EntityUid, ByResource>,
}

/// Policies by the resource that their scope fixes with `==`; `any` holds the others.
#[derive(Debug, Default)]
struct ByResource {
    any: Place,
    fixed: HashMap<EntityUid, Place>,
}

/// The policies of one place in the index.
#[derive(Debug, Default)]
struct Place {
    all: PolicySet,
    /// `all` without the policies that hold or escalate, if there are any.
    without_holds: Option<Box<PolicySet>>,
}

impl Slice {
    fn add(&mut self, policy: &Policy, holds: bool) -> Result<(), Box<PolicySetError>> {
        let by_resource = match policy.principal_constraint() {
            PrincipalConstraint::Eq(principal) => self.fixed.entry(principal).or_default(),
            _ => &mut self.any,
        };
        let place = match policy.resource_constraint() {
            ResourceConstraint::Eq(resource) => by_resource.fixed.entry(resource).or_default(),
            _ => &mut by_resource.any,
        };
        place.add(policy, holds)
    }

    fn is_empty(&self) -> bool {
        self.places().all(|place| place.all.is_empty())
    }

    /// Returns the ids of the policies in the slice.
    pub(super) fn ids(&self) -> Vec<&PolicyId> {
        self.places()
            .flat_map(|place| place.all.policies().map(Policy::id))
            .collect()
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        let by_resource = iter::once(&self.any).chain(self.fixed.values());
        by_resource.flat_map(|places| iter::once(&places.any).chain(places.fixed.values()))
    }

    fn select(&self, principal: &EntityUid, resource: &EntityUid) -> impl Iterator<Item = &Place> {
        let by_resource = [Some(&self.any), self.fixed.get(principal)];
        (by_resource.into_iter().flatten())
            .flat_map(|places| [Some(&places.any), places.fixed.get(resource)])
            .flatten()
    }
}

impl Place {
    fn add(&mut self, policy: &Policy, holds: bool) -> Result<(), Box<PolicySetError>> {
        if holds {
            let others = &self.all;
            (self.without_holds).get_or_insert_with(|| Box::new(others.clone()));
        } else if let Some(others) = &mut self.without_holds {
            others.add(policy.clone())?;
        }
        self.all.add(policy.clone()).map_err(Box::new)
    }

    fn policies(&self, considered: Considered) -> &PolicySet {
        match (considered, &self.without_holds) {
            (Considered::WithoutHolds, Some(others)) => others,
            (Considered::All | Considered::WithoutHolds, _) => &self.all,
        }
    }
}
