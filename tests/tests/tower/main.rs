//! Tests the tower services of `atlasent-tower`: no request passes without a permit, ambiguous
//! requests are refused before the authority is asked, and readiness, cancellation and secrets are
//! respected.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod agents;
mod answer;
mod approvals;
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
