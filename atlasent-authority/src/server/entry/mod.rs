//! The gate before all endpoints of the contract: each request passes it, and each answer leaves
//! through it.

pub(crate) mod admission;
pub(crate) mod caller;
mod client_address;
pub(crate) mod deadline;
mod rate;
pub(crate) mod request_id;
pub(crate) mod wrong_keys;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use crate::keys::ApiKey;
use crate::server::api_error::{Problem, Refused};
use crate::server::app::App;
use crate::server::input::body;
use crate::server::log_limit::OUTAGES;
use crate::store::{RateCounter, Store};
use caller::ApiCaller;
use deadline::Deadline;
use rate::Rate;
use request_id::{REQUEST_ID, RequestId};

/// The state of [`pass`].
pub(crate) struct Entry<S> {
    pub(crate) app: Arc<App<S>>,
    /// How long a request may take.
    pub(crate) timeout: Duration,
}

impl<S> Clone for Entry<S> {
    fn clone(&self) -> Self {
        Self {
            app: Arc::clone(&self.app),
            timeout: self.timeout,
        }
    }
}

/// Passes a request on to its endpoint if its caller may make it; logs and counts the answer.
pub(crate) async fn pass<S: Store + RateCounter>(
    State(Entry { app, timeout }): State<Entry<S>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = RequestId::from_headers(request.headers());
    request.extensions_mut().insert(id.clone());
    let endpoint = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = endpoint.as_ref().map_or("unknown", MatchedPath::as_str);
    let mut seen = Seen {
        address: caller::address(&app, &request),
        key: None,
        rate: None,
    };
    let deadline = Deadline::after(timeout);
    let answered = answer(&app, request, next, &id, deadline, &mut seen).await;
    let mut response = answered.unwrap_or_else(|problem| problem.respond(&id.0));
    let headers = response.headers_mut();
    if let Some(rate) = &seen.rate {
        rate.tell(headers);
    }
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
    let refused = response.extensions().get::<Refused>();
    let refused = refused.map(|refused| refused.0);
    let status = response.status();
    let took = started.elapsed();
    app.metrics.answered(endpoint, status, refused, took);
    if refused == Some(caller::THROTTLED) {
        // Not a line a request: a flood of wrong keys would fill the disk.
        if let Some(suppressed) = OUTAGES.admit("wrong API keys are throttled") {
            let client = seen.address.map(tracing::field::display);
            tracing::warn!(target: "atlasent", client, suppressed, "wrong API keys are throttled");
        }
        return response;
    }
    tracing::info!(
        target: "atlasent::access",
        request_id = id.0,
        endpoint,
        status = status.as_u16(),
        key_id = seen.key.as_ref().map(|key| &*key.key_id),
        client = seen.address.map(tracing::field::display),
        code = refused,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// What the gate learned about a request, however far that came: for the log, and the headers of
/// the answer.
struct Seen {
    address: Option<IpAddr>,
    key: Option<Arc<ApiKey>>,
    rate: Option<Rate>,
}

async fn answer<S: Store + RateCounter>(
    app: &App<S>,
    mut request: Request,
    next: Next,
    id: &RequestId,
    deadline: Deadline,
    seen: &mut Seen,
) -> Result<Response, Problem> {
    let caller = ApiCaller::authenticate(app, &request, seen.address, id)?;
    let key = &*seen.key.insert(Arc::clone(&caller.key));
    caller.check_network()?;
    let _place = app.places.take(key, app.keys.len() == 1)?;
    let rate = deadline.run(Rate::count(app, key)).await??;
    seen.rate = Some(rate);
    rate.check()?;
    request.extensions_mut().insert(caller);
    let request = request.map(|body| body::timed(body, app.settings.body_timeout));
    deadline.run(next.run(request)).await
}
