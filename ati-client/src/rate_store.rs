//! The trait of stores that count calls.

use std::future::Future;
use std::time::SystemTime;

use crate::{Error, RateSpec};

/// The calls of one subject under one pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateWindow<'a> {
    /// The agent.
    pub subject: &'a str,
    /// The pattern that the rate is for.
    pub pattern: &'a str,
    /// How often in how much time.
    pub rate: RateSpec,
}

/// Where calls are counted: in memory, or in a store that several processes share.
pub trait RateStore: Send + Sync + 'static {
    /// Counts one call in each of `windows`, or, if one of them has no room for it, in none.
    ///
    /// This is one step: of calls that come at the same time, no more get through than the rates
    /// have room for.
    ///
    /// # Errors
    ///
    /// [`Error::RateExceeded`] if a window has no room, with the longest of the times until they
    /// have; [`Error::RateLimiterFull`] if the store has no room for another window;
    /// [`Error::RateStoreFailed`] if it cannot tell.
    fn take(
        &self,
        windows: &[RateWindow<'_>],
        now: SystemTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
