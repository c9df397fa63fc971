//! The rate limit of an API key.

use std::time::SystemTime;

/// The state of an API key's rate limit, from the headers of an answer (`X-RateLimit-Limit`,
/// `-Remaining` and `-Reset`).
///
/// An answer without all three headers, or with an unreadable one, has no rate limit (contract,
/// part A, Reading answers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// The number of requests in each window.
    pub limit: u64,
    /// The number of requests that are left in this window.
    pub remaining: u64,
    /// The time when the next window begins, by the authority's clock.
    pub reset_at: SystemTime,
}
