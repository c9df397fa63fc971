//! The parameters of a query, and the checks of times and reasons.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;

use crate::server::api_error::ApiError;

/// The longest reason, in bytes.
const MAX_REASON: usize = 4_096;

/// The longest text of a time, in characters.
pub(crate) const LONGEST_TIME: usize = 64;

/// The parameters of a query. The last of several parameters with one name counts. An empty
/// parameter counts as missing, and an unknown one is ignored, as an unknown field is.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query.
    ///
    /// `form_urlencoded` does not fit here: it replaces bytes that are not UTF-8, and such a
    /// parameter is refused.
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    /// The text of a parameter, at most `most` characters long.
    pub(crate) fn text(&self, name: &str, most: usize) -> Result<Option<&str>, ApiError> {
        let mut named = self.0.iter().rev().filter(|(known, _)| known == name);
        let value = named
            .next()
            .map(|(_, value)| &**value)
            .filter(|value| !value.is_empty());
        if let Some(value) = value {
            check_length(name, value, most)?;
        }
        Ok(value)
    }

    /// Iterates over the texts of all parameters with a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| &**value)
    }

    /// The text of a parameter that may not be repeated.
    #[cfg(all(feature = "console", feature = "oidc"))]
    pub(crate) fn text_once(&self, name: &str, most: usize) -> Result<Option<&str>, ApiError> {
        if self.0.iter().filter(|(known, _)| known == name).count() > 1 {
            let text = format!("`{name}` is there more than once");
            return Err(ApiError::unreadable("INVALID_QUERY", text));
        }
        self.text(name, most)
    }

    /// The time of a parameter.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let text = self.text(name, LONGEST_TIME)?;
        text.map(|text| parse_time(name, text)).transpose()
    }

    /// The parameter `limit`: the number of items in a page. Larger numbers than `most` count as
    /// `most`.
    pub(crate) fn limit(&self, default: usize, most: usize) -> Result<usize, ApiError> {
        let Some(text) = self.text("limit", 64)? else {
            return Ok(default);
        };
        match text.parse() {
            Ok(limit) if limit > 0 => Ok(most.min(limit)),
            _ => Err(ApiError::unreadable(
                "INVALID_QUERY",
                format!("`limit` has to be a whole number from 1 to {most}"),
            )),
        }
    }

    /// The number in the parameter `cursor`, which starts with `prefix`.
    pub(crate) fn cursor(&self, prefix: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text("cursor", 64)? else {
            return Ok(None);
        };
        let number = text.strip_prefix(prefix).map(str::parse);
        match number {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(ApiError::unreadable(
                "INVALID_QUERY",
                "`cursor` is malformed: send the `next_cursor` of the previous page unchanged",
            )),
        }
    }
}

/// Decodes a name or a value of a query.
fn decode(text: &str) -> Result<String, ApiError> {
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ApiError::unreadable(
            "INVALID_QUERY",
            "a parameter of the query is not UTF-8",
        )),
    }
}

/// Checks that the text of a parameter or of a field has at most `most` characters.
pub(crate) fn check_length(name: &str, text: &str, most: usize) -> Result<(), ApiError> {
    match text.chars().nth(most) {
        None => Ok(()),
        Some(_) => Err(ApiError::unreadable(
            "INVALID_QUERY",
            format!("`{name}` has more than {most} characters"),
        )),
    }
}

/// Parses an ISO 8601 time. A time without an offset is in UTC, and a date is its first moment.
pub(crate) fn parse_time(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).map(|time| time.timestamp());
    text.parse::<Timestamp>()
        .or_else(|_| text.parse::<DateTime>().and_then(utc))
        .or_else(|_| text.parse::<Date>().and_then(|day| utc(day.into())))
        .map_err(|_| {
            ApiError::unreadable(
                "INVALID_TIME",
                format!("`{name}` is not an ISO 8601 time such as `2026-11-01T09:00:00Z`"),
            )
        })
}

/// Checks the length of a reason. A missing reason is the empty text.
pub(crate) fn check_reason(reason: Option<String>) -> Result<String, ApiError> {
    let reason = reason.unwrap_or_default();
    if reason.len() > MAX_REASON {
        let text = format!("`reason` has more than {MAX_REASON} bytes");
        return Err(ApiError::invalid(text));
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
                parse_time("from", text).unwrap().to_string(),
                "2026-11-01T09:00:00Z"
            );
        }
        let day = parse_time("from", "2026-11-01").unwrap();
        assert_eq!(day.to_string(), "2026-11-01T00:00:00Z");
        for text in ["yesterday", "2026-13-01", "1767268800", ""] {
            assert_eq!(
                parse_time("from", text).unwrap_err().code,
                "INVALID_TIME",
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_decoded_as_values_are() {
        for query in [
            "actor_id=a+b",
            "actor%5Fid=a%20b",
            "%61ctor_id=%61+b",
            "actor_id=x&actor%5fid=a+b",
        ] {
            let query = Query::parse(query).unwrap();
            assert_eq!(query.text("actor_id", 9).unwrap(), Some("a b"), "{query:?}");
        }
        for query in ["%FF=a", "actor_id%FF=a", "a=%FF", "%C3"] {
            assert_eq!(
                Query::parse(query).unwrap_err().code,
                "INVALID_QUERY",
                "{query}"
            );
        }
    }

    #[test]
    fn a_limit_is_a_whole_number_from_1_on_and_bounded() {
        let limit = |query: &str| Query::parse(query).unwrap().limit(50, 500);
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
            let query = Query::parse(&format!("cursor={cursor}")).unwrap();
            query.cursor("after_")
        };
        assert_eq!(after("after_7"), Ok(Some(7)));
        assert_eq!(after(""), Ok(None));
        for text in ["7", "after_", "after_-1", "after_x", "before_7"] {
            assert!(after(text).is_err(), "{text}");
        }
    }
}
