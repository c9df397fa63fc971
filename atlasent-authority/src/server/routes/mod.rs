//! The endpoints, one file a subject, and the router, which has a line for each of them.

mod about;
mod backup;
mod batch;
mod decide;
mod head;
mod hitl;
mod permits;
mod receipts;
mod stops;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};

use crate::server::api_error::ApiError;
use crate::server::app::App;
#[cfg(feature = "console")]
use crate::server::console;
use crate::server::entry::request_id::RequestId;
use crate::server::entry::{self, Audience, Entry, SlotKind, schema};
use crate::store::{RateCounter, Store};

/// Builds the router of a server. A new endpoint gets its line here.
pub(crate) fn router<S: Store + RateCounter>(app: Arc<App<S>>) -> Router {
    let timeout = app.settings.request_timeout;
    // The endpoints that compare the schema of the policies with that of the caller.
    let deciding = Router::new()
        .route("/v1-evaluate", post(decide::evaluate::<S>))
        .route("/v1-evaluate-stream", post(decide::stream::<S>))
        .route("/v1-verify-permit", post(decide::verify::<S>))
        .route("/v1/evaluate/batch", post(batch::evaluate::<S>))
        .method_not_allowed_fallback(wrong_method)
        .route_layer(from_fn(schema::answer::<S>));
    let router = Router::new()
        .merge(deciding)
        .route("/v1-revoke-permit", post(decide::revoke::<S>))
        .route("/v1-api-key-self", get(about::key_self::<S>))
        .route("/v1-signing-keys", get(about::signing_keys::<S>))
        .route("/v1-audit/events", get(trail::events::<S>))
        .route("/v1/permits", get(permits::list::<S>))
        .route("/v1/permits/revoke", post(permits::recall::<S>))
        .route("/v1/permits/{id}", get(permits::get::<S>))
        .route("/v1/permits/{id}/revoke", post(permits::revoke::<S>))
        .route("/v1/permits/{id}/verify", post(permits::inspect::<S>))
        .route("/v1/permits/{id}/complete", post(receipts::complete::<S>))
        .route("/v1/hitl", get(hitl::list::<S>).post(hitl::open::<S>))
        .route("/v1/hitl/{id}/approvals", get(hitl::votes::<S>))
        .route("/v1/hitl/{id}/chain", get(hitl::chain::<S>))
        .route("/v1/hitl/{id}/approve", post(hitl::approve::<S>))
        .route("/v1/hitl/{id}/reject", post(hitl::reject::<S>))
        .route("/v1/hitl/{id}/escalate", post(hitl::escalate::<S>))
        .route("/v1/hitl/{id}/timeout", post(hitl::time_out::<S>))
        .route("/v1/stops", get(stops::list::<S>).post(stops::set::<S>))
        .route("/v1/stops/{id}", delete(stops::lift::<S>))
        .route("/v1/audit/head", get(head::signed::<S>));
    let router = behind_entry(router, &app, timeout, SlotKind::Requests);

    // Waiting takes as long as the caller asks for, and then as long as any request.
    let waiting = Router::new().route("/v1/hitl/{id}", get(hitl::get::<S>));
    let timeout = timeout + Duration::from_secs(hitl::LONGEST_WAIT);
    let waiting = behind_entry(waiting, &app, timeout, SlotKind::Waits);

    // Exports and backups send large files.
    let timeout = app.settings.export_timeout;
    let exports = Router::new()
        .route("/v1-audit/exports", post(trail::export::<S>))
        .route("/v1/store/backup", post(backup::backup::<S>));
    let exports = behind_entry(exports, &app, timeout, SlotKind::Requests);

    // The open endpoints ask for no API key.
    let mut open = Router::new()
        .route("/healthz", get(about::healthy))
        .route("/readyz", get(about::ready::<S>));
    if app.settings.metrics {
        open = open.route("/metrics", get(about::metrics::<S>));
    }
    let open = open.method_not_allowed_fallback(wrong_method_of_open);
    let router = router.merge(waiting).merge(exports).merge(open);
    #[cfg(feature = "console")]
    let router = match app.console {
        Some(_) => router.merge(console::router(&app)),
        None => router,
    };
    router.fallback(not_found).with_state(app)
}

/// Puts the [entry](entry::pass) in front of endpoints. `timeout` limits each of their requests.
fn behind_entry<S: Store + RateCounter>(
    endpoints: Router<Arc<App<S>>>,
    app: &Arc<App<S>>,
    timeout: Duration,
    slots: SlotKind,
) -> Router<Arc<App<S>>> {
    let app = Arc::clone(app);
    let entry = Entry {
        app,
        timeout,
        slots,
        audience: Audience::Programs,
    };
    endpoints
        .method_not_allowed_fallback(wrong_method)
        .route_layer(from_fn_with_state(entry, entry::pass::<S>))
}

async fn not_found(request: Request) -> Response {
    let id = RequestId::from_headers(request.headers());
    ApiError::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "there is no such endpoint",
    )
    .respond(&id)
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "this endpoint takes another method",
    )
}

/// Builds the response of an open endpoint. These have no [entry](entry::pass), which builds the
/// responses of all other errors.
async fn wrong_method_of_open(request: Request) -> Response {
    let id = RequestId::from_headers(request.headers());
    wrong_method().await.respond(&id)
}
