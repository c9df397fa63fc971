//! Tests the embedded authority end to end: its decisions, its ledger, and protected bodies under a
//! failing store.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod agreement;
mod approvals;
mod approved;
mod budgets;
mod contention;
mod delegated;
mod due;
mod explained;
mod faults;
mod fields;
mod granted;
mod large;
mod ledger;
mod limits;
mod page;
mod redacted;
mod sealing;
mod shadows;
mod standing;
mod support;
mod waiters;
mod waits;
