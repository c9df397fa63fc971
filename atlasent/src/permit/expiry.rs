//! Until when a permit may be used, by the clocks of this machine.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

/// The moment from which on a permit is not good any more.
///
/// What counts is how long the authority said that the permit lives, from the moment at which it
/// verified it, so that clocks that differ do no harm. Two clocks count: the steady one, which no
/// adjustment of the time can stop, and the system's, which goes on while the machine sleeps. The
/// permit is over as soon as one of them says so.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    /// The authority named none.
    Never,
    /// The two clocks' times.
    At(Instant, SystemTime),
    /// It was over already when the permit was verified.
    Over,
    /// The authority's words cannot be read as a time.
    Unreadable,
}

impl Expiry {
    /// The expiry of a permit that was verified just now: at `verified_at` by the authority's
    /// clock.
    pub(crate) fn new(expires_at: Option<&str>, verified_at: Option<&str>) -> Self {
        let Some(expires_at) = expires_at else {
            return Self::Never;
        };
        let Some(expires_at) = iso_8601(expires_at) else {
            return Self::Unreadable;
        };
        let verified_at = verified_at
            .and_then(iso_8601)
            .unwrap_or_else(Timestamp::now);
        let left = expires_at.duration_since(verified_at);
        let Ok(left) = Duration::try_from(left) else {
            return Self::Over;
        };
        let ends = Instant::now()
            .checked_add(left)
            .zip(SystemTime::now().checked_add(left));
        // Longer than the clocks can count is longer than this process lives.
        ends.map_or(Self::Never, |(steady, system)| Self::At(steady, system))
    }

    pub(crate) fn is_over(self) -> bool {
        match self {
            Self::Never => false,
            Self::At(steady, system) => Instant::now() >= steady || SystemTime::now() >= system,
            Self::Over | Self::Unreadable => true,
        }
    }
}

/// Reads a date, or a date and a time, in UTC unless it says otherwise.
pub(crate) fn iso_8601(value: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(value).ok()?;
    // `[Europe/Vienna]` is RFC 9557, not ISO 8601.
    if pieces.time_zone_annotation().is_some() {
        return None;
    }
    let date_time = pieces
        .date()
        .to_datetime(pieces.time().unwrap_or(Time::midnight()));
    let offset = pieces.to_numeric_offset().unwrap_or(Offset::UTC);
    offset.to_timestamp(date_time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_lives_as_long_as_its_authority_said_whatever_its_clock_says() {
        for (expires_at, verified_at, over) in [
            (None, None, false),
            (
                Some("2001-01-01T01:00:00Z"),
                Some("2001-01-01T00:00:00Z"),
                false,
            ),
            (
                Some("2001-01-01T01:00:00+00:00"),
                Some("2001-01-01T00:00:00"),
                false,
            ),
            (
                Some("2001-01-01T00:00:00Z"),
                Some("2001-01-01T00:00:00Z"),
                true,
            ),
            (
                Some("2001-01-01T00:00:00Z"),
                Some("2001-01-01T00:00:01Z"),
                true,
            ),
            (Some("2001-01-01T00:00:00Z"), None, true),
            (Some("2001-01-01T00:00:00Z"), Some("noon"), true),
            (Some("9999-12-30T00:00:00Z"), None, false),
            (
                Some("9999-12-30T00:00:00Z"),
                Some("0001-01-01T00:00:00Z"),
                false,
            ),
            (Some("soon"), Some("2001-01-01T00:00:00Z"), true),
            (Some(""), None, true),
        ] {
            let expiry = Expiry::new(expires_at, verified_at);
            assert_eq!(expiry.is_over(), over, "{expires_at:?} {verified_at:?}");
        }
    }

    #[test]
    fn either_clock_ends_it() {
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let system = SystemTime::now();
        assert!(!Expiry::At(now + hour, system + hour).is_over());
        assert!(Expiry::At(now, system + hour).is_over());
        assert!(Expiry::At(now + hour, system).is_over());
    }
}
