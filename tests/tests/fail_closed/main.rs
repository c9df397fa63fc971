//! Tests that a protected body runs exactly if both answers of the authority are genuine, for every
//! pair of answers and every way to ask.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what tests call may panic as tests do"
)]

mod another;
mod cancelled;
mod configured;
mod guarded;
mod held;
mod late;
mod matrix;
mod paths;
mod schema;
mod scoped;
mod test_door;
mod waiting;
mod wire;
