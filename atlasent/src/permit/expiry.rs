//! The expiry of a permit, by the clocks of this machine.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

/// The moment at which a permit expires.
///
/// The authority's clock and this machine's may differ, so the lifetime is taken from the
/// authority's two times, and counted from now:
///
/// ```text
/// authority:     verified_at 12:00:00, expires_at 13:00:00   lifetime one hour
/// this machine:  now 12:04:10                                expires 13:04:10
/// ```
///
/// Two clocks of this machine count, and the first to reach its time ends the permit. The monotonic
/// clock is not moved by adjustments of the time, but may stop while the machine sleeps. The system
/// clock runs on while the machine sleeps, but can be set back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    /// The permit does not expire: the authority sent no expiry.
    Never,
    /// The time of expiry by the monotonic clock and by the system clock.
    At(Instant, SystemTime),
    /// The permit had expired when it was verified.
    Over,
    /// The expiry that the authority sent is not a time, so the permit counts as expired.
    Unreadable,
}

impl Expiry {
    /// Computes the expiry of a permit that was verified just now, which was `verified_at` by the
    /// authority's clock. Without a readable `verified_at`, this machine's time takes its place.
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
        // A lifetime beyond the range of the clocks exceeds that of this process.
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

/// Reads an ISO 8601 date or date and time. Without an offset it is in UTC.
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
