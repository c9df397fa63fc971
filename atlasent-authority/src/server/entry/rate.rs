//! The rate of a key: how many calls it has left in this minute, and the headers that say so.

use axum::http::{HeaderMap, HeaderName, StatusCode};

use crate::keys::ApiKey;
use crate::server::api_error::{Problem, log_outage};
use crate::server::app::App;
use crate::store::RateCounter;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// How much of a key's rate is left in this minute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    limit: u64,
    used: u64,
    /// When the minute is over, in seconds since 1970.
    reset: i64,
    /// Seconds until then.
    wait: u64,
}

impl Rate {
    /// Counts a call under a key.
    pub(crate) async fn count<S: RateCounter>(app: &App<S>, key: &ApiKey) -> Result<Self, Problem> {
        let now = app.authority.clock.now().as_second();
        let minute = now.div_euclid(60);
        let counted = (app.authority.store).count_call(&key.key_id, minute).await;
        let used = counted.map_err(|error| {
            log_outage(
                "calls cannot be counted",
                "count a call",
                Some(&error.to_string()),
            );
            Problem::unavailable(
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

    /// Refuses a call beyond the rate.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.used <= self.limit {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMITED",
            format!("this API key is good for {} calls a minute", self.limit),
        )
        .after(self.wait))
    }

    /// Writes the three headers of the contract.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.limit.saturating_sub(self.used).into());
        headers.insert(RESET, self.reset.into());
    }
}
