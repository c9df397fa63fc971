//! `atlasent-tower` as the tower services that it is made of: nothing gets through without a
//! permit, nobody is asked about what can be read in two ways, and readiness, cancellation and
//! secrets are kept.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod agents;
mod answer;
mod ati;
mod cancelled;
mod grpc;
mod inner;
mod late;
mod matrix;
mod methods;
mod pressure;
mod readiness;
mod repeated;
mod secrets;
mod slots;
mod statuses;
mod target;
mod ways;
