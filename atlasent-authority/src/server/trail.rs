//! The endpoints of the audit trail: its events page by page, and signed exports.

use std::sync::Arc;

use atlasent::audit::Event;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::body;
use super::caller::ApiCaller;
use super::problem::{Problem, log_outage};
use crate::keys::Scope;
use crate::store::{EventFilter, Store};

/// How many events a page has unasked, and at the most (contract, part B).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// Which events are asked for, from a query or a body.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    types: Option<Types>,
    actor_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    // An export has no pages.
    #[serde(skip)]
    limit: Option<String>,
    #[serde(skip)]
    cursor: Option<String>,
}

/// A list, or its items behind commas.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Types {
    Joined(String),
    List(Vec<String>),
}

/// `GET /v1-audit/events`
pub(super) async fn events<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    uri: Uri,
) -> Response {
    #[derive(Serialize)]
    struct Page {
        events: Vec<Event>,
        total: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let page = async {
        client.may(Scope::AuditRead)?;
        let wanted = Wanted::of_query(uri.query().unwrap_or_default())?;
        let filter = wanted.filter()?;
        let (limit, after) = (wanted.limit()?, wanted.after()?);
        let total = app.authority.store().count_events(&filter).await;
        let total = total.map_err(unreadable)?;
        // One more tells whether there is another page.
        let mut events = app.authority.events(after, limit + 1, &filter).await?;
        let more = events.len() > limit;
        events.truncate(limit);
        let last = events.last().filter(|_| more);
        let next_cursor = last.map(|event| cursor(event.envelope.sequence));
        Ok::<_, Problem>(Page {
            events,
            total,
            next_cursor,
        })
    };
    match page.await {
        Ok(page) => Json(page).into_response(),
        Err(problem) => problem.respond(&client.request_id),
    }
}

/// `POST /v1-audit/exports`
pub(super) async fn export<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let exported = async {
        client.may(Scope::AuditExport)?;
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body).await?;
        let wanted: Wanted = body::parse(&bytes)?;
        let bundle = app
            .authority
            .export(&wanted.filter()?, &app.signing)
            .await?;
        let length = HeaderValue::from(bundle.byte_len());
        let mut response = Body::from_stream(super::reading::stream(bundle)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CONTENT_LENGTH, length);
        Ok::<_, Problem>(response)
    };
    match exported.await {
        Ok(response) => response,
        Err(problem) => problem.respond(&client.request_id),
    }
}

impl Wanted {
    fn of_query(query: &str) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value)
                .decode_utf8()
                .map_err(|_| Problem::unreadable("INVALID_QUERY", "a parameter is not UTF-8"))?;
            let value = Some(value.into_owned()).filter(|value| !value.is_empty());
            match name {
                "types" => wanted.types = value.map(Types::Joined),
                "actor_id" => wanted.actor_id = value,
                "from" => wanted.from = value,
                "to" => wanted.to = value,
                "limit" => wanted.limit = value,
                "cursor" => wanted.cursor = value,
                // Unknown ones are tolerated, as unknown fields are.
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn filter(&self) -> Result<EventFilter, Problem> {
        let mut filter = EventFilter::default();
        let types: Vec<&str> = match &self.types {
            None => Vec::new(),
            Some(Types::Joined(list)) => list.split(',').collect(),
            Some(Types::List(list)) => list.iter().map(String::as_str).collect(),
        };
        let types = types
            .into_iter()
            .map(str::trim)
            .filter(|kind| !kind.is_empty());
        filter = filter.types(types);
        if let Some(agent) = &self.actor_id {
            filter = filter.actor_id(agent);
        }
        if let Some(from) = &self.from {
            filter = filter.since(time("from", from)?);
        }
        if let Some(to) = &self.to {
            filter = filter.until(time("to", to)?);
        }
        Ok(filter)
    }

    fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = &self.limit else {
            return Ok(PAGE);
        };
        match text.parse() {
            Ok(limit) if limit > 0 => Ok(LARGEST_PAGE.min(limit)),
            _ => Err(Problem::unreadable(
                "INVALID_QUERY",
                "`limit` has to be a whole number from 1 on; a page has 500 events at the most",
            )),
        }
    }

    /// The sequence number that the page starts behind.
    fn after(&self) -> Result<u64, Problem> {
        let Some(text) = &self.cursor else {
            return Ok(0);
        };
        let number = text.strip_prefix("after_");
        number
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| {
                Problem::unreadable(
                    "INVALID_QUERY",
                    "`cursor` is none of ours: send the `next_cursor` of the page before as it is",
                )
            })
    }
}

fn cursor(sequence: u64) -> String {
    format!("after_{sequence}")
}

/// ISO 8601: a time with its offset, one without, which is taken for UTC, or a day.
fn time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).map(|time| time.timestamp());
    text.parse::<Timestamp>()
        .or_else(|_| text.parse::<DateTime>().and_then(utc))
        .or_else(|_| text.parse::<Date>().and_then(|day| utc(day.into())))
        .map_err(|_| {
            Problem::unreadable(
                "INVALID_TIME",
                format!("`{name}` is no ISO 8601 time such as `2026-11-01T09:00:00Z`"),
            )
        })
}

fn unreadable(error: crate::store::StoreError) -> Problem {
    let cause = error.to_string();
    log_outage("events cannot be counted", "count events", Some(&cause));
    Problem::unavailable(
        "STORE_UNAVAILABLE",
        "the events could not be counted: try again",
    )
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
    fn a_query_is_read_with_its_escapes() {
        let wanted = Wanted::of_query("types=a%2Cb,c&actor_id=J%C3%BCrgen+K&from=&x=1&limit=9999");
        let wanted = wanted.unwrap();
        let filter = wanted.filter().unwrap();
        assert_eq!(
            filter,
            EventFilter::default()
                .types(["a", "b", "c"])
                .actor_id("Jürgen K")
        );
        assert_eq!(wanted.limit().unwrap(), 500);
        assert!(Wanted::of_query("actor_id=%FF").is_err());
        for query in ["limit=0", "limit=-1", "limit=x", "limit=1.5"] {
            assert!(Wanted::of_query(query).unwrap().limit().is_err(), "{query}");
        }
    }

    #[test]
    fn a_cursor_is_one_of_ours() {
        let after = |cursor: &str| {
            let wanted = Wanted {
                cursor: Some(cursor.to_owned()),
                ..Wanted::default()
            };
            wanted.after()
        };
        assert_eq!(after(&cursor(7)), Ok(7));
        for text in ["7", "after_", "after_-1", "after_x"] {
            assert!(after(text).is_err(), "{text}");
        }
    }
}
