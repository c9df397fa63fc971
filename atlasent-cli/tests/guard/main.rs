//! `atlasent guard` as its users run it: before real servers, with real clients.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod accept;
mod connections;
mod files;
mod http;
mod init;
mod killed;
mod peers;
mod python;
mod readme;
#[path = "../readme/mod.rs"]
mod readme_terminals;
mod reload;
mod settings;
mod support;
