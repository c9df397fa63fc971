//! The promises that each store is tested for.

pub(crate) mod any;
pub(crate) mod approvals;
pub(crate) mod budgets;
pub(crate) mod calls;
pub(crate) mod cells;
pub(crate) mod chain;
pub(crate) mod changes;
pub(crate) mod histories;
pub(crate) mod limits;
pub(crate) mod organizations;
pub(crate) mod permits;
pub(crate) mod receipts;
pub(crate) mod reopened;
pub(crate) mod replays;
pub(crate) mod standing;
