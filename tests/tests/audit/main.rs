//! The audit chain: it records every operation and no secret, and verification finds every change
//! to it.
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
