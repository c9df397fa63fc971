//! How much an API key may still ask for.

use std::time::SystemTime;

/// The state of an API key's rate limit, as an answer stated it (`X-RateLimit-Limit`, `-Remaining` and `-Reset`).
///
/// An answer that lacks one of the three, or holds one that cannot be read, states none (contract, part A, Reading
/// answers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// How many requests the key has in each window.
    pub limit: u64,
    /// How many of them are left in this window.
    pub remaining: u64,
    /// When the next window begins, by the authority's clock.
    pub reset_at: SystemTime,
}
