//! The contract over HTTP (part B): each endpoint, each error, on a server in this process.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod anything;
mod bodies;
mod client;
mod clocks;
mod evaluate;
mod faults;
mod keys;
mod limits;
mod permits;
mod reload;
mod retention;
mod stage;
mod streaming;
mod tls;
mod trail;
