//! The HTTP client against a server on real sockets: its requests, its results for every response
//! and every fault, and that no fault runs a protected body.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what tests call may panic as tests do"
)]

mod answers;
mod anything;
mod approvals;
mod batch;
mod blocking;
mod cancel;
mod cases;
mod connections;
mod edges;
mod errors;
mod escalations;
mod faults;
mod fields;
mod genuine;
mod limits;
mod matrix;
mod pages;
#[path = "../fail_closed/paths.rs"]
mod paths;
mod permits;
mod refusals;
mod requests;
mod retries;
mod scripted;
mod secrets;
mod settings;
mod stage;
mod streaming;
mod support;
mod waits;
