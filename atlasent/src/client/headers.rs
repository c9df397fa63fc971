//! Reads the rate limit and the requested wait from the headers of an answer. A header that cannot
//! be read counts as missing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::permit::expiry::iso_8601;
use crate::wire::RateLimit;

/// The longest wait that is reported: 136 years. Adding it to a clock does not overflow.
const MAX_WAIT: Duration = Duration::from_secs(u32::MAX as u64);

/// Returns the rate limit. `None` unless all three of its headers can be read (contract, part A,
/// "Reading answers").
pub(crate) fn rate_limit(headers: &HeaderMap) -> Option<RateLimit> {
    Some(RateLimit {
        limit: single_value(headers, "x-ratelimit-limit")?.parse().ok()?,
        remaining: single_value(headers, "x-ratelimit-remaining")?
            .parse()
            .ok()?,
        reset_at: reset_at(single_value(headers, "x-ratelimit-reset")?)?,
    })
}

/// Returns the wait that the `Retry-After` header requests: seconds, or the time from `now` to an
/// HTTP date (RFC 9110, 10.2.3). A past date is a wait of zero. The contract (part A, "Errors")
/// also allows fractions of seconds.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = single_value(headers, RETRY_AFTER.as_str())?;
    let wait = match value.parse::<f64>() {
        Ok(seconds) if seconds >= MAX_WAIT.as_secs_f64() => {
            seconds.is_finite().then_some(MAX_WAIT)?
        }
        // `try_from_secs_f64` rejects negative numbers and NaN.
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_WAIT))
}

/// Returns the value of a header. `None` if the header occurs with two different values, or holds
/// other characters than visible ASCII.
pub(super) fn single_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    let agreed = values.all(|other| other == value);
    agreed.then(|| value.to_str().ok())?.map(str::trim)
}

/// Reads a time as Unix seconds or in ISO 8601. `None` for times before the epoch.
fn reset_at(value: &str) -> Option<SystemTime> {
    let since_epoch = match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => iso_8601(value)?.as_duration().try_into().ok()?,
    };
    UNIX_EPOCH.checked_add(since_epoch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const LIMIT: &str = "x-ratelimit-limit";
    const REMAINING: &str = "x-ratelimit-remaining";
    const RESET: &str = "x-ratelimit-reset";

    fn headers<V: AsRef<[u8]>>(pairs: &[(&'static str, V)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    fn limits(limit: &str, remaining: &str, reset: &str) -> Option<RateLimit> {
        let all = [(LIMIT, limit), (REMAINING, remaining), (RESET, reset)];
        rate_limit(&headers(&all))
    }

    fn reset(value: &str) -> Option<Duration> {
        let limit = limits("10", "3", value)?;
        Some(limit.reset_at.duration_since(UNIX_EPOCH).unwrap())
    }

    /// 2015-10-21 07:28:00 UTC, the date of RFC 9110's examples.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_445_412_480)
    }

    fn wait(value: &str) -> Option<Duration> {
        retry_after(&headers(&[("retry-after", value)]), now())
    }

    #[test]
    fn the_three_headers_make_a_rate_limit() {
        let limit = limits("60", " 7 ", "1445412480").unwrap();
        assert_eq!((limit.limit, limit.remaining), (60, 7));
        assert_eq!(limit.reset_at, now());
    }

    #[test]
    fn two_of_the_three_make_none() {
        let all = [(LIMIT, "1"), (REMAINING, "1"), (RESET, "1")];
        assert!(rate_limit(&headers(&all)).is_some());
        for missing in 0..3 {
            let mut some = all.to_vec();
            some.remove(missing);
            assert_eq!(rate_limit(&headers(&some)), None);
        }
    }

    #[test]
    fn a_count_is_an_integer_that_is_not_negative() {
        for bad in [
            "",
            "-1",
            "1.5",
            "1e3",
            "ten",
            "0x10",
            "1 0",
            "99999999999999999999",
        ] {
            assert_eq!(limits(bad, "1", "1"), None, "{bad}");
            assert_eq!(limits("1", bad, "1"), None, "{bad}");
        }
    }

    #[test]
    fn a_reset_is_unix_seconds_or_iso_8601() {
        let seconds = Duration::from_secs(1_445_412_480);
        let half = seconds + Duration::from_millis(500);
        for (value, expected) in [
            ("0", Duration::ZERO),
            ("1445412480", seconds),
            ("1445412480.5", half),
            ("2015-10-21T07:28:00Z", seconds),
            ("2015-10-21T07:28:00.5Z", half),
            ("2015-10-21 07:28:00Z", seconds),
            ("2015-10-21T07:28:00", seconds),
            ("2015-10-21 07:28:00", seconds),
            ("2015-10-21T07:28", seconds),
            ("20151021T072800Z", seconds),
            ("2015-10-21T09:28:00+02:00", seconds),
            ("2015-10-21T02:28:00-05:00", seconds),
            ("1970-01-02", Duration::from_secs(86_400)),
        ] {
            assert_eq!(reset(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn a_reset_that_is_no_time_from_the_epoch_on_is_none() {
        for value in [
            "",
            "-1",
            "NaN",
            "inf",
            "1e30",
            "tomorrow",
            "2015-13-01T00:00:00Z",
            "2015-10-21T25:00:00Z",
            "2015-10-21T07:28:00Z[Europe/Vienna]",
            "2015-10-21T07:28:00[Europe/Vienna]",
            "1960-01-01T00:00:00Z",
            "9999-12-31T23:59:59-12:00",
            "Wed, 21 Oct 2015 07:28:00 GMT",
        ] {
            assert_eq!(reset(value), None, "{value}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_the_time_until_an_http_date() {
        for (value, expected) in [
            ("0", Duration::ZERO),
            ("120", Duration::from_secs(120)),
            (" 120 ", Duration::from_secs(120)),
            ("1.5", Duration::from_millis(1500)),
            // The three forms of RFC 9110, 5.6.7.
            ("Wed, 21 Oct 2015 07:28:30 GMT", Duration::from_secs(30)),
            ("Wednesday, 21-Oct-15 07:28:30 GMT", Duration::from_secs(30)),
            ("Wed Oct 21 07:28:30 2015", Duration::from_secs(30)),
            // Past.
            ("Wed, 21 Oct 2015 07:27:00 GMT", Duration::ZERO),
        ] {
            assert_eq!(wait(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn an_absurd_wait_is_capped() {
        for value in ["4294967295", "1e30", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(wait(value), Some(MAX_WAIT), "{value}");
        }
        assert!(now().checked_add(MAX_WAIT).is_some());
    }

    #[test]
    fn a_wait_that_cannot_be_read_is_none() {
        for value in [
            "",
            "-1",
            "-0.5",
            "NaN",
            "inf",
            "-inf",
            "1,5",
            "soon",
            "2015-10-21T07:28:00Z",
        ] {
            assert_eq!(wait(value), None, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now()), None);
    }

    #[test]
    fn a_repeated_header_counts_when_it_says_one_thing() {
        let twice = |a, b| retry_after(&headers(&[("retry-after", a), ("retry-after", b)]), now());
        assert_eq!(twice("1", "1"), Some(Duration::from_secs(1)));
        assert_eq!(twice("1", "2"), None);
        let reset_twice = [(LIMIT, "1"), (REMAINING, "1"), (RESET, "1"), (RESET, "2")];
        assert_eq!(rate_limit(&headers(&reset_twice)), None);
    }

    #[test]
    fn a_header_beyond_ascii_is_none() {
        assert_eq!(wait("1\u{2028}"), None);
        assert_eq!(
            retry_after(&headers(&[("retry-after", b"1\xff")]), now()),
            None
        );
        assert_eq!(limits("1", "١", "1"), None);
    }

    fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
        let close = prop::sample::select(vec![
            "1445412480",
            "1e308",
            "2015-10-21T07:28:00Z",
            "Wed, 21 Oct 2015 07:28:00 GMT",
            "Wednesday, 21-Oct-15 07:28:00 GMT",
            "Wed Oct 21 07:28:00 2015",
        ]);
        let mutated =
            (close, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
                let mut bytes = text.as_bytes().to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            });
        prop_oneof![prop::collection::vec(any::<u8>(), 0..40), mutated]
            .prop_filter("a header value", |bytes| {
                HeaderValue::from_bytes(bytes).is_ok()
            })
    }

    proptest! {
        #[test]
        fn any_header_has_an_answer(values in prop::collection::vec(header_bytes(), 1..4)) {
            for name in [LIMIT, REMAINING, RESET, "retry-after"] {
                let pairs: Vec<_> = values.iter().map(|value| (name, value)).collect();
                let mut headers = headers(&pairs);
                if let Some(wait) = retry_after(&headers, now()) {
                    prop_assert!(wait <= MAX_WAIT);
                }
                for other in [LIMIT, REMAINING, RESET] {
                    headers.entry(other).or_insert(HeaderValue::from_static("1"));
                }
                rate_limit(&headers);
            }
        }

        #[test]
        fn what_was_written_is_read(limit in any::<u64>(), remaining in any::<u64>(), reset in 0..u64::from(u32::MAX)) {
            let read = limits(&limit.to_string(), &remaining.to_string(), &reset.to_string()).unwrap();
            prop_assert_eq!((read.limit, read.remaining), (limit, remaining));
            prop_assert_eq!(read.reset_at, UNIX_EPOCH + Duration::from_secs(reset));
        }
    }
}
