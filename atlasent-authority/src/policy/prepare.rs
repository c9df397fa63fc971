//! Policies that are prepared once, when they load, and evaluated with Cedar's own evaluator.
//!
//! At every request, Cedar's authorizer builds one expression from each policy, its scope and its
//! conditions joined by `&&`, and evaluates that. Building it costs more than evaluating it. The
//! index has compared most of the scope when it selects a policy, so what is left of the policy is
//! evaluated instead:
//!
//! ```text
//! permit (principal in Role::"ops", action == Action::"deploy", resource is Resource)
//! when { context.region == "eu" };
//!
//! action == Action::"deploy"   compared by the index
//! resource is Resource         true for every request, decided when the policy loads
//! principal in Role::"ops"     compared here, by a lookup among the entities
//! context.region == "eu"       evaluated by Cedar
//! ```
//!
//! # Why this equals Cedar's answer
//!
//! Cedar evaluates a policy as `principal scope && (action scope && (resource scope &&
//! conditions))`. No scope can fail, so the policy is unsatisfied where one of the three is false,
//! and has the outcome of its conditions where all three are true. Of the conditions, only `true`
//! and `false` count here. For an error, or a value of another type, the whole policy is given to
//! Cedar, and what Cedar says is the outcome.

use std::sync::Arc;

use cedar_policy::{
    Effect, Entities, EntityTypeName, EntityUid, EvaluationError, Policy, PolicyId,
    PrincipalConstraint, Request, ResourceConstraint,
};
use cedar_policy_core::ast::{Expr, Literal, ValueKind};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

use super::EntityTypes;
use super::comparison::Comparison;

/// A policy of the index.
#[derive(Debug)]
pub(super) struct PreparedPolicy {
    policy: Policy,
    /// Whether the policy holds or escalates.
    pub(super) holds: bool,
    principal: Membership,
    resource: Membership,
    /// All `when` and `unless` conditions as one expression. `None` for a policy without one.
    conditions: Option<Arc<Expr>>,
}

/// What is left of one constraint of a scope, after the index has selected the policy and the type
/// of the entity has been compared.
#[derive(Debug)]
enum Membership {
    /// The constraint is true for every request that selects the policy.
    Any,
    /// The entity is this one, or a member of it.
    In(EntityUid),
    /// The constraint names a type that no request has.
    Never,
}

/// A policy that failed to evaluate, and why.
#[derive(Clone, Debug)]
pub(super) struct FailedPolicy {
    pub(super) id: PolicyId,
    pub(super) cause: Box<EvaluationError>,
}

/// Evaluates policies for one request.
pub(super) struct RequestEvaluator<'r> {
    evaluator: Evaluator<'r>,
    request: &'r Request,
    entities: &'r Entities,
}

impl<'r> RequestEvaluator<'r> {
    pub(super) fn new(request: &'r Request, entities: &'r Entities) -> Self {
        let evaluator = Evaluator::new(
            request.as_ref().clone(),
            entities.as_ref(),
            Extensions::all_available(),
        );
        Self {
            evaluator,
            request,
            entities,
        }
    }
}

impl PreparedPolicy {
    /// Prepares a policy for requests whose principals and resources have these types.
    pub(super) fn new(policy: &Policy, holds: bool, types: &EntityTypes) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Eq(_) => Membership::Any,
            PrincipalConstraint::In(group) => Membership::In(group),
            PrincipalConstraint::Is(name) => Membership::of_type(&name, &types.agent, None),
            PrincipalConstraint::IsIn(name, group) => {
                Membership::of_type(&name, &types.agent, Some(group))
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Eq(_) => Membership::Any,
            ResourceConstraint::In(group) => Membership::In(group),
            ResourceConstraint::Is(name) => Membership::of_type(&name, &types.resource, None),
            ResourceConstraint::IsIn(name, group) => {
                Membership::of_type(&name, &types.resource, Some(group))
            }
        };
        Self {
            holds,
            principal,
            resource,
            conditions: conditions_of(policy).map(|written| without_positions(policy, written)),
            policy: policy.clone(),
        }
    }

    pub(super) fn id(&self) -> &PolicyId {
        self.policy.id()
    }

    pub(super) fn effect(&self) -> Effect {
        self.policy.effect()
    }

    /// Returns the comparison that the conditions open with, if they open with one.
    pub(super) fn comparison(&self) -> Option<Comparison> {
        Comparison::find(self.conditions.as_ref()?)
    }

    /// Returns whether the policy, which the index has selected for the request, is satisfied.
    pub(super) fn is_satisfied(
        &self,
        evaluator: &RequestEvaluator<'_>,
    ) -> Result<bool, FailedPolicy> {
        Ok(self.scope_matches(evaluator) && self.conditions_hold(evaluator)?)
    }

    /// Returns whether the scope of the policy, which the index has selected, matches the request.
    pub(super) fn scope_matches(&self, evaluator: &RequestEvaluator<'_>) -> bool {
        let (request, entities) = (evaluator.request, evaluator.entities);
        self.principal.holds(request.principal(), entities)
            && self.resource.holds(request.resource(), entities)
    }

    /// Returns whether the conditions hold, for a request that the scope matches.
    pub(super) fn conditions_hold(
        &self,
        evaluator: &RequestEvaluator<'_>,
    ) -> Result<bool, FailedPolicy> {
        let Some(conditions) = &self.conditions else {
            return Ok(true);
        };
        let evaluator = &evaluator.evaluator;
        let policy = self.policy.as_ref();
        let value = evaluator.interpret(conditions, policy.env());
        if let Ok(ValueKind::Lit(Literal::Bool(holds))) = value.map(|value| value.value) {
            return Ok(holds);
        }
        evaluator.evaluate(policy).map_err(|cause| FailedPolicy {
            id: self.id().clone(),
            cause: Box::new(cause),
        })
    }
}

fn conditions_of(policy: &Policy) -> Option<Arc<Expr>> {
    policy.as_ref().non_scope_constraints_arc().cloned()
}

/// Returns the conditions of a policy without the positions in its text. Cedar copies the position
/// of each expression into its value, and only errors need it, which come from the whole policy.
///
/// Cedar's JSON has no positions. What is read from it is taken only if it equals what was written.
fn without_positions(policy: &Policy, written: Arc<Expr>) -> Arc<Expr> {
    let json = policy.to_json().ok();
    let read = json.and_then(|json| Policy::from_json(Some(policy.id().clone()), json).ok());
    let read = read.as_ref().and_then(conditions_of);
    read.filter(|read| *read == written).unwrap_or(written)
}

impl Membership {
    /// Returns what is left of `is name` or `is name in group`, where requests have `requested`.
    fn of_type(
        name: &EntityTypeName,
        requested: &EntityTypeName,
        group: Option<EntityUid>,
    ) -> Self {
        if name != requested {
            return Self::Never;
        }
        group.map_or(Self::Any, Self::In)
    }

    fn holds(&self, entity: Option<&EntityUid>, entities: &Entities) -> bool {
        match (self, entity) {
            (Self::Any, _) => true,
            (Self::In(group), Some(entity)) => {
                entity == group || entities.is_ancestor_of(group, entity)
            }
            // Requests always have a principal and a resource.
            (Self::In(_), None) | (Self::Never, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepared_conditions_have_no_positions() {
        let text = r#"permit (principal, action, resource)
            when { context.region == "eu" && context.tags.contains("a") || context.n * 2 < -7 }
            unless { context has "odd key" && context["odd key"].lessThan(decimal("1.5")) }
            when { if principal in Role::"ops" then resource is Resource else ip("::1").isLoopback() };"#;
        let policy: Policy = text.parse().unwrap();
        let prepared = PreparedPolicy::new(&policy, false, &EntityTypes::new().unwrap());
        let conditions = prepared.conditions.unwrap();
        assert_eq!(Some(&conditions), conditions_of(&policy).as_ref());
        assert!(conditions_of(&policy).unwrap().source_loc().is_some());
        assert!(
            conditions
                .subexpressions()
                .all(|part| part.source_loc().is_none())
        );
    }
}
