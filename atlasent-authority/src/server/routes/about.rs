//! The endpoints about the server itself: the caller's API key, the signing keys, health, metrics.

use std::future::Future;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use atlasent::wire::PublicKey;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use crate::keys::ApiScope;
use crate::ledger::approval::Approver;
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::entry::deadline::Deadline;
use crate::server::log_limit::log_outage;
use crate::server::response::JsonBody;
use crate::server::shadow::Shadow;
use crate::store::{OrgId, Store};
use crate::trail::chain::format_time;

/// How long `/metrics` waits for the store before it answers without the store's gauges.
const METRICS_WAIT: Duration = Duration::from_secs(2);

/// How many organizations `/metrics` reads at a time. The store answers them in one transaction.
const AT_ONCE: usize = 256;

#[derive(Serialize)]
pub(super) struct KeySelf {
    key_id: String,
    organization_id: Arc<str>,
    org_id: Arc<str>,
    environment: &'static str,
    scopes: Vec<ApiScope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approver: Option<Approver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_cidrs: Option<Vec<String>>,
    rate_limit_per_minute: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

/// Answers `GET /v1-api-key-self`.
pub(super) async fn key_self<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
) -> Result<JsonBody<KeySelf>, ApiError> {
    let organization = organization(&app, &caller).await?;
    let key = &caller.key;
    let cidrs: Vec<_> = key.allowed_cidrs.iter().map(ToString::to_string).collect();
    Ok(JsonBody(KeySelf {
        key_id: key.key_id.clone(),
        organization_id: Arc::clone(&organization),
        org_id: organization,
        environment: key.environment.as_str(),
        scopes: key.scopes.clone(),
        approver: key.approver.clone(),
        allowed_cidrs: Some(cidrs).filter(|cidrs| !cidrs.is_empty()),
        rate_limit_per_minute: key.rate_limit_per_minute,
        client_ip: caller.address.map(|address| address.to_string()),
        expires_at: key.expires_at.map(format_time),
    }))
}

/// Reads the organization's id from the head of the chain.
async fn organization<S: Store>(app: &App<S>, caller: &ApiCaller<S>) -> Result<Arc<str>, ApiError> {
    let deadline = Deadline::after(app.settings.request_timeout);
    let status = deadline.run(caller.authority().store().status()).await?;
    let status = status.map_err(|error| {
        let cause = error.to_string();
        log_outage(
            "the store does not answer",
            "read the store's status",
            Some(&cause),
        );
        ApiError::unavailable(
            "STORE_UNAVAILABLE",
            "the store's status could not be read: try again",
        )
    })?;
    Ok(status.head.org_id)
}

#[derive(Serialize)]
pub(super) struct SigningKeys {
    keys: Vec<PublicKey>,
}

/// Answers `GET /v1-signing-keys`.
pub(super) async fn signing_keys<S: Store>(
    State(app): State<Arc<App<S>>>,
) -> JsonBody<SigningKeys> {
    let keys = app.signing.public_keys().to_vec();
    JsonBody(SigningKeys { keys })
}

/// Answers `GET /healthz`: tells that the process runs.
pub(crate) async fn healthy() -> &'static str {
    "ok\n"
}

/// Answers `GET /readyz`: tells whether the server can decide and record.
pub(crate) async fn ready<S: Store>(State(app): State<Arc<App<S>>>) -> Response {
    // An empty change takes the way of every other change.
    let now = app.clock.now();
    let change = (app.local().authority.store()).commit(now, Vec::new(), |_| ());
    let deadline = Deadline::after(app.settings.request_timeout);
    let error = match deadline.run(change).await {
        Ok(Ok(())) => {
            // The digest lets operators compare servers.
            let policies = app.local().authority.policies();
            let mut text = format!("ready\npolicies {}\n", policies.digest());
            let shadow = app.shadow.as_ref().and_then(Shadow::candidate);
            if let Some(shadow) = shadow {
                text.push_str(&format!("shadow {}\n", shadow.digest()));
            }
            return text.into_response();
        }
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    // The cause goes to the log only, since this endpoint asks for no API key.
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

/// Answers `GET /metrics`.
pub(crate) async fn metrics<S: Store>(State(app): State<Arc<App<S>>>) -> Response {
    let policies = app.local().authority.policies();
    // In an outage the answer lacks the store's gauges and still has the counters of refusals.
    let store = app.local().authority.store();
    let status = Deadline::after(METRICS_WAIT).run(store.status()).await;
    let status = status.ok().and_then(Result::ok);
    let stops = Deadline::after(METRICS_WAIT)
        .run(app.local().authority.stops())
        .await;
    let stops = stops.ok().and_then(Result::ok).map(|stops| stops.len());
    // Those that were read in time.
    let mut open = Vec::new();
    let _ = Deadline::after(METRICS_WAIT)
        .run(read_open_approvals(&app, &mut open))
        .await;
    let now = app.clock.now();
    let text = app.metrics.text(status, stops, &open, &policies, now);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Reads how many decisions wait for approvers, of `local` and of the organizations in memory.
async fn read_open_approvals<S: Store>(app: &App<S>, open: &mut Vec<(OrgId, u64)>) {
    let others = app.organizations.loader().map(|loader| loader.all_loaded());
    let local = app.organizations.shared_local();
    let all = iter::once(local).chain(others.unwrap_or_default());
    let reads = all.map(|org| async move {
        let count = org.authority.open_approvals().await.ok()?;
        Some((org.id.clone(), count))
    });
    read_at_once(reads, open).await;
}

/// Makes reads, some at a time, and keeps what each has found. Dropping the future keeps what was
/// found until then: a read that hangs holds no other up.
async fn read_at_once<T>(
    reads: impl Iterator<Item = impl Future<Output = Option<T>>>,
    found: &mut Vec<T>,
) {
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some(read) = reads.next().await {
        found.extend(read);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::Either;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_holds_no_other_up() {
        let reads = (0..100).map(|n| match n {
            0 => Either::Left(pending()),
            1 => Either::Right(ready(None)),
            n => Either::Right(ready(Some(n))),
        });
        let mut found = Vec::new();
        let reading = timeout(Duration::from_millis(10), read_at_once(reads, &mut found));
        assert!(reading.await.is_err());
        found.sort_unstable();
        assert_eq!(found, (2..100).collect::<Vec<_>>());
    }
}
