//! Parses and formats rates such as `10/hour`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Error;
use crate::escape::excerpt;

/// A limit on calls: at most this many in the last second, minute, hour or day.
///
/// ```
/// use ati_client::{RateSpec, RateUnit};
///
/// let rate: RateSpec = "10/hour".parse()?;
/// assert_eq!(rate, RateSpec::new(10, RateUnit::Hour));
/// assert_eq!("10/h".parse::<RateSpec>()?.to_string(), "10/hour");
/// assert!("ten/hour".parse::<RateSpec>().is_err());
/// # Ok::<(), ati_client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateSpec {
    calls: u64,
    unit: RateUnit,
}

impl RateSpec {
    /// Creates a rate of at most `calls` in the last `unit`. Zero allows no call.
    #[must_use]
    pub fn new(calls: u64, unit: RateUnit) -> Self {
        Self { calls, unit }
    }

    /// Returns the number of calls.
    #[must_use]
    pub fn calls(self) -> u64 {
        self.calls
    }

    /// Returns the time in which the calls are counted.
    #[must_use]
    pub fn unit(self) -> RateUnit {
        self.unit
    }
}

impl RateSpec {
    /// Returns whether calls that keep to this rate also keep to `limit`.
    ///
    /// Each unit is a whole number of every shorter one: `1/minute` allows at most 60 calls an
    /// hour.
    pub(crate) fn is_within(self, limit: Self) -> bool {
        let units = limit.unit.duration().as_secs() / self.unit.duration().as_secs();
        u128::from(self.calls) * u128::from(units.max(1)) <= u128::from(limit.calls)
    }
}

impl FromStr for RateSpec {
    type Err = Error;

    fn from_str(spec: &str) -> Result<Self, Error> {
        parse(spec).ok_or_else(|| Error::BadRate {
            spec: excerpt(spec),
        })
    }
}

fn parse(spec: &str) -> Option<RateSpec> {
    let (calls, unit) = spec.split_once('/')?;
    // `u64::from_str` would accept a leading `+`.
    let calls = calls.bytes().all(|b| b.is_ascii_digit()).then_some(calls)?;
    Some(RateSpec::new(
        calls.parse().ok()?,
        RateUnit::from_name(unit)?,
    ))
}

impl fmt::Display for RateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.calls, self.unit)
    }
}

/// The time in which the calls of a rate are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateUnit {
    /// `s`, `sec` or `second`.
    Second,
    /// `m`, `min` or `minute`.
    Minute,
    /// `h`, `hr` or `hour`.
    Hour,
    /// `d` or `day`.
    Day,
}

impl RateUnit {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "s" | "sec" | "second" => Self::Second,
            "m" | "min" | "minute" => Self::Minute,
            "h" | "hr" | "hour" => Self::Hour,
            "d" | "day" => Self::Day,
            _ => return None,
        })
    }

    /// Returns the length of the unit.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86400,
        })
    }
}

impl fmt::Display for RateUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        })
    }
}
