//! Enforces the rates in tokens: refuses a call that exceeds one of them.

use std::time::SystemTime;

use crate::{Claims, Error, MemoryRates, RateStore, RateWindow, scope};

/// The pattern that covers every call, also one that requires no scope.
const EVERYTHING: &str = "*";

/// Enforces the rates in the tokens of agents.
///
/// A rate is a sliding window: `10/hour` allows at most ten calls in any sixty minutes. Calls are
/// counted for each subject and pattern, over all tokens of the subject. Those of a
/// [delegate](crate::delegate) are counted for itself, and against the rates of each token that its
/// token was delegated from. (ATI's own proxy counts
/// for each pattern over all subjects.) The rate of every pattern that covers a called scope
/// applies. A call that one of these rates refuses counts against none of them.
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
/// assert_eq!(refusal.to_string(), "the rate of `tool:github:*` is used up: retry in 60 seconds");
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct RateLimiter<S = MemoryRates> {
    store: S,
}

impl RateLimiter {
    /// Creates a limiter that counts in this process, in at most `windows` windows of up to 5 KiB
    /// each.
    ///
    /// Each pair of subject and pattern takes one window, until the unit of its rate has passed
    /// since its last call. While all windows are taken, calls that need another one are refused
    /// with [`Error::RateLimiterFull`].
    #[must_use]
    pub fn new(windows: usize) -> Self {
        Self::with_store(MemoryRates::new(windows))
    }
}

impl<S: RateStore> RateLimiter<S> {
    /// Creates a limiter that counts in `store`.
    #[must_use]
    pub fn with_store(store: S) -> Self {
        Self { store }
    }

    /// Counts one call of `required_scope` at the time `now`, or refuses it if a rate is used up.
    ///
    /// `required_scope` is the tool's canonical name, such as `tool:github:search`. For the older
    /// name `tool:github_search`, the rates of the canonical names that it may stand for apply as
    /// well.
    ///
    /// # Errors
    ///
    /// The errors of [`check_all`](Self::check_all).
    pub async fn check(
        &self,
        claims: &Claims,
        required_scope: &str,
        now: SystemTime,
    ) -> Result<(), Error> {
        self.check_all(claims, &[required_scope], now).await
    }

    /// Counts one call that requires all of `required_scopes` at the time `now`, or refuses it if a
    /// rate is used up.
    ///
    /// The rate of a pattern applies if the pattern covers any of the scopes. The call counts once
    /// against it, however many scopes the pattern covers. All rates are counted in one step: a
    /// call that one rate refuses counts against none. With an empty list, only the rate of `*`
    /// applies.
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
    /// [`Error::RateExceeded`] if a rate is used up, with the time after which all rates allow the
    /// call; [`Error::BadRate`] if any rate of the token is malformed, even one that does not
    /// apply; [`Error::BadScope`] if a required scope is empty or contains white space;
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
            .rate_windows()?
            .into_iter()
            .filter(|RateWindow { pattern, .. }| {
                *pattern == EVERYTHING || required().any(|scope| scope::rate_covers(pattern, scope))
            })
            .collect();
        if windows.is_empty() {
            return Ok(());
        }
        self.store.count_call(&windows, now).await
    }
}
