//! The audit chain: everything that is done is on record, nothing secret is, and no change to the
//! record goes unnoticed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod bundles;
mod cut;
mod golden;
mod linked;
mod recorded;
mod story;
mod tampered;
mod unsaid;
