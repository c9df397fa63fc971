//! The embedded authority from end to end: what its policies decide, what its ledger lets pass, and
//! what a store that fails does to a protected body.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod agreement;
mod contention;
mod explained;
mod faults;
mod fields;
mod ledger;
mod page;
mod standing;
mod support;
mod waits;
