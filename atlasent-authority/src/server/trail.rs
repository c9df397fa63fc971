//! The endpoints of the audit trail: its events page by page, and signed exports.

use std::io::Cursor;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tokio::time::Instant;

use super::app::App;
use super::body;
use super::caller::ApiCaller;
use super::problem::Problem;
use super::reading::unreadable;
use crate::event_types::{self, EVENT_TYPES};
use crate::export::export as signed_export;
use crate::keys::Scope;
use crate::store::{EventFilter, Store, StoreError};

/// How many events a page has unasked, and at the most (contract, part B).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// A page ends with the event by which its payloads have so many bytes. An event has less than 3 MiB, so
/// that a page has less than 8 MB.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A page of so many bytes needs no place while it is sent.
const SMALL_PAGE: usize = 64 * 1024;

/// How many types are asked for at the most, and how long a name is (contract, part B).
const MOST_TYPES: usize = 64;
const LONGEST_NAME: usize = 256;

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
    #[serde(skip)]
    is_query: bool,
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
    let answered = async {
        let deadline = Instant::now() + app.settings.request_timeout;
        client.may(Scope::AuditRead)?;
        let wanted = Wanted::of_query(uri.query().unwrap_or_default())?;
        let (filter, limit, after) = (wanted.filter()?, wanted.limit()?, wanted.after()?);
        let lane = &app.readers.pages;
        let place = lane.place().await?;
        let page = page(Arc::clone(&app), filter, limit, after);
        let page = lane.run(page).await??;
        if page.len() <= SMALL_PAGE {
            return Ok(([JSON], page).into_response());
        }
        let length = page.len() as u64;
        let body = lane.body(Cursor::new(page), length, place, deadline)?;
        Ok::<_, Problem>(with_length(body, length))
    };
    match answered.await {
        Ok(response) => response,
        Err(problem) => problem.respond(&client.request_id),
    }
}

/// The JSON of a page. It is written event by event, so that the events are in memory once.
async fn page<S: Store>(
    app: Arc<App<S>>,
    filter: EventFilter,
    limit: usize,
    after: u64,
) -> Result<Vec<u8>, Problem> {
    let store = app.authority.store();
    let total = store.count_events(&filter).await.map_err(unreadable)?;
    let filter = filter.most_bytes(PAGE_BYTES);
    // One more tells whether there is another page.
    let events = store.events(after, limit + 1, &filter).await;
    let mut events = events.map_err(unreadable)?;
    let bytes: usize = events.iter().map(|event| event.payload.len()).sum();
    let mut more = events.len() > limit;
    events.truncate(limit);
    let last = events.last().map(|event| event.sequence);
    if let Some(last) = last
        && !more
        && bytes >= PAGE_BYTES
    {
        let rest = store.events(last, 1, &filter).await;
        more = !rest.map_err(unreadable)?.is_empty();
    }
    let mut json = Vec::with_capacity(bytes + 1_024 * (events.len() + 1));
    json.extend_from_slice(b"{\"events\":[");
    for (place, event) in events.into_iter().enumerate() {
        if place > 0 {
            json.push(b',');
        }
        let event = event.to_event().map_err(unwritable)?;
        serde_json::to_writer(&mut json, &event).map_err(unwritable)?;
    }
    json.extend_from_slice(format!("],\"total\":{total}").as_bytes());
    if let Some(last) = last.filter(|_| more) {
        json.extend_from_slice(format!(",\"next_cursor\":\"{}\"", cursor(last)).as_bytes());
    }
    json.push(b'}');
    Ok(json)
}

/// `POST /v1-audit/exports`
pub(super) async fn export<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let exported = async {
        let deadline = Instant::now() + app.settings.export_timeout;
        client.may(Scope::AuditExport)?;
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body).await?;
        let wanted: Wanted = body::parse(&bytes)?;
        let filter = wanted.filter()?;
        let lane = &app.readers.exports;
        let place = lane.place().await?;
        let exporting = {
            let app = Arc::clone(&app);
            async move {
                let authority = &app.authority;
                signed_export(authority.store(), &filter, &app.signing, &*authority.clock).await
            }
        };
        let bundle = lane.run(exporting).await?.map_err(unreadable)?;
        let length = bundle.byte_len();
        let body = lane.body(bundle, length, place, deadline)?;
        Ok::<_, Problem>(with_length(body, length))
    };
    match exported.await {
        Ok(response) => response,
        Err(problem) => problem.respond(&client.request_id),
    }
}

const JSON: (HeaderName, HeaderValue) = (
    header::CONTENT_TYPE,
    HeaderValue::from_static("application/json"),
);

/// A JSON answer of so many bytes.
fn with_length(body: Body, length: u64) -> Response {
    let length = (header::CONTENT_LENGTH, HeaderValue::from(length));
    ([JSON, length], body).into_response()
}

impl Wanted {
    fn of_query(query: &str) -> Result<Self, Problem> {
        let mut wanted = Self {
            is_query: true,
            ..Self::default()
        };
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
        let mut filter = EventFilter::default().types(self.types()?);
        if let Some(agent) = &self.actor_id {
            if agent.chars().count() > LONGEST_NAME {
                return Err(self.refuse(format!(
                    "`actor_id` has {LONGEST_NAME} characters at the most"
                )));
            }
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

    /// The types that are asked for: each one that the chain can have.
    fn types(&self) -> Result<Vec<&str>, Problem> {
        let types: Vec<&str> = match &self.types {
            None => Vec::new(),
            Some(Types::Joined(list)) => list.split(',').collect(),
            Some(Types::List(list)) => list.iter().map(String::as_str).collect(),
        };
        if types.len() > MOST_TYPES {
            return Err(self.refuse(format!("`types` has {MOST_TYPES} entries at the most")));
        }
        let types = types.into_iter().map(str::trim);
        let types: Vec<_> = types.filter(|kind| !kind.is_empty()).collect();
        for (place, kind) in types.iter().enumerate() {
            if EVENT_TYPES.contains(kind) {
                continue;
            }
            // Not the text itself: it may hold anything.
            let hint = match event_types::most_like(kind) {
                Some(like) => format!("did you mean `{like}`?"),
                None => format!("use one of {}", EVENT_TYPES.join(", ")),
            };
            let place = place + 1;
            return Err(self.refuse(format!("entry {place} of `types` is no event type: {hint}")));
        }
        Ok(types)
    }

    /// Refuses a value that breaks a rule.
    fn refuse(&self, message: String) -> Problem {
        match self.is_query {
            true => Problem::unreadable("INVALID_QUERY", message),
            false => Problem::invalid(message),
        }
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

fn unwritable(error: serde_json::Error) -> Problem {
    unreadable(StoreError::failed(error))
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
        let wanted = Wanted::of_query(
            "types=stop.set%2Cstop.lifted,policy.error&actor_id=J%C3%BCrgen+K&from=&x=1&limit=9999",
        );
        let wanted = wanted.unwrap();
        let filter = wanted.filter().unwrap();
        assert_eq!(
            filter,
            EventFilter::default()
                .types(["stop.set", "stop.lifted", "policy.error"])
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
