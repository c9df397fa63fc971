//! Rates enforced: how often an agent has called, and whether it may again.

use std::time::SystemTime;

use crate::{Claims, Error, MemoryRates, RateStore, RateWindow, scope};

/// The pattern that covers every call, whatever is called.
const EVERYTHING: &str = "*";

/// Holds agents to the rates in their tokens.
///
/// A rate looks back over a sliding window: `10/hour` is at most ten calls in any sixty minutes.
/// Calls are counted for each subject and pattern, over all its tokens. (ATI's own proxy counts for
/// each pattern over all subjects.) Every pattern that covers a called scope counts, and a call
/// that one of them refuses is counted in none.
///
/// ```
/// use std::time::SystemTime;
/// use ati_client::{Claims, Error, RateLimiter, RateSpec, RateUnit};
///
/// # futures_executor::block_on(async {
/// let limiter = RateLimiter::new(10_000);
/// let claims = Claims::builder("agent-7")
///     .scope("tool:github:*")
///     .rate("tool:github:*", RateSpec::new(1, RateUnit::Minute))
///     .build()?;
///
/// let now = SystemTime::now();
/// limiter.check(&claims, "tool:github:search", now).await?;
/// let refusal = limiter.check(&claims, "tool:github:read", now).await.unwrap_err();
/// assert_eq!(refusal.to_string(), "the rate of `tool:github:*` is used up: come back in 60 seconds");
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct RateLimiter<S = MemoryRates> {
    store: S,
}

impl RateLimiter {
    /// A limiter that counts in this process, for at most `windows` subjects times patterns at
    /// once. Each takes up to 5 KiB.
    ///
    /// When so many agents have called in the last unit of their rates, no other may call until one
    /// of them is out of it.
    #[must_use]
    pub fn new(windows: usize) -> Self {
        Self::with_store(MemoryRates::new(windows))
    }
}

impl<S: RateStore> RateLimiter<S> {
    /// A limiter that counts in `store`.
    #[must_use]
    pub fn with_store(store: S) -> Self {
        Self { store }
    }

    /// Counts one call of `required_scope` at the time `now`, unless a rate refuses it:
    /// [`check_all`](Self::check_all) for a single scope.
    ///
    /// `required_scope` is the tool's canonical name, such as `tool:github:search`. For the older
    /// `tool:github_search` the rates of the name that it may stand for count as well.
    ///
    /// # Errors
    ///
    /// As [`check_all`](Self::check_all).
    pub async fn check(
        &self,
        claims: &Claims,
        required_scope: &str,
        now: SystemTime,
    ) -> Result<(), Error> {
        self.check_all(claims, &[required_scope], now).await
    }

    /// Counts one call that requires all of `required_scopes` at the time `now`, unless a rate
    /// refuses it.
    ///
    /// The rate of a pattern counts when the pattern covers any of the scopes, and it counts one
    /// call, however many of them it covers. All these rates are counted in one step: a call that
    /// one of them refuses is counted in none. Without any scope, what is called is not known, and
    /// only the rate of `*` counts.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use ati_client::{Claims, RateLimiter, RateSpec, RateUnit};
    /// # futures_executor::block_on(async {
    /// let limiter = RateLimiter::new(10_000);
    /// let once = RateSpec::new(1, RateUnit::Day);
    /// let claims = Claims::builder("agent-7").scope("tool:*").scope("audit").rate("tool:*", once).build()?;
    ///
    /// let now = SystemTime::now();
    /// assert!(limiter.check_all(&claims, &["tool:search", "audit"], now).await.is_ok());
    /// assert!(limiter.check_all(&claims, &["tool:search", "audit"], now).await.is_err());
    /// # Ok::<(), ati_client::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::RateExceeded`], with the time after which all rates have room again;
    /// [`Error::BadRate`] if one of the token's rates cannot be read, whatever it is for;
    /// [`Error::BadScope`] if a required scope is empty or holds white space;
    /// [`Error::RateLimiterFull`] and [`Error::RateStoreFailed`] if the call cannot be counted.
    pub async fn check_all<T: AsRef<str> + Sync>(
        &self,
        claims: &Claims,
        required_scopes: &[T],
        now: SystemTime,
    ) -> Result<(), Error> {
        let required = || required_scopes.iter().map(AsRef::as_ref);
        required().try_for_each(scope::check_scope_text)?;
        let windows: Vec<RateWindow<'_>> = claims
            .rates()?
            .into_iter()
            .filter(|(pattern, _)| {
                *pattern == EVERYTHING || required().any(|scope| scope::rate_covers(pattern, scope))
            })
            .map(|(pattern, rate)| RateWindow {
                subject: claims.sub(),
                pattern,
                rate,
            })
            .collect();
        if windows.is_empty() {
            return Ok(());
        }
        self.store.take(&windows, now).await
    }
}
