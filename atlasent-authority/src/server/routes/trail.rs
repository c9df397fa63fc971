//! The endpoints of the audit trail: pages of events, and signed exports.

use std::io::Cursor;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::Instant;

use crate::keys::ApiScope;
use crate::local::failed;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::query::{LONGEST_TIME, Query, parse_time};
use crate::server::read_pool::store_error;
use crate::store::{Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::event_types::{self, EVENT_TYPES};
use crate::trail::export::export as signed_export;

/// The default number of events in a page, and the largest (contract, part B).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// The events that are read for a page end with the one by which their payloads reach this many
/// bytes.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// The largest page in bytes. An event that would make it larger is on the next page. An event that
/// is larger by itself is a page of its own: programs can record one in their own process, but a
/// request over HTTP cannot, since its body has at most 1 MiB.
const PAGE_BYTES: usize = 8_000_000;

/// The most bytes that a page has after its events: the total and the cursor.
const END_BYTES: usize = 100;

/// A page of at most this many bytes holds no read slot while it is sent.
const SMALL_PAGE: usize = 64 * 1024;

/// The largest number of types in a filter, and the longest name in characters (contract, part B).
const MAX_TYPES: usize = 64;
const LONGEST_NAME: usize = 256;

/// The longest list of types, in characters.
const LONGEST_LIST: usize = MAX_TYPES * (LONGEST_NAME + 1);

/// The start of a page's cursor, before the sequence number of the page's last event.
const CURSOR: &str = "after_";

/// The filter of a request for events, from its query or its body.
#[derive(Debug, Default, Deserialize)]
struct EventQuery {
    types: Option<TypeList>,
    actor_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    #[serde(skip)]
    is_query: bool,
}

/// A list of event types: an array, or one text with commas.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "`types` has to be a list of event types, or one text with commas"
)]
enum TypeList {
    Joined(String),
    List(Vec<String>),
}

/// Answers `GET /v1-audit/events`.
pub(super) async fn events<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let deadline = Instant::now() + app.settings.request_timeout;
    caller.require_scope(ApiScope::AuditRead)?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let filter = EventQuery::from_query(&query)?.filter()?;
    let limit = query.limit(PAGE, LARGEST_PAGE)?;
    let after = query.cursor(CURSOR)?.unwrap_or(0);
    let pool = &app.read_pools.pages;
    let slot = pool.slot(&caller.key.org_id).await?;
    let page = write_page(caller, filter, limit, after);
    let page = pool.run(page).await??;
    if page.len() <= SMALL_PAGE {
        return Ok(([JSON], page).into_response());
    }
    let length = page.len() as u64;
    let body = pool.body(Cursor::new(page), length, slot, deadline)?;
    Ok(with_length(body, length))
}

/// Writes a page as JSON, event by event, so that the events are in memory once.
async fn write_page<S: Store>(
    caller: Arc<ApiCaller<S>>,
    filter: EventFilter,
    limit: usize,
    after: u64,
) -> Result<Vec<u8>, ApiError> {
    let store = caller.authority().store();
    let total = store.count_events(&filter).await;
    let total = total.map_err(store_error(failed::COUNT))?;
    let filter = filter.most_bytes(READ_BYTES);
    // One more event than the page tells whether there is another page.
    let events = store.events(after, limit + 1, &filter).await;
    let mut events = events.map_err(store_error(failed::EVENTS))?;
    let bytes: usize = events.iter().map(|event| event.payload.len()).sum();
    let mut more = events.len() > limit;
    events.truncate(limit);
    let last = events.last().map(|event| event.sequence);
    if let Some(last) = last
        && !more
        && bytes >= READ_BYTES
    {
        let rest = store.events(last, 1, &filter).await;
        more = !rest.map_err(store_error(failed::EVENTS))?.is_empty();
    }
    let mut json = Vec::with_capacity(bytes + 1_024 * (events.len() + 1));
    json.extend_from_slice(b"{\"events\":[");
    let mut written = None;
    for event in events {
        let end = json.len();
        if written.is_some() {
            json.push(b',');
        }
        let sequence = event.sequence;
        let event = event.to_event().map_err(unwritable)?;
        serde_json::to_writer(&mut json, &event).map_err(unwritable)?;
        if written.is_some() && json.len() + END_BYTES > PAGE_BYTES {
            json.truncate(end);
            more = true;
            break;
        }
        written = Some(sequence);
    }
    json.extend_from_slice(format!("],\"total\":{total}").as_bytes());
    if let Some(last) = written.filter(|_| more) {
        json.extend_from_slice(format!(",\"next_cursor\":\"{CURSOR}{last}\"").as_bytes());
    }
    json.push(b'}');
    Ok(json)
}

/// Answers `POST /v1-audit/exports`.
pub(super) async fn export<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<Response, ApiError> {
    let deadline = Instant::now() + app.settings.export_timeout;
    caller.require_scope(ApiScope::AuditExport)?;
    let query: EventQuery = body::read_json(request, &caller).await?;
    let filter = query.filter()?;
    let pool = &app.read_pools.exports;
    let slot = pool.slot(&caller.key.org_id).await?;
    let exporting = {
        let app = Arc::clone(&app);
        async move {
            let authority = caller.authority();
            signed_export(authority.store(), &filter, &app.signing, &*authority.clock).await
        }
    };
    let bundle = pool.run(exporting).await?;
    let bundle = bundle.map_err(store_error(failed::EXPORT))?;
    let length = bundle.byte_len();
    let body = pool.body(bundle, length, slot, deadline)?;
    Ok(with_length(body, length))
}

const JSON: (HeaderName, HeaderValue) = (
    header::CONTENT_TYPE,
    HeaderValue::from_static("application/json"),
);

/// Builds a JSON response of `length` bytes.
fn with_length(body: Body, length: u64) -> Response {
    let length = (header::CONTENT_LENGTH, HeaderValue::from(length));
    ([JSON, length], body).into_response()
}

impl EventQuery {
    fn from_query(query: &Query) -> Result<Self, ApiError> {
        let text = |name, most| Ok::<_, ApiError>(query.text(name, most)?.map(str::to_owned));
        Ok(Self {
            types: text("types", LONGEST_LIST)?.map(TypeList::Joined),
            actor_id: text("actor_id", LONGEST_NAME)?,
            from: text("from", LONGEST_TIME)?,
            to: text("to", LONGEST_TIME)?,
            is_query: true,
        })
    }

    fn filter(&self) -> Result<EventFilter, ApiError> {
        let mut filter = EventFilter::default().types(self.types()?);
        if let Some(agent) = &self.actor_id {
            if agent.chars().count() > LONGEST_NAME {
                return Err(self.refuse(format!(
                    "`actor_id` may have at most {LONGEST_NAME} characters"
                )));
            }
            filter = filter.actor_id(agent);
        }
        if let Some(from) = &self.from {
            filter = filter.since(parse_time("from", from)?);
        }
        if let Some(to) = &self.to {
            filter = filter.until(parse_time("to", to)?);
        }
        Ok(filter)
    }

    /// Returns the types, after checking that each is an event type.
    fn types(&self) -> Result<Vec<&str>, ApiError> {
        let types: Vec<&str> = match &self.types {
            None => Vec::new(),
            Some(TypeList::Joined(list)) => list.split(',').collect(),
            Some(TypeList::List(list)) => list.iter().map(String::as_str).collect(),
        };
        if types.len() > MAX_TYPES {
            return Err(self.refuse(format!("`types` may have at most {MAX_TYPES} entries")));
        }
        let types = types.into_iter().map(str::trim);
        let types: Vec<_> = types.filter(|kind| !kind.is_empty()).collect();
        for (index, kind) in types.iter().enumerate() {
            if EVENT_TYPES.contains(kind) {
                continue;
            }
            // The message does not repeat the text, which may hold anything.
            let hint = match event_types::most_like(kind) {
                Some(like) => format!("did you mean `{like}`?"),
                None => format!("use one of {}", EVENT_TYPES.join(", ")),
            };
            let number = index + 1;
            return Err(self.refuse(format!(
                "entry {number} of `types` is not an event type: {hint}"
            )));
        }
        Ok(types)
    }

    /// The error for a value that breaks a rule.
    fn refuse(&self, message: String) -> ApiError {
        match self.is_query {
            true => ApiError::unreadable("INVALID_QUERY", message),
            false => ApiError::invalid(message),
        }
    }
}

fn unwritable(error: serde_json::Error) -> ApiError {
    store_error(failed::EVENTS)(StoreError::failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_with_its_escapes() {
        let filter_of = |query: &str| EventQuery::from_query(&Query::parse(query)?)?.filter();
        let filter = filter_of(
            "types=stop.set%2Cstop.lifted,policy.error&actor_id=J%C3%BCrgen+K&from=&x=1&limit=9999",
        )
        .unwrap();
        assert_eq!(
            filter,
            EventFilter::default()
                .types(["stop.set", "stop.lifted", "policy.error"])
                .actor_id("Jürgen K")
        );
        assert!(filter_of("actor_id=%FF").is_err());
        let long = format!("actor_id={}", "ü".repeat(LONGEST_NAME + 1));
        assert_eq!(filter_of(&long).unwrap_err().code, "INVALID_QUERY");
    }
}
