//! The endpoints of stops, which deny what they cover, outstanding permits included (contract,
//! part D).

use std::sync::Arc;

use atlasent::wire::StopScope;
use axum::extract::{Extension, Request};
use serde::{Deserialize, Serialize};

use crate::keys::ApiScope;
use crate::ledger::stops::Stop;
use crate::server::api_error::ApiError;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::path_id::PathId;
use crate::server::input::query::{check_reason, parse_time};
use crate::server::response::JsonBody;
use crate::store::Store;
use crate::trail::chain::format_time;

/// The JSON form of a stop.
#[derive(Serialize)]
pub(super) struct StopJson {
    id: String,
    #[serde(flatten)]
    scope: StopScope,
    reason: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    environment: &'static str,
}

impl From<Stop> for StopJson {
    fn from(stop: Stop) -> Self {
        Self {
            id: stop.id,
            scope: stop.scope,
            reason: stop.reason,
            created_at: format_time(stop.set_at),
            created_by: stop.set_by,
            expires_at: stop.expires_at.map(format_time),
            environment: if stop.test_only { "test" } else { "live" },
        }
    }
}

#[derive(Deserialize)]
struct SetBody {
    #[serde(flatten)]
    scope: StopScope,
    reason: Option<String>,
    expires_at: Option<String>,
}

/// Answers `POST /v1/stops`.
pub(super) async fn set<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<JsonBody<StopJson>, ApiError> {
    caller.require_scope(ApiScope::Stop)?;
    let body: SetBody = body::read_json(request, &caller).await?;
    let reason = caller.without_secret(&required_reason(body.reason)?);
    let until = body.expires_at.map(|text| parse_time("expires_at", &text));
    let until = until.transpose()?;
    let stop = caller
        .authority()
        .stop_for(&caller.for_authority(), body.scope, &reason, until)
        .await?;
    Ok(JsonBody(stop.into()))
}

#[derive(Serialize)]
pub(super) struct StopList {
    stops: Vec<StopJson>,
}

/// Answers `GET /v1/stops`: lists the stops that hold now, the oldest first.
pub(super) async fn list<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
) -> Result<JsonBody<StopList>, ApiError> {
    caller.require_scope(ApiScope::Stop)?;
    let stops = caller.authority().stops().await?;
    let stops = stops.into_iter().map(StopJson::from).collect();
    Ok(JsonBody(StopList { stops }))
}

#[derive(Deserialize)]
struct LiftBody {
    reason: Option<String>,
}

/// Answers `DELETE /v1/stops/{id}`.
pub(super) async fn lift<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<StopJson>, ApiError> {
    caller.require_scope(ApiScope::Stop)?;
    let body: LiftBody = body::read_json(request, &caller).await?;
    let reason = caller.without_secret(&required_reason(body.reason)?);
    let lifted = caller
        .authority()
        .lift_stop_for(&caller.for_authority(), &id, &reason)
        .await?;
    Ok(JsonBody(lifted?.into()))
}

/// Checks a reason that may not be empty.
fn required_reason(reason: Option<String>) -> Result<String, ApiError> {
    let reason = check_reason(reason)?;
    if reason.trim().is_empty() {
        return Err(ApiError::invalid(
            "`reason` is missing: say why in `reason`",
        ));
    }
    Ok(reason)
}
