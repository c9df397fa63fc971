//! Shares helpers among the tests of several crates.

mod capture;
pub mod cases;
#[cfg(unix)]
pub mod chromium;
mod drive;
pub mod faulty;
pub mod http;
pub mod issuer;
mod order;
pub mod postgres;
pub mod server;
mod slow;

pub use capture::{Kind, Seen, capture, logged_outcomes};
pub use drive::{Driven, Ran, drive, quiet_panics, yields};
pub use order::assert_in_order;
pub use slow::Slow;

/// Compiles the code of the README and of the pages in `docs/`.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/guide/code.md")]
    struct Code;
    #[doc = include_str!("../../docs/guide/boundaries.md")]
    struct Boundaries;
    #[doc = include_str!("../../docs/guide/authorities.md")]
    struct Authorities;
    #[doc = include_str!("../../docs/guide/agents.md")]
    struct Agents;
    #[doc = include_str!("../../docs/guide/policy-coverage.md")]
    struct PolicyCoverage;
    #[doc = include_str!("../../docs/guide/approvals.md")]
    struct Approvals;
    #[doc = include_str!("../../docs/guide/receipts.md")]
    struct Receipts;
    #[doc = include_str!("../../docs/guide/mcp.md")]
    struct Mcp;
    #[doc = include_str!("../../docs/guide/services.md")]
    struct Services;
    #[doc = include_str!("../../docs/from-python.md")]
    struct FromPython;
    #[doc = include_str!("../../docs/policies.md")]
    struct PolicyValues;
}
