//! The endpoints of the audit trail: its events page by page, and signed exports.

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
use crate::server::api_error::Problem;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::query::{LONGEST_TIME, Query, time};
use crate::server::read_pool::unreadable;
use crate::store::{Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::event_types::{self, EVENT_TYPES};
use crate::trail::export::export as signed_export;

/// How many events a page has unasked, and at the most (contract, part B).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// A page ends with the event by which its payloads have so many bytes. An event has less than 3
/// MiB, so that a page has less than 8 MB.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A page of so many bytes needs no place while it is sent.
const SMALL_PAGE: usize = 64 * 1024;

/// How many types are asked for at the most, and how long a name is (contract, part B).
const MOST_TYPES: usize = 64;
const LONGEST_NAME: usize = 256;

/// How many characters a list of types has at the most.
const LONGEST_LIST: usize = MOST_TYPES * (LONGEST_NAME + 1);

/// What the cursor of a page begins with, before the sequence number of its last event.
const CURSOR: &str = "after_";

/// Which events are asked for, from a query or a body.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    types: Option<Types>,
    actor_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
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
pub(crate) async fn events<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    uri: Uri,
) -> Response {
    let answered = async {
        let deadline = Instant::now() + app.settings.request_timeout;
        client.may(ApiScope::AuditRead)?;
        let query = Query::read(uri.query().unwrap_or_default())?;
        let filter = Wanted::from_query(&query)?.filter()?;
        let limit = query.limit(PAGE, LARGEST_PAGE)?;
        let after = query.cursor(CURSOR)?.unwrap_or(0);
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
    let total = store.count_events(&filter).await;
    let total = total.map_err(unreadable(failed::COUNT))?;
    let filter = filter.most_bytes(PAGE_BYTES);
    // One more tells whether there is another page.
    let events = store.events(after, limit + 1, &filter).await;
    let mut events = events.map_err(unreadable(failed::EVENTS))?;
    let bytes: usize = events.iter().map(|event| event.payload.len()).sum();
    let mut more = events.len() > limit;
    events.truncate(limit);
    let last = events.last().map(|event| event.sequence);
    if let Some(last) = last
        && !more
        && bytes >= PAGE_BYTES
    {
        let rest = store.events(last, 1, &filter).await;
        more = !rest.map_err(unreadable(failed::EVENTS))?.is_empty();
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
        json.extend_from_slice(format!(",\"next_cursor\":\"{CURSOR}{last}\"").as_bytes());
    }
    json.push(b'}');
    Ok(json)
}

/// `POST /v1-audit/exports`
pub(crate) async fn export<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    let exported = async {
        let deadline = Instant::now() + app.settings.export_timeout;
        client.may(ApiScope::AuditExport)?;
        let bytes = body::read(request).await?;
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
        let bundle = lane.run(exporting).await?;
        let bundle = bundle.map_err(unreadable(failed::EXPORT))?;
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
    fn from_query(query: &Query) -> Result<Self, Problem> {
        let text = |name, most| Ok::<_, Problem>(query.text(name, most)?.map(str::to_owned));
        Ok(Self {
            types: text("types", LONGEST_LIST)?.map(Types::Joined),
            actor_id: text("actor_id", LONGEST_NAME)?,
            from: text("from", LONGEST_TIME)?,
            to: text("to", LONGEST_TIME)?,
            is_query: true,
        })
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
}

fn unwritable(error: serde_json::Error) -> Problem {
    unreadable(failed::EVENTS)(StoreError::failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_with_its_escapes() {
        let wanted = |query: &str| Wanted::from_query(&Query::read(query)?)?.filter();
        let filter = wanted(
            "types=stop.set%2Cstop.lifted,policy.error&actor_id=J%C3%BCrgen+K&from=&x=1&limit=9999",
        )
        .unwrap();
        assert_eq!(
            filter,
            EventFilter::default()
                .types(["stop.set", "stop.lifted", "policy.error"])
                .actor_id("Jürgen K")
        );
        assert!(wanted("actor_id=%FF").is_err());
        let long = format!("actor_id={}", "ü".repeat(LONGEST_NAME + 1));
        assert_eq!(wanted(&long).unwrap_err().code, "INVALID_QUERY");
    }
}
