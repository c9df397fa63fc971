//! The endpoints of permits by their public ids, which open nothing (contract, part D).

use std::sync::Arc;

use atlasent::wire::{PermitInfo, PermitStatus, StopScope};
use axum::extract::{Extension, Request};
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};

use crate::keys::ApiScope;
use crate::ledger::PermitEntry;
use crate::ledger::permit_key::{PermitId, PermitKey};
use crate::permits::{PermitFilter, StatusContext};
use crate::server::api_error::ApiError;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::path_id::PathId;
use crate::server::input::query::{Query, check_reason};
use crate::server::response::JsonBody;
use crate::store::Store;
use crate::trail::chain::format_time;

/// The default number of permits in a page, and the largest (contract, part D).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// The start of a page's cursor.
const CURSOR: &str = "before_";

#[derive(Serialize)]
pub(super) struct PermitPage {
    permits: Vec<PermitInfo>,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Answers `GET /v1/permits`.
pub(super) async fn list<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    uri: Uri,
) -> Result<JsonBody<PermitPage>, ApiError> {
    caller.require_scope(ApiScope::PermitsRead)?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let limit = query.limit(PAGE, LARGEST_PAGE)?;
    let before = query.cursor(CURSOR)?.unwrap_or(u64::MAX);
    let filter = permit_filter(&query)?;
    let page = caller
        .authority()
        .permits_for(&caller.for_authority(), &filter, before, limit)
        .await?;
    Ok(JsonBody(PermitPage {
        permits: page.permits,
        total: page.total,
        next_cursor: page.next.map(|next| format!("{CURSOR}{next}")),
    }))
}

fn permit_filter(query: &Query) -> Result<PermitFilter, ApiError> {
    let mut filter = PermitFilter::default();
    if let Some(word) = query.text("status", 64)? {
        filter = filter.status(match PermitStatus::from(word.to_owned()) {
            PermitStatus::Unknown(_) => {
                return Err(ApiError::unreadable(
                    "INVALID_QUERY",
                    "`status` has to be `issued`, `verified`, `consumed`, `expired` or `revoked`",
                ));
            }
            status => status,
        });
    }
    if let Some(agent) = query.text("actor_id", 256)? {
        filter = filter.agent(agent);
    }
    if let Some(action) = query.text("action_type", 256)? {
        filter = filter.action(action);
    }
    if let Some(since) = query.time("from")? {
        filter = filter.since(since);
    }
    if let Some(until) = query.time("to")? {
        filter = filter.until(until);
    }
    Ok(filter)
}

/// Answers `GET /v1/permits/{id}`.
pub(super) async fn get<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
) -> Result<JsonBody<PermitInfo>, ApiError> {
    let (look, key, entry) = find(&caller, &id).await?;
    Ok(JsonBody(look.info(key, &entry)))
}

#[derive(Deserialize)]
struct RevokeBody {
    reason: Option<String>,
}

/// Answers `POST /v1/permits/{id}/revoke`.
pub(super) async fn revoke<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<PermitInfo>, ApiError> {
    caller.require_scope(ApiScope::Revoke)?;
    let id = parse_id(&id)?;
    let body: RevokeBody = body::read_json(request, &caller).await?;
    let reason = caller.without_secret(&check_reason(body.reason)?);
    let permit = caller
        .authority()
        .revoke_permit_for(&caller.for_authority(), id, &reason)
        .await?
        .ok_or_else(not_found)?;
    // A used permit is recorded as revoked from now on, for a body that has not started.
    if permit.consumed_at.is_some() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "PERMIT_ALREADY_USED",
            "the permit was used before it was revoked: an action that has not started yet is refused",
        ));
    }
    match permit.status {
        PermitStatus::Revoked => Ok(JsonBody(permit)),
        _ => Err(ApiError::new(
            StatusCode::GONE,
            "PERMIT_EXPIRED",
            "the permit has expired",
        )),
    }
}

#[derive(Serialize)]
pub(super) struct Inspection {
    #[serde(flatten)]
    permit: PermitInfo,
    valid: bool,
    verification_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    verified_at: String,
    evidence: Evidence,
}

#[derive(Serialize)]
struct Evidence {
    permit_id: String,
    status: PermitStatus,
    actor_id: String,
    action_id: String,
    expires_at: String,
    payload_hash: Option<String>,
    decision_id: String,
}

/// Answers `POST /v1/permits/{id}/verify`: tells whether the permit is valid. It consumes nothing,
/// and so opens nothing.
pub(super) async fn inspect<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<Inspection>, ApiError> {
    let (look, key, entry) = find(&caller, &id).await?;
    body::check_unused(request, &caller).await?;
    let permit = look.info(key, &entry);
    let refusal = caller.authority().verify_refusal(&look, &entry);
    Ok(JsonBody(Inspection {
        valid: refusal.is_none(),
        verification_type: "permit",
        reason: refusal.map(|refusal| refusal.reason()),
        verified_at: format_time(look.now),
        evidence: Evidence {
            permit_id: permit.id.clone(),
            status: permit.status.clone(),
            actor_id: permit.actor_id.clone(),
            action_id: permit.action_id.clone(),
            expires_at: permit.expires_at.clone(),
            payload_hash: permit.payload_hash.clone(),
            decision_id: (*entry.evaluation_id).to_owned(),
        },
        permit,
    }))
}

#[derive(Deserialize)]
struct RecallBody {
    #[serde(flatten)]
    scope: StopScope,
    issued_before: Option<u64>,
    reason: Option<String>,
}

#[derive(Serialize)]
pub(super) struct RecallResponse {
    sequence: u64,
}

/// Answers `POST /v1/permits/revoke`: revokes all outstanding permits that a scope covers.
pub(super) async fn recall<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<JsonBody<RecallResponse>, ApiError> {
    caller.require_scope(ApiScope::Revoke)?;
    let body: RecallBody = body::read_json(request, &caller).await?;
    let reason = caller.without_secret(&check_reason(body.reason)?);
    let sequence = caller
        .authority()
        .recall(
            &caller.for_authority(),
            body.scope,
            body.issued_before,
            &reason,
        )
        .await?;
    Ok(JsonBody(RecallResponse { sequence }))
}

/// Returns the permit with a public id, if the caller may see it.
async fn find<S: Store>(
    caller: &ApiCaller<S>,
    id: &str,
) -> Result<(StatusContext, PermitKey, PermitEntry), ApiError> {
    caller.require_scope(ApiScope::PermitsRead)?;
    let found = caller
        .authority()
        .find_permit(&caller.for_authority(), parse_id(id)?)
        .await?;
    found.ok_or_else(not_found)
}

/// Parses a public id. A malformed id names no permit.
fn parse_id(id: &str) -> Result<PermitId, ApiError> {
    id.parse().map_err(|_| not_found())
}

fn not_found() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "PERMIT_NOT_FOUND",
        "no permit has this id: use the permit's `permit_id` (`pt_…`)",
    )
}
