//! The pages of the console, one a file. `events` reads the chain for those that show it.

pub(super) mod approval;
pub(super) mod approvals;
pub(super) mod budgets;
pub(super) mod decisions;
mod events;
pub(super) mod permits;
pub(super) mod policies;
pub(super) mod stops;
pub(super) mod story;
pub(super) mod trail;
pub(super) mod try_out;
pub(super) mod vote;
