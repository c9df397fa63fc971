//! Tests the spans and events of calls: everything that an operator needs, and no secret.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod calls;
mod escaped;
mod secrets;
mod told;
