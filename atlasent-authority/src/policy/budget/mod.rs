//! Budgets: how much the permits of a policy may add up to in a period (`@budget`).
//!
//! A budget is a sliding window, like the rate of a token: `amount 1000/day per agent` lets the
//! amounts of an agent's permits add up to 1,000 in any 24 hours. `parse.rs` reads the annotation,
//! `amount.rs` computes what a request takes, and `ledger/budget.rs` keeps what is used up.

mod amount;
mod parse;

use std::fmt;
use std::sync::Arc;

use cedar_policy::{Effect, PolicyId};

use super::Policies;
use super::annotations::{AnnotatedPolicy, Statement};
use super::approval::{ApprovalRule, redacts};
use super::error::PolicyProblem;
use super::number::Numeral;
use parse::parse_all;

/// The annotation of a budget.
pub(super) const BUDGET: &str = "budget";

/// A part of a budget: a number with at most four digits after the point, in ten-thousandths, so
/// that sums are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Units(pub(crate) u64);

impl Units {
    const DIGITS: i64 = 4;
    /// One whole.
    pub(crate) const ONE: Self = Self(10_000);

    /// Converts a number. Returns `None` for a negative number, and for one with more than four
    /// digits after the point or more than about fifteen before it.
    fn from_numeral(numeral: &Numeral<'_>) -> Option<Self> {
        let scaled = numeral.scaled(Self::DIGITS)?;
        u64::try_from(scaled).ok().map(Self)
    }
}

/// Writes a decimal number without trailing zeros: `19.99`, `1000`.
impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / Self::ONE.0, self.0 % Self::ONE.0);
        write!(f, "{whole}")?;
        if fraction == 0 {
            return Ok(());
        }
        let digits = format!("{fraction:04}");
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}

/// One budget of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// The id of the policy.
    pub(crate) policy: Arc<str>,
    counted: Counted,
    pub(crate) limit: Units,
    unit: &'static str,
    /// The length of the window in seconds.
    pub(crate) seconds: u32,
    pub(crate) scope: BudgetScope,
    /// Whether a policy redacts the number that the budget adds up: the chain must not show it.
    pub(crate) is_redacted: bool,
}

/// What a budget adds up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Counted {
    /// One for each permit.
    Calls,
    /// The number at this path of the context.
    Value(String),
}

/// Who shares a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BudgetScope {
    /// Each agent has the budget, and its delegates share it.
    Agent,
    /// Each resource has the budget, whichever agent uses it.
    Resource,
    /// All agents of the organization share the budget.
    Organization,
}

impl BudgetScope {
    const ALL: [Self; 3] = [Self::Agent, Self::Resource, Self::Organization];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Resource => "resource",
            Self::Organization => "organization",
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calls => "calls",
            Self::Value(path) => path,
        })
    }
}

/// Writes the budget as a policy does: `amount 1000/day per agent`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            counted,
            limit,
            unit,
            scope,
            ..
        } = self;
        write!(f, "{counted} {limit}/{unit} per {}", scope.as_str())
    }
}

impl Budget {
    /// Returns what is counted. With unit and scope, it identifies a budget of the policy.
    pub(crate) fn counted(&self) -> String {
        self.counted.to_string()
    }

    /// Returns the path of the number that the budget adds up. `None` if it counts calls.
    pub(super) fn path(&self) -> Option<&str> {
        match &self.counted {
            Counted::Calls => None,
            Counted::Value(path) => Some(path),
        }
    }
}

/// Marks the budgets of numbers that a policy redacts.
pub(super) fn mark_redacted(policies: &mut [AnnotatedPolicy]) {
    let rules = policies.iter().filter_map(|policy| policy.approval.clone());
    let rules: Vec<ApprovalRule> = rules.collect();
    for budget in policies.iter_mut().flat_map(|policy| &mut policy.budgets) {
        budget.is_redacted = budget.path().is_some_and(|path| redacts(&rules, path));
    }
}

impl Policies {
    /// Returns the budgets of the policies with these ids.
    pub(crate) fn budgets(&self, ids: &[Arc<str>]) -> impl Iterator<Item = &Budget> {
        let policies = ids
            .iter()
            .filter_map(|id| self.by_id.get(&PolicyId::new(id)));
        policies.flat_map(|annotated| &annotated.budgets)
    }

    /// Returns all budgets, by the ids of their policies.
    #[cfg(feature = "console")]
    pub(crate) fn all_budgets(&self) -> Vec<&Budget> {
        let mut budgets: Vec<_> = (self.by_id.values())
            .flat_map(|annotated| &annotated.budgets)
            .collect();
        budgets.sort_by(|one, other| one.policy.cmp(&other.policy));
        budgets
    }
}

impl Statement {
    /// Parses the `@budget` of the policy `id`. Only a `permit` has one.
    pub(super) fn budgets(&self, id: &Arc<str>) -> Result<Vec<Budget>, PolicyProblem> {
        let Some(text) = self.policy.annotation(BUDGET) else {
            return Ok(Vec::new());
        };
        if self.policy.effect() == Effect::Forbid {
            let message = "`@budget` belongs on a `permit`: a `forbid` allows nothing to count";
            return Err(self.problem_at_annotation(BUDGET, message.to_owned()));
        }
        let parsed = parse_all(id, text);
        parsed.map_err(|why| self.problem_at_annotation(BUDGET, format!("`@{BUDGET}`: {why}")))
    }
}

#[cfg(test)]
mod tests;
