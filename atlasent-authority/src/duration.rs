//! Durations as people write them, on the command line and in policies: whole seconds, or whole
//! numbers with units.

use std::time::Duration;

/// The units and their lengths in seconds.
const UNITS: [(&str, u64); 5] = [
    ("s", 1),
    ("m", 60),
    ("h", 3_600),
    ("d", 86_400),
    ("w", 604_800),
];

const INVALID: &str =
    "invalid duration: write it as in `90m`, `7d` or `1h30m`, or in whole seconds, as in `3600`";

/// Parses a duration such as `3600`, `90m`, `7d` or `1h30m`. The units are `s`, `m`, `h`, `d` and
/// `w`, from large to small.
///
/// ```
/// use std::time::Duration;
///
/// use atlasent_authority::duration::parse_duration;
///
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
/// assert!(parse_duration("soon").is_err());
/// ```
///
/// # Errors
///
/// A message that says how to write a duration.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| INVALID);
    }
    let mut rest = text;
    let mut total = 0_u64;
    let mut largest = u64::MAX;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(INVALID)?;
        let (number, after) = rest.split_at_checked(end).ok_or(INVALID)?;
        let (unit, seconds) = UNITS
            .into_iter()
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or(INVALID)?;
        // Units go from large to small, each at most once: `30m1h` is refused.
        if seconds >= largest {
            return Err(INVALID);
        }
        largest = seconds;
        let number: u64 = number.parse().map_err(|_| INVALID)?;
        let part = number.checked_mul(seconds).ok_or(INVALID)?;
        total = total.checked_add(part).ok_or(INVALID)?;
        rest = after.strip_prefix(unit).ok_or(INVALID)?;
    }
    Ok(Duration::from_secs(total))
}

/// Parses a duration of at least one second.
///
/// # Errors
///
/// As [`parse_duration`], and for zero.
pub fn parse_positive_duration(text: &str) -> Result<Duration, &'static str> {
    match parse_duration(text)? {
        Duration::ZERO => Err("the duration must be at least 1 second"),
        time => Ok(time),
    }
}

/// Returns a duration in whole seconds, rounded up.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_counts_as_a_whole_one() {
        for (millis, seconds) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, seconds) in [
            ("0", 0),
            ("3600", 3_600),
            ("90m", 5_400),
            ("7d", 604_800),
            ("1w2d", 777_600),
            ("1h30m", 5_400),
        ] {
            let parsed = parse_duration(text);
            assert_eq!(parsed, Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "m",
            "1x",
            "1.5h",
            "-1",
            "+1",
            " 1",
            "1h 1m",
            "30m1h",
            "1m1m",
            "1ms",
            "1hour",
            "99999999999999999999",
            "18446744073709551615d",
            "1h1",
            "7d\n",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        assert!(parse_positive_duration("0").is_err() && parse_positive_duration("0d").is_err());
    }
}
