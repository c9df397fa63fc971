//! The guard between clients and a server that counts what it runs.
#![cfg(all(unix, feature = "guard"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod asked;
mod credentials;
mod describe;
mod endpoint;
mod faults;
mod hidden;
mod http;
mod http_server;
mod limits;
mod matrix;
mod over_http;
mod pins;
mod primed;
mod scopes;
mod session;
mod smuggling;
mod stale;
mod support;
