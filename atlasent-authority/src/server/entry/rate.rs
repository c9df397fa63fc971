//! The rate limits of an API key and of its organization, counted by the minute, and the headers
//! that report them.

use axum::http::{HeaderMap, HeaderName, StatusCode};

use crate::keys::ApiKey;
use crate::server::api_error::ApiError;
use crate::server::log_limit::log_outage;
use crate::server::organizations::ServedOrg;
use crate::store::{RateCounter, Store};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The counter of an organization's calls. The ids of API keys, which count in the same store,
/// start with `key_`.
const ORGANIZATION: &str = "organization";

/// The calls of this minute, and their limit: those of the key or of its organization, whichever
/// has fewer calls left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Whose calls these are, for the error.
    subject: &'static str,
    limit: u64,
    used: u64,
    /// The end of the minute, in seconds since 1970.
    reset: i64,
    /// Seconds until the end of the minute.
    wait: u64,
}

impl Rate {
    /// Counts a call of a key, and of its organization if that has a limit.
    pub(crate) async fn count<S: Store + RateCounter>(
        org: &ServedOrg<S>,
        key: &ApiKey,
    ) -> Result<Self, ApiError> {
        let (subject, limit) = ("this API key", key.rate_limit_per_minute);
        let of_key = Self::count_one(org, &key.key_id, subject, limit).await?;
        let Some(limit) = org.rate_limit() else {
            return Ok(of_key);
        };
        // A call beyond the rate of the key does not count against the rate of the organization.
        if of_key.used > of_key.limit {
            return Ok(of_key);
        }
        let subject = "all API keys of this organization together";
        let of_org = Self::count_one(org, ORGANIZATION, subject, limit).await?;
        Ok(
            match of_org.remaining() < of_key.remaining() || of_org.used > of_org.limit {
                true => of_org,
                false => of_key,
            },
        )
    }

    async fn count_one<S: Store + RateCounter>(
        org: &ServedOrg<S>,
        counter: &str,
        subject: &'static str,
        limit: u64,
    ) -> Result<Self, ApiError> {
        let now = org.authority.clock.now().as_second();
        let minute = now.div_euclid(60);
        let counted = org.authority.store.count_call(counter, minute).await;
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
            subject,
            limit,
            used,
            reset,
            wait: u64::try_from(reset.saturating_sub(now)).unwrap_or(60),
        })
    }

    fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
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
                "{} may make {} calls a minute: wait for the next minute",
                self.subject, self.limit
            ),
        )
        .retry_after(self.wait))
    }

    /// Writes the three headers of the contract (part B).
    pub(crate) fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, self.limit.into());
        headers.insert(REMAINING, self.remaining().into());
        headers.insert(RESET, self.reset.into());
    }
}
