//! [`TimeSpan`]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{invalid, written_as_text};
use crate::Error;

/// The units of a duration with their milliseconds, in the order in which a text has them.
const UNITS: [(&str, i128); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A value of the schema type `duration`: a length of time in milliseconds, which can be negative.
///
/// ```
/// use std::time::Duration;
/// use atlasent::schema::TimeSpan;
///
/// let window: TimeSpan = "1h30m".parse()?;
/// assert_eq!(window.as_millis(), 5_400_000);
/// assert_eq!(TimeSpan::try_from(Duration::from_secs(90))?.to_string(), "1m30s");
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(i64);

impl TimeSpan {
    /// Creates a length of this many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the length in milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

written_as_text!(TimeSpan, DurationType);

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = i128::from(self.0).abs();
        for (unit, millis) in UNITS {
            let count = rest / millis;
            rest %= millis;
            // A duration has at least one unit.
            if count > 0 || (self.0 == 0 && unit == "ms") {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// Reads counts with the units `d`, `h`, `m`, `s` and `ms`, each at most once and in this order,
/// with or without a sign before all of them.
impl FromStr for TimeSpan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let unsigned = text.strip_prefix('-').unwrap_or(text);
            let mut rest = unsigned;
            let mut total: i128 = 0;
            let mut units = UNITS.iter();
            while !rest.is_empty() {
                let (count, after) = split_where(rest, |c| !c.is_ascii_digit());
                let (unit, after) = split_where(after, |c| c.is_ascii_digit());
                let (_, millis) = units.find(|(name, _)| *name == unit)?;
                total = total.checked_add(count.parse::<i128>().ok()?.checked_mul(*millis)?)?;
                rest = after;
            }
            let total = if unsigned.len() < text.len() {
                -total
            } else {
                total
            };
            i64::try_from(total)
                .ok()
                .filter(|_| !unsigned.is_empty())
                .map(Self)
        };
        read().ok_or_else(|| invalid(text, "duration", "1h30m"))
    }
}

/// Splits a text at the first character that `ends` it.
fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// Takes a duration, down to the millisecond.
impl TryFrom<Duration> for TimeSpan {
    type Error = Error;

    fn try_from(duration: Duration) -> Result<Self, Error> {
        let millis = i64::try_from(duration.as_millis());
        let too_long = |_| invalid(&format!("{duration:?}"), "duration", "1h30m");
        millis.map(Self).map_err(too_long)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_a_length_of_time_or_an_error() {
        for (text, millis, written) in [
            ("1h30m", 5_400_000, "1h30m"),
            ("-90s", -90_000, "-1m30s"),
            ("0d", 0, "0ms"),
            ("1d2h3m4s5ms", 93_784_005, "1d2h3m4s5ms"),
            (
                "-9223372036854775808ms",
                i64::MIN,
                "-106751991167d7h12m55s808ms",
            ),
        ] {
            let span = text.parse::<TimeSpan>().unwrap();
            assert_eq!((span.as_millis(), &*span.to_string()), (millis, written));
        }
        for wrong in [
            "",
            "-",
            "1",
            "h",
            "1h1h",
            "1m1h",
            "1.5h",
            "1h ",
            "--1h",
            "9223372036854775808ms",
            "1w",
        ] {
            let error = wrong.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(error.contains("such as `1h30m`"), "{error}");
        }
        assert!(TimeSpan::try_from(Duration::MAX).is_err());
        let micros = Duration::from_micros(1_999);
        assert_eq!(TimeSpan::try_from(micros).unwrap().as_millis(), 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis: i64) {
            let span = TimeSpan::from_millis(millis);
            prop_assert_eq!(span.to_string().parse::<TimeSpan>().unwrap(), span);
        }
    }
}
