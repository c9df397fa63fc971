//! The endpoints that say something of the server: whose key it is, which keys sign, whether it is
//! well.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::keys::ApiScope;
use crate::server::api_error::{Problem, log_outage};
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::entry::deadline::Deadline;
use crate::store::Store;
use crate::trail::chain::format_time;

/// How long the store may take to say how much it keeps, where the rest is worth more.
const METRICS_WAIT: Duration = Duration::from_secs(2);

/// `GET /v1-api-key-self`
pub(crate) async fn key_self<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<ApiCaller>,
) -> Response {
    #[derive(Serialize)]
    struct KeySelf<'a> {
        key_id: &'a str,
        organization_id: &'a str,
        org_id: &'a str,
        environment: &'a str,
        scopes: &'a [ApiScope],
        #[serde(skip_serializing_if = "Option::is_none")]
        allowed_cidrs: Option<Vec<String>>,
        rate_limit_per_minute: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_ip: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<String>,
    }
    let status = match app.status().await {
        Ok(status) => status,
        Err(problem) => return problem.respond(&caller.request_id),
    };
    let key = &caller.key;
    let cidrs: Vec<_> = key.allowed_cidrs.iter().map(ToString::to_string).collect();
    let answer = KeySelf {
        key_id: &key.key_id,
        organization_id: &status.head.org_id,
        org_id: &status.head.org_id,
        environment: key.environment.as_str(),
        scopes: &key.scopes,
        allowed_cidrs: Some(cidrs).filter(|cidrs| !cidrs.is_empty()),
        rate_limit_per_minute: key.rate_limit_per_minute,
        client_ip: caller.address.map(|address| address.to_string()),
        expires_at: key.expires_at.map(format_time),
    };
    Json(answer).into_response()
}

/// `GET /v1-signing-keys`
pub(crate) async fn signing_keys<S: Store>(State(app): State<Arc<App<S>>>) -> Response {
    #[derive(Serialize)]
    struct SigningKeys<K> {
        keys: K,
    }
    let keys = app.signing.public_keys();
    Json(SigningKeys { keys }).into_response()
}

/// `GET /healthz`: the process is there.
pub(crate) async fn healthy() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: it can decide and record.
pub(crate) async fn ready<S: Store>(State(app): State<Arc<App<S>>>) -> Response {
    // A change that changes nothing: it has to get as far as one that does.
    let now = app.authority.clock.now();
    let change = (app.authority.store()).commit(now, Vec::new(), |_| ());
    let deadline = Deadline::after(app.settings.request_timeout);
    let error = match deadline.run(change).await {
        Ok(Ok(())) => {
            // With the digest, so that servers can be compared.
            let policies = app.authority.policies();
            return format!("ready\npolicies {}\n", policies.digest()).into_response();
        }
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    // Why, is in the log: this endpoint asks for no key.
    let cause = error.map(|error| error.to_string());
    log_outage(
        "the store takes no changes",
        "make a change",
        cause.as_deref(),
    );
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the store takes no changes\n",
    )
        .into_response()
}

/// `GET /metrics`
pub(crate) async fn metrics<S: Store>(State(app): State<Arc<App<S>>>) -> Response {
    let policies = app.authority.policies();
    // While the store is away, what it would say is missing; the counters of refusals matter just
    // then.
    let store = app.authority.store();
    let status = Deadline::after(METRICS_WAIT).run(store.status()).await;
    let status = status.ok().and_then(Result::ok);
    let stops = Deadline::after(METRICS_WAIT)
        .run(app.authority.stops())
        .await;
    let stops = stops.ok().and_then(Result::ok).map(|stops| stops.len());
    let now = app.authority.clock.now();
    let text = app.metrics.text(status, stops, &policies, now);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl<S: Store> App<S> {
    /// How much the store keeps.
    pub(crate) async fn status(&self) -> Result<crate::store::StoreStatus, Problem> {
        let deadline = Deadline::after(self.settings.request_timeout);
        let status = deadline.run(self.authority.store().status()).await?;
        status.map_err(|error| {
            let cause = error.to_string();
            log_outage(
                "the store does not answer",
                "read the store's status",
                Some(&cause),
            );
            Problem::unavailable("STORE_UNAVAILABLE", "the store does not answer: try again")
        })
    }
}
