//! Tests of `atlasent serve` as a process: its start, requests, kills and restarts.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod approvals;
mod audit_log;
mod commands;
mod full;
mod hooks;
mod http;
mod killed;
mod organizations;
mod orgs;
#[cfg(feature = "otlp")]
mod otlp_log;
mod process;
mod python_sdk;
mod readme;
#[path = "../readme/mod.rs"]
mod readme_terminals;
mod replaced;
mod replicas;
mod shadow;
mod soak;
mod start;
mod stops;
mod stores;
mod trail;
mod webhooks;
