//! Calls that the `clippy.toml` of this package disallows, in protected bodies and outside of them.
//!
//! Clippy warns about each line that ends with `// refused`, and about no other one:
//! `tests/refused.rs`. The feature `expected` expects these warnings.

pub mod arguments;
pub mod bodies;

use std::process::Command;

// Clippy looks for the methods of the crates that the code names.
use tokio as _;

/// Stands for a dangerous function of the user's own.
#[must_use]
pub fn launch(program: &'static str) -> &'static str {
    program
}

/// Has no permit.
#[cfg_attr(
    feature = "expected",
    expect(clippy::disallowed_methods, reason = "outside of protected code")
)]
pub fn unprotected() {
    drop(Command::new("true")); // refused
    let _ = launch("true"); // refused
    let _ = std::fs::remove_file("gone"); // refused
    drop(tokio::fs::remove_file("gone")); // refused
    let _ = ["true"].map(launch); // refused
}
