//! The index of policies, by which a decision costs as much as the policies that can match it.
//!
//! Cedar evaluates every policy of the set that it is given, so its cost grows with policies that
//! name other actions, agents and resources. The index files each policy under the action,
//! principal and resource that its scope names, and a request is evaluated against the few policies
//! that its action, agent and resource select.
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
//! The request (`bot`, `read`, `db`) selects {P4}, {P3}, {P2} and {P1}. Each policy is evaluated by
//! itself. With `context.raw` true and `context.freeze` false:
//!
//! ```text
//! P4 is unsatisfied, P3 a satisfied `forbid`, P2 and P1 are satisfied `permit`s
//! forbids {P3}, permits {P1, P2}, errors {} → denied by P3, as the whole set would
//! ```
//!
//! P5 is not evaluated: `action == Action::"write"` is false for this request.
//!
//! # Why this equals the whole set
//!
//! Cedar finds each policy satisfied, unsatisfied or in error, independently of all other policies.
//! Its answer depends on these outcomes alone: a satisfied `forbid` denies, or else a satisfied
//! `permit` allows, or else the request is denied. So the policies may be evaluated one by one and
//! their outcomes united, provided that every other policy is unsatisfied and not in error. A
//! policy is left out only if `principal == …`, `action == …`, `action in …` or `resource == …` in
//! its scope is false for the request. A scope contains no expression that can fail, and Cedar
//! evaluates it before the conditions, with short-circuit. So a policy that is left out is
//! unsatisfied, and none of its conditions can fail.
//!
//! Of the policies of a place, the request evaluates those that their conditions do not rule out:
//! see [`place`](super::place).
//!
//! A policy in two selected places (`action in [a, group_of_a]`) has the same outcome twice, and
//! the union counts it once. The size of the index is linear in that of the policies: a policy is
//! filed once for each action or group that it names, never for each member of a group.

use std::collections::{HashMap, HashSet};
use std::iter;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, Entities, EntityUid, Policy, PolicyId, PrincipalConstraint, Request,
    ResourceConstraint,
};

use super::EntityTypes;
use super::place::Place;
use super::prepare::{FailedPolicy, PreparedPolicy, RequestEvaluator};

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
/// Each list is sorted by id, and its ids are unique.
#[derive(Debug, Default)]
pub(super) struct UnitedOutcome {
    pub(super) forbids: Vec<PolicyId>,
    pub(super) permits: Vec<PolicyId>,
    pub(super) errors: Vec<FailedPolicy>,
}

impl Slices {
    /// Indexes `policies`, of which `holds` finds those that hold or escalate. The groups of an
    /// action are its ancestors in `entities`, which must therefore contain the schema's actions.
    /// Only actions of the type that requests have are indexed.
    pub(super) fn new(
        policies: &[Policy],
        holds: impl Fn(&PolicyId) -> bool,
        entities: &Entities,
        types: &EntityTypes,
    ) -> Self {
        let mut any = Slice::default();
        // A policy with `action == a` is in `named` only. A policy with `action in a` holds for the
        // members of `a`, too, and is in both.
        let mut named: HashMap<EntityUid, Slice> = HashMap::new();
        let mut groups: HashMap<EntityUid, Slice> = HashMap::new();
        let parents: HashSet<EntityUid> = (entities.iter())
            .filter(|entity| *entity.uid().type_name() == types.action)
            .flat_map(|entity| ancestors(entities, &entity.uid()))
            .collect();
        for policy in policies {
            let prepared = PreparedPolicy::new(policy, holds(policy.id()), types);
            let prepared = Arc::new(prepared);
            match policy.action_constraint() {
                ActionConstraint::Any => any.add(policy, &prepared),
                ActionConstraint::Eq(action) => {
                    named.entry(action).or_default().add(policy, &prepared);
                }
                ActionConstraint::In(actions) => {
                    for action in actions.into_iter().collect::<HashSet<_>>() {
                        if parents.contains(&action) {
                            let group = groups.entry(action.clone()).or_default();
                            group.add(policy, &prepared);
                        }
                        named.entry(action).or_default().add(policy, &prepared);
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
            .filter(|uid| *uid.type_name() == types.action)
            .collect::<HashSet<_>>()
        {
            let own = named.remove(&action).map(Arc::new);
            let inherited = ancestors(entities, &action)
                .into_iter()
                .filter_map(|group| groups.get(&group).cloned());
            let slices: Vec<_> = own.into_iter().chain(inherited).collect();
            actions.insert(action.id().unescaped().to_owned(), slices);
        }
        Self { any, actions }
    }

    /// Returns whether a scope, the schema or the entities name an action.
    pub(super) fn names_action(&self, action: &str) -> bool {
        self.actions.contains_key(action)
    }

    /// Returns the places whose policies have a scope that can match the request. What is left of
    /// the scope is compared by [`PreparedPolicy`].
    pub(super) fn select(&self, request: &Request) -> impl Iterator<Item = &Place> {
        // Requests are always complete: without one of the three, no scope matches.
        let scope = (request.principal())
            .zip(request.action())
            .zip(request.resource());
        scope
            .into_iter()
            .flat_map(|((principal, action), resource)| {
                let own = self.actions.get(action.id().unescaped());
                let own = own.into_iter().flatten().map(|slice| &**slice);
                let slices = iter::once(&self.any).chain(own);
                slices.flat_map(|slice| slice.select(principal, resource))
            })
    }

    /// Returns whether the scope of a `permit` matches the request, whatever its conditions are.
    pub(super) fn has_permit_for(&self, request: &Request, entities: &Entities) -> bool {
        let evaluator = RequestEvaluator::new(request, entities);
        self.select(request)
            .flat_map(Place::all)
            .any(|policy| policy.effect() == Effect::Permit && policy.scope_matches(&evaluator))
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
    /// Evaluates the considered policies that the request selects.
    pub(super) fn evaluate(
        slices: &Slices,
        considered: Considered,
        request: &Request,
        entities: &Entities,
    ) -> Self {
        let evaluator = RequestEvaluator::new(request, entities);
        let mut outcome = Self::default();
        for place in slices.select(request) {
            place.visit(request.as_ref(), &mut |policy| {
                if considered.has(policy) {
                    outcome.add(policy, policy.is_satisfied(&evaluator));
                }
            });
        }
        for ids in [&mut outcome.permits, &mut outcome.forbids] {
            ids.sort_unstable();
            ids.dedup();
        }
        outcome.errors.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        outcome.errors.dedup_by(|a, b| a.id == b.id);
        outcome
    }

    fn add(&mut self, policy: &PreparedPolicy, satisfied: Result<bool, FailedPolicy>) {
        match (satisfied, policy.effect()) {
            (Ok(true), Effect::Permit) => self.permits.push(policy.id().clone()),
            (Ok(true), Effect::Forbid) => self.forbids.push(policy.id().clone()),
            (Ok(false), _) => {}
            (Err(failed), _) => self.errors.push(failed),
        }
    }
}

impl Considered {
    pub(super) fn has(self, policy: &PreparedPolicy) -> bool {
        match self {
            Self::All => true,
            Self::WithoutHolds => !policy.holds,
        }
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

impl Slice {
    fn add(&mut self, policy: &Policy, prepared: &Arc<PreparedPolicy>) {
        let by_resource = match policy.principal_constraint() {
            PrincipalConstraint::Eq(principal) => self.fixed.entry(principal).or_default(),
            _ => &mut self.any,
        };
        let place = match policy.resource_constraint() {
            ResourceConstraint::Eq(resource) => by_resource.fixed.entry(resource).or_default(),
            _ => &mut by_resource.any,
        };
        place.add(prepared);
    }

    fn is_empty(&self) -> bool {
        self.places().all(|place| place.is_empty())
    }

    /// Returns the ids of the policies in the slice.
    pub(super) fn ids(&self) -> Vec<&PolicyId> {
        self.places()
            .flat_map(|place| place.all().map(PreparedPolicy::id))
            .collect()
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        let by_resource = iter::once(&self.any).chain(self.fixed.values());
        by_resource.flat_map(|places| iter::once(&places.any).chain(places.fixed.values()))
    }

    fn select(&self, principal: &EntityUid, resource: &EntityUid) -> impl Iterator<Item = &Place> {
        let by_resource = [Some(&self.any), self.fixed.get(principal)];
        (by_resource.into_iter().flatten())
            .flat_map(move |places| [Some(&places.any), places.fixed.get(resource)])
            .flatten()
    }
}
