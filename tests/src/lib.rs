//! What the tests of several crates share.

mod capture;
pub mod cases;
mod drive;
pub mod http;
pub mod postgres;
pub mod server;
mod slow;

pub use capture::{Kind, Seen, capture};
pub use drive::{Driven, Ran, drive, quiet_panics, yields};
pub use slow::Slow;

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The code of the page for those who come from Python.
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-python.md")]
struct FromPython;

/// The code of the page on what policies see.
#[cfg(doctest)]
#[doc = include_str!("../../docs/policies.md")]
struct PolicyValues;
