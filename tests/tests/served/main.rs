//! The contract over real HTTP: the server runs in this process, and answers raw requests
//! and our own client.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what tests call may panic as tests do"
)]

mod about;
mod anything;
mod audit_log;
mod batch;
mod bodies;
mod budgets;
mod client;
mod clock;
mod collector;
mod console;
mod evaluate;
mod explained;
mod exports;
mod faults;
mod hitl;
mod keys;
mod limits;
mod names;
mod oidc;
mod operator;
mod organizations;
mod otlp_log;
mod permit_pages;
mod permits;
mod rates;
mod receipts;
mod reload;
mod retention;
mod schema;
mod secrets;
mod shadow;
mod shown;
mod stops;
mod storage;
mod store;
mod stream;
mod support;
mod tls;
mod trail;
mod unread_bodies;
mod values;
mod verify;
mod webhooks;
mod who_decides;
