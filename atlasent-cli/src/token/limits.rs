//! The options for the lifetime and the rate limits of a token: `--ttl` and `--rate`.

use std::str::FromStr;
use std::time::Duration;

use ati_client::RateSpec;
use atlasent_authority::duration::parse_positive_duration;
use clap::Args;

/// The lifetime and the rate limits of a token, shared by the commands that issue one.
#[derive(Args)]
pub(crate) struct TokenLimits {
    /// The lifetime of the token, such as 90m or 3600 (seconds)
    #[arg(long, value_name = "DURATION", default_value = "3600", value_parser = parse_positive_duration)]
    ttl: Duration,

    /// A rate limit for a scope pattern, per second, minute, hour or day; repeatable
    #[arg(long = "rate", value_name = "PATTERN=N/UNIT")]
    rates: Vec<RateLimit>,
}

impl TokenLimits {
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns each scope pattern with its limit, in the order of the arguments.
    pub(crate) fn rates(&self) -> impl Iterator<Item = (&str, RateSpec)> {
        let rates = self.rates.iter();
        rates.map(|rate| (rate.pattern.as_str(), rate.limit))
    }
}

/// A scope pattern and its rate limit.
#[derive(Clone, Debug, PartialEq)]
struct RateLimit {
    pattern: String,
    limit: RateSpec,
}

impl FromStr for RateLimit {
    type Err = &'static str;

    /// Splits at the last `=`: a pattern may contain `=`, a limit cannot.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (pattern, limit) = text
            .rsplit_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or("invalid rate limit: write a scope pattern, `=` and a rate, as in `tool:github:*=10/hour`")?;
        let limit = limit.parse().map_err(
            |_| "invalid rate: write a number, `/` and second, minute, hour or day, as in `10/hour`",
        )?;
        Ok(Self {
            pattern: pattern.to_owned(),
            limit,
        })
    }
}
