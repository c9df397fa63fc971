//! The cells of a permit that a transaction reads, beside the permit itself.

use crate::ledger::PermitEntry;
use crate::ledger::budget::BudgetKey;
use crate::ledger::outstanding::PermitCounts;
use crate::store::CellKey;

/// The counts that a permit is part of, and the budgets that it takes from. They are known for sure
/// only when the permit is read, so the first transaction guesses, and a second one reads the rest.
#[derive(Clone, Debug, Default)]
pub(super) struct PermitCells {
    counts: Option<PermitCounts>,
    budgets: Vec<BudgetKey>,
}

impl PermitCells {
    pub(super) fn new(
        counts: Option<PermitCounts>,
        budgets: impl IntoIterator<Item = BudgetKey>,
    ) -> Self {
        Self {
            counts,
            budgets: budgets.into_iter().collect(),
        }
    }

    /// Returns the keys of the cells.
    pub(super) fn keys(&self) -> impl Iterator<Item = CellKey> {
        let counts = self.counts.into_iter().flat_map(PermitCounts::keys);
        let budgets = self.budgets.iter().copied().map(CellKey::Budget);
        counts.map(CellKey::Agent).chain(budgets)
    }

    /// Returns the cells of a permit if a transaction that read these cells has not read all of
    /// them. A permit that was ended before needs no budget.
    pub(super) fn missing_from(&self, entry: Option<&PermitEntry>) -> Option<Self> {
        let entry = entry?;
        let needed = || entry.budgets().filter(|_| !entry.is_spent());
        let lacks_counts = PermitCounts::missing_from(self.counts, Some(entry)).is_some();
        let lacks = lacks_counts || !needed().all(|key| self.budgets.contains(&key));
        lacks.then(|| Self::new(Some(PermitCounts::from_entry(entry)), needed()))
    }
}
