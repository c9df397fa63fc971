//! Tests `atlasent-tower` and `atlasent-axum` as services on sockets, with real clients: no request
//! passes without a permit, and admitted requests pass unchanged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "what tests call may panic as tests do"
)]

mod agents;
mod approvals;
mod asking;
mod delegated;
mod door;
mod faults;
mod heads;
mod load;
mod matrix;
mod misconfigured;
mod nested_paths;
mod nesting;
mod passing;
mod paths;
mod raw;
mod responder;
mod router;
mod scripted;
mod serving;
mod smuggling;
mod stage;
mod statuses;
mod streaming;
mod table;
mod upgrade;
mod ways;
mod wire;
