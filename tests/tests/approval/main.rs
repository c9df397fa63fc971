//! Signed approvals and quorums verify exactly when every check of the contract passes, and the
//! first check that fails names the reason.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what tests call may panic as tests do"
)]

mod anything;
mod case;
mod delegates;
mod golden;
mod hash;
mod names;
mod nonces;
mod order;
mod own;
mod quorum;
mod quorum_case;
mod reasons;
mod recorded;
mod released;
mod released_quorum;
mod signatures;
mod single;
mod times;
mod trust;
