//! What each request passes before its endpoint: authentication, the limits, and the log.
//!
//! In this order: the request id, the API key and its networks (`audience`, `caller`), a
//! concurrency slot (`admission`), the key's organization, the rates of both (`rate`), and the time
//! limit of the whole (`deadline`). The requests of an organization that crowds others run in
//! `turns`.

pub(crate) mod admission;
mod audience;
pub(crate) mod caller;
mod client_address;
pub(crate) mod deadline;
mod rate;
pub(crate) mod request_id;
pub(crate) mod schema;
pub(crate) mod turns;
pub(crate) mod wrong_keys;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::api_error::ApiError;
use super::app::App;
use super::input::body;
use super::log_limit::OUTAGES;
use crate::keys::ApiKey;
use crate::store::{RateCounter, Store};
pub(crate) use audience::Audience;
use audience::ErrorForm;
use caller::{ApiCaller, TOO_MANY_WRONG_KEYS};
use deadline::Deadline;
use rate::Rate;
use request_id::{REQUEST_ID, RequestId};

/// The state of [`pass`].
pub(crate) struct Entry<S> {
    pub(crate) app: Arc<App<S>>,
    /// The longest time that a request may take.
    pub(crate) timeout: Duration,
    /// Which slots its requests take.
    pub(crate) slots: SlotKind,
    /// The senders of its requests.
    pub(crate) audience: Audience,
}

/// The slots that requests take while they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    /// Requests that are answered as soon as possible.
    Requests,
    /// Requests that wait for people. They do nothing meanwhile, and take no slot from the others.
    Waits,
}

impl<S> Clone for Entry<S> {
    fn clone(&self) -> Self {
        Self {
            app: Arc::clone(&self.app),
            timeout: self.timeout,
            slots: self.slots,
            audience: self.audience,
        }
    }
}

/// Passes a request on to its endpoint if its caller may make it. Logs and counts the response.
pub(crate) async fn pass<S: Store + RateCounter>(
    State(Entry {
        app,
        timeout,
        slots,
        audience,
    }): State<Entry<S>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = RequestId::from_headers(request.headers());
    request.extensions_mut().insert(id.clone());
    let endpoint = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = endpoint.as_ref().map_or("unknown", MatchedPath::as_str);
    let mut record = AccessRecord {
        address: caller::address(&app, &request),
        key: None,
        rate: None,
    };
    let form = ErrorForm::new(audience, &request);
    let deadline = Deadline::after(timeout);
    let kinds = (slots, audience);
    let answered = answer(&app, kinds, request, (next, &id, deadline), &mut record).await;
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    let error = response.extensions_mut().remove::<ApiError>();
    let error = error.or_else(|| form.error_of(&response));
    if let Some(error) = &error {
        response = form.respond(error, &id);
    }
    let headers = response.headers_mut();
    if let Some(rate) = &record.rate {
        rate.write_headers(headers);
    }
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
    let status = response.status();
    let code = error.map(|error| error.code);
    let took = started.elapsed();
    app.metrics.count_response(endpoint, status, code, took);
    if code == Some(TOO_MANY_WRONG_KEYS) {
        // One line a second instead of one a request: a flood of wrong keys would fill the disk.
        if let Some(suppressed) = OUTAGES.allow("wrong API keys are throttled") {
            let client = record.address.map(tracing::field::display);
            tracing::warn!(target: "atlasent", client, suppressed, "wrong API keys are throttled");
        }
        return response;
    }
    tracing::info!(
        target: "atlasent::access",
        request_id = id.0,
        endpoint,
        status = status.as_u16(),
        org_id = record.key.as_ref().map(|key| key.org_id.as_str()),
        key_id = record.key.as_ref().map(|key| &*key.key_id),
        client = record.address.map(tracing::field::display),
        code,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    response
}

/// The facts about a request for its log line and its response headers. They are filled in step by
/// step, so a refused request has the facts that were found before its refusal.
struct AccessRecord {
    address: Option<IpAddr>,
    key: Option<Arc<ApiKey>>,
    rate: Option<Rate>,
}

async fn answer<S: Store + RateCounter>(
    app: &App<S>,
    (slots, audience): (SlotKind, Audience),
    mut request: Request,
    (next, id, deadline): (Next, &RequestId, Deadline),
    record: &mut AccessRecord,
) -> Result<Response, ApiError> {
    let credentials = audience.authenticate(app, &mut request, record.address);
    let Some(credentials) = credentials.await? else {
        // Slots are shared out among API keys, so a visitor holds none.
        let request = request.map(|body| body::with_timeout(body, app.settings.body_timeout));
        return deadline.run(next.run(request)).await;
    };
    let key = Arc::clone(&credentials.key);
    record.key = Some(Arc::clone(&key));
    credentials.check_network(record.address)?;
    let slots = match slots {
        SlotKind::Requests => &app.slots,
        SlotKind::Waits => &app.waits,
    };
    let slot = slots.take(&key, app.sharing(&key.org_id))?;
    let answering = async {
        let org = deadline.run(app.organizations.open(&key.org_id)).await??;
        let rate = deadline.run(Rate::count(&org, &key)).await??;
        record.rate = Some(rate);
        rate.check()?;
        let caller = ApiCaller::new(credentials, org, record.address, id, request.headers())?;
        request.extensions_mut().insert(Arc::new(caller));
        let request = request.map(|body| body::with_timeout(body, app.settings.body_timeout));
        deadline.run(next.run(request)).await
    };
    match slot.crowds_others() {
        true => app.turns.run(&key.org_id, answering).await,
        false => answering.await,
    }
}

/// Counts a call of an API key that was not sent as an `Authorization` header, and refuses it
/// beyond the rates of the key and of its organization.
#[cfg(feature = "console")]
pub(crate) async fn count_call<S: Store + RateCounter>(
    app: &App<S>,
    key: &ApiKey,
) -> Result<(), ApiError> {
    let org = app.organizations.open(&key.org_id).await?;
    Rate::count(&org, key).await?.check()
}
