//! The limits of a token, its lifetime and its rates: `--ttl` and `--rate`.

use std::str::FromStr;
use std::time::Duration;

use ati_client::RateSpec;
use clap::Args;

use crate::duration::lifetime;

/// The limits of a token; part of `issue` and `provision`.
#[derive(Args)]
pub(crate) struct Limits {
    /// How long the token is good, such as 90m or 3600 seconds
    #[arg(long, value_name = "DURATION", default_value = "3600", value_parser = lifetime)]
    ttl: Duration,

    /// How many calls per second, minute, hour or day; repeatable
    #[arg(long = "rate", value_name = "PATTERN=N/UNIT")]
    rates: Vec<Rate>,
}

impl Limits {
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Each pattern with its limit, in the order in which they were given.
    pub(crate) fn rates(&self) -> impl Iterator<Item = (&str, RateSpec)> {
        let rates = self.rates.iter();
        rates.map(|rate| (rate.pattern.as_str(), rate.limit))
    }
}

/// A pattern and its limit.
#[derive(Clone, Debug, PartialEq)]
struct Rate {
    pattern: String,
    limit: RateSpec,
}

impl FromStr for Rate {
    type Err = &'static str;

    /// A pattern may hold a `=`, and a limit never does: the last one separates them.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (pattern, limit) = text
            .rsplit_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or("write a scope pattern, `=` and a rate, as in `tool:github:*=10/hour`")?;
        let limit = limit.parse().map_err(
            |_| "write a rate as a number, `/` and second, minute, hour or day, as in `10/hour`",
        )?;
        Ok(Self {
            pattern: pattern.to_owned(),
            limit,
        })
    }
}
