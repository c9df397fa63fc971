//! Tests that the end of every body is recorded once, and that recording it changes no result.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod endings;
mod hashes;
mod layers;
mod recorded;
mod restarted;
mod undelivered;

use atlasent::AnyAction;

const AGENT: &str = "deploy-bot";

fn action() -> AnyAction {
    AnyAction::new("deploy").unwrap()
}
