//! The interface of stores that count calls for a [`RateLimiter`](crate::RateLimiter).

use std::future::Future;
use std::time::SystemTime;

use crate::{Error, RateSpec};

/// The window in which the calls of one subject, or of one of its delegates, are counted under one
/// pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateWindow<'a> {
    /// The agent: the `sub` of its token.
    pub subject: &'a str,
    /// The agents that act for the subject, the current one last. Empty for the subject itself.
    /// Windows with different actors are counted apart.
    pub actors: &'a [String],
    /// The pattern of scopes that the rate is for.
    pub pattern: &'a str,
    /// The rate: how many calls in how much time.
    pub rate: RateSpec,
}

/// A store that counts calls: [`MemoryRates`](crate::MemoryRates) in this process, or one of yours
/// that several processes share.
pub trait RateStore: Send + Sync + 'static {
    /// Counts one call in every one of `windows`, or in none of them if the rate of one is used up.
    ///
    /// An implementation does this atomically, so that concurrent calls cannot exceed a rate.
    ///
    /// # Errors
    ///
    /// [`Error::RateExceeded`] if a rate is used up, with the time after which every window allows
    /// the call; [`Error::RateLimiterFull`] if the store has no room for another window;
    /// [`Error::RateStoreFailed`] if the store fails.
    fn count_call(
        &self,
        windows: &[RateWindow<'_>],
        now: SystemTime,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}
