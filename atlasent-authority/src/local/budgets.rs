//! The budgets of a request: what its permit takes from each, and whether that fits.

use std::sync::Arc;
use std::time::Duration;

use atlasent::wire::{BudgetState, EvaluateRequest};

use crate::ledger::PermitEntry;
use crate::ledger::budget::{BudgetKey, Charge};
use crate::policy::{Budget, BudgetScope, Policies, REDACTED, Units};
use crate::store::{CellKey, Changeset};

/// The resource of a request that names none.
pub(super) const NO_RESOURCE: &str = "default";

/// What the permit of a request takes from one budget.
#[derive(Clone)]
pub(super) struct PendingCharge {
    budget: Budget,
    charge: Charge,
}

/// Why a request does not fit its budgets.
pub(super) struct Exceeded {
    /// The reason, for people.
    pub(super) reason: String,
    /// The reason on the chain, which shows no amount that a policy redacts.
    pub(super) recorded_reason: String,
    /// How long the request has to wait for all budgets. `None` if it never fits.
    pub(super) retry_after: Option<Duration>,
}

/// Returns what a permit for `request` takes from the budgets of the policies that grant it.
///
/// # Errors
///
/// The reason, for people, if the request lacks an amount, or has one that cannot be added up.
pub(super) fn charges(
    policies: &Policies,
    granting: &[Arc<str>],
    request: &EvaluateRequest,
    key_environment: Option<&str>,
) -> Result<Vec<PendingCharge>, String> {
    let budgets = policies.budgets(granting);
    budgets
        .map(|budget| {
            let charge = Charge {
                key: key(budget, request, key_environment),
                amount: budget.amount(request)?.0,
                window: budget.seconds,
            };
            let budget = budget.clone();
            Ok(PendingCharge { budget, charge })
        })
        .collect()
}

/// Returns the key of a budget for a request.
fn key(budget: &Budget, request: &EvaluateRequest, key_environment: Option<&str>) -> BudgetKey {
    let holder = match budget.scope {
        BudgetScope::Agent => request.actor_id.as_str(),
        BudgetScope::Resource => request.resource_id.as_deref().unwrap_or(NO_RESOURCE),
        BudgetScope::Organization => "",
    };
    key_of(budget, holder, key_environment)
}

/// Returns the key of the budget of an agent or a resource; `holder` is empty for that of the
/// organization. The limit is not part of it: what is used up stays used up when a policy gets
/// another limit.
pub(super) fn key_of(budget: &Budget, holder: &str, key_environment: Option<&str>) -> BudgetKey {
    BudgetKey::new(&[
        &budget.policy,
        &budget.counted(),
        &budget.seconds.to_string(),
        budget.scope.as_str(),
        holder,
        key_environment.unwrap_or_default(),
    ])
}

impl PendingCharge {
    /// Returns the budget that it takes from.
    pub(super) fn key(&self) -> BudgetKey {
        self.charge.key
    }

    pub(super) fn cell(&self) -> CellKey {
        CellKey::Budget(self.charge.key)
    }

    /// Returns the text of the charge on the chain: `pay: 20 of amount 1000/day per agent`, or
    /// `pay: [redacted] of amount 1000/day per agent`.
    pub(super) fn recorded(&self) -> Arc<str> {
        let Self { budget, charge } = self;
        let amount = match budget.is_redacted {
            true => REDACTED.to_owned(),
            false => Units(charge.amount).to_string(),
        };
        format!("{}: {amount} of {budget}", budget.policy).into()
    }

    /// Returns what is left of the budget if `used` of it is used up.
    fn state(&self, used: u64) -> BudgetState {
        let remaining = Units(self.budget.limit.0.saturating_sub(used));
        BudgetState::new(
            &*self.budget.policy,
            self.budget.to_string(),
            Units(self.charge.amount).to_string(),
            remaining.to_string(),
        )
    }
}

/// Checks that all charges fit their budgets. Returns what is left of each, once the permit has
/// taken its amount or, if one does not fit, without that. The change must name the budgets' cells
/// among its reads.
pub(super) fn check(
    charges: &[PendingCharge],
    changeset: &Changeset<'_>,
) -> (Vec<BudgetState>, Result<(), Exceeded>) {
    let now = changeset.time();
    let mut result: Result<(), Exceeded> = Ok(());
    let mut used = Vec::with_capacity(charges.len());
    for pending in charges {
        let PendingCharge { budget, charge } = pending;
        let budget_use = changeset.budget(charge.key);
        used.push(budget_use.used(now));
        let wait = budget_use.wait(charge.amount, budget.limit.0, now);
        if wait == Some(Duration::ZERO) {
            continue;
        }
        result = Err(match result {
            Ok(()) => Exceeded::new(pending, budget_use.used(now), wait),
            Err(first) => Exceeded {
                // `None`, which never fits, counts as the longest wait.
                retry_after: first
                    .retry_after
                    .zip(wait)
                    .map(|(one, other)| one.max(other)),
                ..first
            },
        });
    }
    let taken = |pending: &PendingCharge| match result {
        Ok(()) => pending.charge.amount,
        Err(_) => 0,
    };
    let states = charges.iter().zip(used);
    let states = states.map(|(pending, used)| pending.state(used.saturating_add(taken(pending))));
    (states.collect(), result)
}

impl Exceeded {
    fn new(pending: &PendingCharge, used: u64, retry_after: Option<Duration>) -> Self {
        let PendingCharge { budget, charge } = pending;
        let left = Units(budget.limit.0.saturating_sub(used));
        let needed = Units(charge.amount);
        let begin = format!("policy `{}` has a budget of `{budget}`", budget.policy);
        let reason = format!("{begin}, of which {left} is left, and the request needs {needed}");
        let recorded_reason = match budget.is_redacted {
            true => format!("{begin}, of which less is left than the request needs"),
            false => reason.clone(),
        };
        Self {
            reason,
            recorded_reason,
            retry_after,
        }
    }
}

/// Takes the amounts of a permit that is issued. Returns the charges, which the permit keeps.
pub(super) fn take(
    charges: &[PendingCharge],
    permit: &PermitEntry,
    changeset: &mut Changeset<'_>,
) -> Vec<Charge> {
    let now = changeset.time();
    for PendingCharge { charge, .. } in charges {
        let mut budget_use = changeset.budget(charge.key);
        budget_use.reserve(charge, permit, now);
        changeset.keep_budget(charge.key, budget_use);
    }
    charges.iter().map(|pending| pending.charge).collect()
}
