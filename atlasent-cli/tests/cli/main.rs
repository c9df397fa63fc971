//! Tests of the command line on the built `atlasent` binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests may panic as tests do"
)]

mod approvals;
mod audit;
mod audit_lanes;
mod audit_report;
mod boundary;
mod completions;
mod coverage;
mod delegate;
mod evaluate;
mod hook;
mod hook_receipts;
mod hostile;
mod inspect;
mod issue;
mod keys;
mod operating;
mod org;
mod pages;
mod policy_check;
mod policy_init;
mod policy_replay;
mod policy_test;
#[cfg(feature = "prove")]
mod prove;
mod provision;
mod rotation;
mod schema;
mod support;
mod tables;
mod usage;
mod validate;
mod webhook;
