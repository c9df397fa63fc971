//! What is left of a budget after a decision.

use serde::{Deserialize, Serialize};

/// What is left of a budget of a policy (`@budget`) after a decision. Amounts are decimal numbers
/// as texts, such as `19.99`, so that no reader rounds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BudgetState {
    /// The id of the policy that has the budget.
    pub policy: String,
    /// The budget as a policy words it, such as `amount 1000/day per agent`.
    pub budget: String,
    /// The amount that the request needs.
    pub amount: String,
    /// What is left. A permit has taken its amount already.
    pub remaining: String,
}

impl BudgetState {
    /// Creates the state of a budget.
    pub fn new(
        policy: impl Into<String>,
        budget: impl Into<String>,
        amount: impl Into<String>,
        remaining: impl Into<String>,
    ) -> Self {
        Self {
            policy: policy.into(),
            budget: budget.into(),
            amount: amount.into(),
            remaining: remaining.into(),
        }
    }

    /// Returns the texts that an authority sent.
    pub(crate) fn texts_mut(&mut self) -> [&mut String; 4] {
        let Self {
            policy,
            budget,
            amount,
            remaining,
        } = self;
        [policy, budget, amount, remaining]
    }
}
