//! [`Datetime`]

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::tz::Offset;
use jiff::{Timestamp, TimestampRound, Unit};

use super::{invalid, written_as_text};
use crate::Error;
use crate::permit::expiry::iso_8601;

/// A value of the schema type `datetime`: an instant in milliseconds, from the start of the year 0
/// to 9999-12-30T22:00:00.999Z.
///
/// ```
/// use atlasent::schema::Datetime;
///
/// let due: Datetime = "2026-01-31T12:00:00+02:00".parse()?;
/// assert_eq!(due.to_string(), "2026-01-31T10:00:00.000Z");
/// assert_eq!("2026-01-31".parse::<Datetime>()?.unix_millis(), 1_769_817_600_000);
/// assert!(Datetime::now()? > due);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datetime(Timestamp);

impl Datetime {
    /// Returns the present time by the system's clock.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the clock is outside of the range of the type.
    pub fn now() -> Result<Self, Error> {
        SystemTime::now().try_into()
    }

    /// Creates the instant that is this many milliseconds after the start of 1970 in UTC.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the instant is outside of the range of the type.
    pub fn from_unix_millis(millis: i64) -> Result<Self, Error> {
        let instant = Timestamp::from_millisecond(millis).ok();
        let instant = instant.and_then(Self::in_range);
        instant.ok_or_else(|| unwritable(&format!("{millis} ms")))
    }

    /// Returns the milliseconds since the start of 1970 in UTC.
    #[must_use]
    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Takes an instant that has a text of four digits for the year. `jiff` has no later year.
    fn in_range(instant: Timestamp) -> Option<Self> {
        let year = Offset::UTC.to_datetime(instant).year();
        (year >= 0).then_some(Self(instant))
    }
}

fn unwritable(text: &str) -> Error {
    invalid(text, "datetime", "2026-01-31T12:00:00Z")
}

written_as_text!(Datetime, DatetimeType);

impl fmt::Display for Datetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let utc = Offset::UTC.to_datetime(self.0);
        let (date, time) = (utc.date(), utc.time());
        let (year, month, day) = (date.year(), date.month(), date.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let millis = time.millisecond();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// Reads a date, or a date and a time, in ISO 8601. Without an offset it is in UTC. A fraction of a
/// millisecond is an error.
impl FromStr for Datetime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_whole = |instant: &Timestamp| instant.subsec_nanosecond() % 1_000_000 == 0;
        let instant = iso_8601(text).filter(is_whole).and_then(Self::in_range);
        instant.ok_or_else(|| unwritable(text))
    }
}

/// Takes a time of the system's clock, down to the millisecond.
impl TryFrom<SystemTime> for Datetime {
    type Error = Error;

    fn try_from(time: SystemTime) -> Result<Self, Error> {
        let floor = TimestampRound::new()
            .smallest(Unit::Millisecond)
            .mode(jiff::RoundMode::Floor);
        let instant = Timestamp::try_from(time)
            .and_then(|instant| instant.round(floor))
            .ok();
        let instant = instant.and_then(Self::in_range);
        instant.ok_or_else(|| unwritable("a time of the system's clock"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_an_instant_or_an_error() {
        for (text, written) in [
            ("2026-01-31", "2026-01-31T00:00:00.000Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31T12:00:00.5-0130", "2026-01-31T13:30:00.500Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
            ("9999-12-30T22:00:00.999Z", "9999-12-30T22:00:00.999Z"),
        ] {
            assert_eq!(text.parse::<Datetime>().unwrap().to_string(), written);
        }
        for wrong in [
            "",
            "soon",
            "2026-02-30",
            "2026-01-31T12:00:00.0001Z",
            "-000001-01-01T00:00:00Z",
            "9999-12-31T23:59:59-12:00",
        ] {
            let error = wrong.parse::<Datetime>().unwrap_err().to_string();
            assert!(error.contains("such as `2026-01-31T12:00:00Z`"), "{error}");
        }
        assert!(Datetime::from_unix_millis(i64::MAX).is_err());
    }

    #[test]
    fn a_time_of_the_clock_is_taken_down_to_the_millisecond() {
        let time = UNIX_EPOCH + Duration::from_micros(1_999);
        assert_eq!(Datetime::try_from(time).unwrap().unix_millis(), 1);
        let time = UNIX_EPOCH - Duration::from_micros(1);
        assert_eq!(Datetime::try_from(time).unwrap().unix_millis(), -1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in -62_167_219_200_000_i64..253_370_764_800_000) {
            let instant = Datetime::from_unix_millis(millis).unwrap();
            prop_assert_eq!(instant.unix_millis(), millis);
            prop_assert_eq!(instant.to_string().parse::<Datetime>().unwrap(), instant);
        }
    }
}
