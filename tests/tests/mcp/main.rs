//! Tests that a guarded MCP server runs exactly what an authority allowed, over the protocol.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod anything;
mod cancelled;
mod clients;
mod held;
mod hidden;
mod lists;
mod matrix;
mod messages;
mod once;
mod starter;
mod support;
mod tokens;
