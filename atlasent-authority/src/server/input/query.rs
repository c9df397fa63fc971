//! The parameters of a request's query, and other small texts that callers send.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

use crate::server::api_error::Problem;

/// The longest reason that is recorded, in bytes.
const MAX_REASON: usize = 4_096;

/// The longest text of a time, in characters.
pub(crate) const LONGEST_TIME: usize = 64;

/// The parameters of a query. Of several with one name, the last one counts; empty ones are unset;
/// unknown ones are tolerated, as unknown fields are.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(query: &str) -> Result<Self, Problem> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value)
                .decode_utf8()
                .map_err(|_| Problem::unreadable("INVALID_QUERY", "a parameter is not UTF-8"))?;
            Ok((name.to_owned(), value.into_owned()))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// A text of at most so many characters.
    pub(crate) fn text(&self, name: &str, most: usize) -> Result<Option<&str>, Problem> {
        let mut named = self.0.iter().rev().filter(|(known, _)| known == name);
        let value = named
            .next()
            .map(|(_, value)| &**value)
            .filter(|value| !value.is_empty());
        match value {
            Some(value) if value.chars().nth(most).is_some() => Err(Problem::unreadable(
                "INVALID_QUERY",
                format!("`{name}` has more than {most} characters"),
            )),
            value => Ok(value),
        }
    }

    /// A time.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let text = self.text(name, LONGEST_TIME)?;
        text.map(|text| time(name, text)).transpose()
    }

    /// How many items a page has.
    pub(crate) fn limit(&self, usual: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.text("limit", 64)? else {
            return Ok(usual);
        };
        match text.parse() {
            Ok(limit) if limit > 0 => Ok(most.min(limit)),
            _ => Err(Problem::unreadable(
                "INVALID_QUERY",
                format!("`limit` has to be a whole number from 1 to {most}"),
            )),
        }
    }

    /// The number in a cursor that begins with `prefix`.
    pub(crate) fn cursor(&self, prefix: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text("cursor", 64)? else {
            return Ok(None);
        };
        let number = text.strip_prefix(prefix).map(str::parse);
        match number {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(Problem::unreadable(
                "INVALID_QUERY",
                "`cursor` cannot be read: send the `next_cursor` of the page before as it is",
            )),
        }
    }
}

/// ISO 8601: a time with its offset, one without, which is taken for UTC, or a day.
pub(crate) fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).map(|time| time.timestamp());
    text.parse::<Timestamp>()
        .or_else(|_| text.parse::<DateTime>().and_then(utc))
        .or_else(|_| text.parse::<Date>().and_then(|day| utc(day.into())))
        .map_err(|_| {
            Problem::unreadable(
                "INVALID_TIME",
                format!("`{name}` is not an ISO 8601 time such as `2026-11-01T09:00:00Z`"),
            )
        })
}

/// A reason that is to be recorded; empty when none was sent.
pub(crate) fn reason(reason: Option<String>) -> Result<String, Problem> {
    let reason = reason.unwrap_or_default();
    if reason.len() > MAX_REASON {
        let text = format!("`reason` has more than {MAX_REASON} bytes");
        return Err(Problem::invalid(text));
    }
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_each_form_that_callers_send() {
        for text in [
            "2026-11-01T09:00:00Z",
            "2026-11-01T09:00:00+00:00",
            "2026-11-01T10:00:00+01:00",
            "2026-11-01T09:00:00",
            "2026-11-01T09:00:00.000000",
        ] {
            assert_eq!(
                time("from", text).unwrap().to_string(),
                "2026-11-01T09:00:00Z"
            );
        }
        let day = time("from", "2026-11-01").unwrap();
        assert_eq!(day.to_string(), "2026-11-01T00:00:00Z");
        for text in ["yesterday", "2026-13-01", "1767268800", ""] {
            assert_eq!(
                time("from", text).unwrap_err().code,
                "INVALID_TIME",
                "{text}"
            );
        }
    }

    #[test]
    fn a_limit_is_a_whole_number_from_1_on_and_bounded() {
        let limit = |query: &str| Query::read(query).unwrap().limit(50, 500);
        assert_eq!(limit("limit=9999").unwrap(), 500);
        assert_eq!(limit("limit=7&x=1").unwrap(), 7);
        assert_eq!(limit("limit=").unwrap(), 50);
        for query in ["limit=0", "limit=-1", "limit=x", "limit=1.5"] {
            assert_eq!(limit(query).unwrap_err().code, "INVALID_QUERY", "{query}");
        }
    }

    #[test]
    fn a_cursor_has_its_prefix_and_a_number() {
        let after = |cursor: &str| {
            let query = Query::read(&format!("cursor={cursor}")).unwrap();
            query.cursor("after_")
        };
        assert_eq!(after("after_7"), Ok(Some(7)));
        assert_eq!(after(""), Ok(None));
        for text in ["7", "after_", "after_-1", "after_x", "before_7"] {
            assert!(after(text).is_err(), "{text}");
        }
    }
}
