//! gRPC over HTTP/2 on real sockets, against the server of the example: no method runs without its
//! permit, and refusals are gRPC statuses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod cancelled;
mod declared;
mod example;
mod faults;
mod methods;
mod raw;
mod secrets;
mod stage;
mod statuses;
mod streams;
