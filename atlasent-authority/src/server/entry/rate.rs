//! The rate limit of an API key, counted by the minute, and the headers that report it.

use axum::http::{HeaderMap, HeaderName, StatusCode};

use crate::keys::ApiKey;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::log_limit::log_outage;
use crate::store::RateCounter;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// A key's calls in this minute, and its limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    limit: u64,
    used: u64,
    /// The end of the minute, in seconds since 1970.
    reset: i64,
    /// Seconds until the end of the minute.
    wait: u64,
}

impl Rate {
    /// Counts a call of a key.
    pub(crate) async fn count<S: RateCounter>(
        app: &App<S>,
        key: &ApiKey,
    ) -> Result<Self, ApiError> {
        let now = app.authority.clock.now().as_second();
        let minute = now.div_euclid(60);
        let counted = (app.authority.store).count_call(&key.key_id, minute).await;
        let used = counted.map_err(|error| {
            log_outage(
                "calls cannot be counted",
                "count a call",
                Some(&error.to_string()),
            );
            ApiError::unavailable(
                "STORE_UNAVAILABLE",
                "the call could not be counted, so it is not answered: try again",
            )
        })?;
        let reset = minute.saturating_add(1).saturating_mul(60);
        Ok(Self {
            limit: key.rate_limit_per_minute,
            used,
            reset,
            wait: u64::try_from(reset.saturating_sub(now)).unwrap_or(60),
        })
    }

    /// Refuses a call beyond the limit.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.used <= self.limit {
            return Ok(());
        }
        Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMITED",
            format!(
                "this API key may make {} calls a minute: wait for the next minute",
                self.limit
            ),
        )
        .retry_after(self.wait))
    }

    /// Writes the three headers of the contract (part B).
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.limit.saturating_sub(self.used).into());
        headers.insert(RESET, self.reset.into());
    }
}
