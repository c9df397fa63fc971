//! The index that keeps a decision's cost with the policies that can matter to it.
//!
//! Cedar evaluates every policy of the set it is given, so its cost grows with policies that name
//! other actions, agents and resources. Here each policy is filed under what its scope names, and
//! a request is evaluated against the few small sets that its action, agent and resource select.
//!
//! # Why this equals the whole set
//!
//! A Cedar policy is satisfied, unsatisfied or in error by itself, whatever other policies there
//! are, and the answer is made from those outcomes alone: any satisfied `forbid` denies, else any
//! satisfied `permit` allows, else it is a deny. So subsets may be evaluated one by one and their
//! outcomes united, provided that every policy left out is unsatisfied and not in error. One is
//! left out only when `principal == …`, `action == …`, `action in …` or `resource == …` in its
//! scope is false for the request. Scopes hold no expression that can err, and they are evaluated
//! before the conditions, with short-circuit: such a policy is unsatisfied, and nothing of it can
//! err.
//!
//! A policy that two sets hold (`action in [a, group_of_a]`) has the same outcome twice; it counts
//! once. The size of the index is linear in that of the policies: a policy is copied once for each
//! action or group that it names, never for each member of a group.

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
    /// By the name of a requestable action: the slices of those that name it, and of those that
    /// name a group it is in. Groups are shared among their members.
    actions: HashMap<String, Vec<Arc<Slice>>>,
}

/// What the policies selected for one request make of it, before our annotations are read.
///
/// Ids are sorted and occur once. When a set has both satisfied kinds, Cedar reports only its
/// `forbid`s; then `permits` is incomplete, and does not matter.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) forbids: Vec<PolicyId>,
    pub(super) permits: Vec<PolicyId>,
    pub(super) errors: Vec<AuthorizationError>,
}

impl Slices {
    /// Files `policies`. The groups of an action are its ancestors in `entities`, which therefore
    /// has to hold the action entities of the schema; only actions of `action_type` are indexed,
    /// since no request has another.
    pub(super) fn new(
        policies: &[Policy],
        entities: &Entities,
        action_type: &EntityTypeName,
    ) -> Result<Self, Box<PolicySetError>> {
        let mut any = Slice::default();
        // A policy that says `action == a` stands in `named` only. One that says `action in a`
        // holds for the members of `a` too and stands in both.
        let mut named: HashMap<EntityUid, Slice> = HashMap::new();
        let mut groups: HashMap<EntityUid, Slice> = HashMap::new();
        let parents: HashSet<EntityUid> = (entities.iter())
            .filter(|entity| entity.uid().type_name() == action_type)
            .flat_map(|entity| ancestors(entities, &entity.uid()))
            .collect();
        for policy in policies {
            match policy.action_constraint() {
                ActionConstraint::Any => any.add(policy)?,
                ActionConstraint::Eq(action) => named.entry(action).or_default().add(policy)?,
                ActionConstraint::In(actions) => {
                    for action in actions.into_iter().collect::<HashSet<_>>() {
                        if parents.contains(&action) {
                            groups.entry(action.clone()).or_default().add(policy)?;
                        }
                        named.entry(action).or_default().add(policy)?;
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

    /// Whether a scope, the schema or the entities name an action.
    pub(super) fn names_action(&self, action: &str) -> bool {
        self.actions.contains_key(action)
    }

    /// The sets that hold every policy whose scope can match these three.
    pub(super) fn select(
        &self,
        principal: &EntityUid,
        action: &str,
        resource: &EntityUid,
    ) -> Vec<&PolicySet> {
        let mut sets = Vec::with_capacity(4);
        self.any.select(principal, resource, &mut sets);
        for slice in self.actions.get(action).into_iter().flatten() {
            slice.select(principal, resource, &mut sets);
        }
        sets
    }

    /// The policies whose scope does not constrain the action.
    pub(super) fn any_ids(&self) -> Vec<&PolicyId> {
        self.any.ids()
    }

    /// Whether the scope of a policy leaves the action open.
    pub(super) fn has_policies_over_any_action(&self) -> bool {
        !self.any.is_empty()
    }

    /// Each action that policies or entities name, with the slices that hold for it.
    pub(super) fn by_action(&self) -> impl Iterator<Item = (&str, &[Arc<Slice>])> {
        self.actions
            .iter()
            .map(|(action, slices)| (action.as_str(), slices.as_slice()))
    }
}

impl Outcome {
    /// The united outcomes of `sets`.
    pub(super) fn of(sets: &[&PolicySet], request: &Request, entities: &Entities) -> Self {
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

/// The policy that could not be evaluated.
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

/// Policies by the principal that their scope fixes with `==`, if any.
#[derive(Debug, Default)]
pub(super) struct Slice {
    any: ByResource,
    fixed: HashMap<EntityUid, ByResource>,
}

/// Policies by the resource that their scope fixes with `==`, if any.
#[derive(Debug, Default)]
struct ByResource {
    any: PolicySet,
    fixed: HashMap<EntityUid, PolicySet>,
}

impl Slice {
    fn add(&mut self, policy: &Policy) -> Result<(), Box<PolicySetError>> {
        let by_resource = match policy.principal_constraint() {
            PrincipalConstraint::Eq(principal) => self.fixed.entry(principal).or_default(),
            _ => &mut self.any,
        };
        let set = match policy.resource_constraint() {
            ResourceConstraint::Eq(resource) => by_resource.fixed.entry(resource).or_default(),
            _ => &mut by_resource.any,
        };
        set.add(policy.clone()).map_err(Box::new)
    }

    fn is_empty(&self) -> bool {
        let mut by_resource = iter::once(&self.any).chain(self.fixed.values());
        by_resource.all(|sets| {
            let mut sets = iter::once(&sets.any).chain(sets.fixed.values());
            sets.all(PolicySet::is_empty)
        })
    }

    /// The policies in it.
    pub(super) fn ids(&self) -> Vec<&PolicyId> {
        let by_resource = iter::once(&self.any).chain(self.fixed.values());
        let sets = by_resource.flat_map(|sets| iter::once(&sets.any).chain(sets.fixed.values()));
        sets.flat_map(|set| set.policies().map(Policy::id))
            .collect()
    }

    fn select<'s>(
        &'s self,
        principal: &EntityUid,
        resource: &EntityUid,
        sets: &mut Vec<&'s PolicySet>,
    ) {
        for by_resource in [Some(&self.any), self.fixed.get(principal)]
            .into_iter()
            .flatten()
        {
            let found = [Some(&by_resource.any), by_resource.fixed.get(resource)];
            sets.extend(found.into_iter().flatten().filter(|set| !set.is_empty()));
        }
    }
}
