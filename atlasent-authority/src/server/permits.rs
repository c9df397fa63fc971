//! Permits by their public ids, which open nothing (contract, part D).

use std::sync::Arc;

use atlasent::wire::{PermitInfo, PermitStatus, StopScope};
use axum::extract::{Extension, Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::answers::respond;
use super::app::App;
use super::body;
use super::caller::ApiCaller;
use super::problem::Problem;
use super::query::{Query, reason};
use crate::keys::Scope;
use crate::ledger::permit_key::PermitId;
use crate::permits::PermitFilter;
use crate::store::Store;
use crate::trail::chain::format_time;

/// How many permits a page has unless asked otherwise, and at the most (contract, part D).
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// `GET /v1/permits`
pub(super) async fn list<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    uri: Uri,
) -> Response {
    #[derive(Serialize)]
    struct Page {
        permits: Vec<PermitInfo>,
        total: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_cursor: Option<String>,
    }
    let page = async {
        client.may(Scope::PermitsRead)?;
        let query = Query::read(uri.query().unwrap_or_default())?;
        let limit = query.limit(PAGE, LARGEST_PAGE)?;
        let before = query.cursor("before_")?.unwrap_or(u64::MAX);
        let caller = client.caller();
        let page = app
            .authority
            .permits_for(&caller, &filter(&query)?, before, limit)
            .await?;
        Ok::<_, Problem>(Page {
            permits: page.permits,
            total: page.total,
            next_cursor: page.next.map(|next| format!("before_{next}")),
        })
    };
    respond(page.await, &client)
}

fn filter(query: &Query) -> Result<PermitFilter, Problem> {
    let mut filter = PermitFilter::default();
    if let Some(word) = query.text("status", 64)? {
        filter = filter.status(match PermitStatus::from(word.to_owned()) {
            PermitStatus::Unknown(_) => {
                return Err(Problem::unreadable(
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

/// `GET /v1/permits/{id}`
pub(super) async fn one<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    Path(id): Path<String>,
) -> Response {
    let found = async {
        client.may(Scope::PermitsRead)?;
        let found = app
            .authority
            .find_permit(&client.caller(), read_id(&id)?)
            .await?;
        let (look, key, entry) = found.ok_or_else(unknown)?;
        Ok::<_, Problem>(look.info(key, &entry))
    };
    respond(found.await, &client)
}

/// `POST /v1/permits/{id}/revoke`
pub(super) async fn revoke<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    #[derive(Deserialize)]
    struct Wire {
        reason: Option<String>,
    }
    let revoked = async {
        client.may(Scope::Revoke)?;
        let id = read_id(&id)?;
        let bytes = body::read(request).await?;
        let wire: Wire = body::parse(&bytes)?;
        let reason = reason(wire.reason)?;
        let permit = app
            .authority
            .revoke_permit_for(&client.caller(), id, &reason)
            .await?
            .ok_or_else(unknown)?;
        // One that was used is on record as revoked from now on, for a body that has not started.
        if permit.consumed_at.is_some() {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "PERMIT_ALREADY_USED",
                "the permit was used before: what has not started on it is refused from now on",
            ));
        }
        match permit.status {
            PermitStatus::Revoked => Ok(permit),
            _ => Err(Problem::new(
                StatusCode::GONE,
                "PERMIT_EXPIRED",
                "the permit has expired",
            )),
        }
    };
    respond(revoked.await, &client)
}

/// `POST /v1/permits/{id}/verify`: a look, which consumes nothing and so opens nothing.
pub(super) async fn inspect<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    Path(id): Path<String>,
) -> Response {
    #[derive(Serialize)]
    struct Inspection {
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
    let inspected = async {
        client.may(Scope::PermitsRead)?;
        let found = app
            .authority
            .find_permit(&client.caller(), read_id(&id)?)
            .await?;
        let (look, key, entry) = found.ok_or_else(unknown)?;
        let permit = look.info(key, &entry);
        let refusal = app.authority.verify_refusal(&look, &entry);
        Ok::<_, Problem>(Inspection {
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
                decision_id: entry.evaluation_id.clone(),
            },
            permit,
        })
    };
    respond(inspected.await, &client)
}

/// `POST /v1/permits/revoke`: takes back every permit that is out and that a scope covers.
pub(super) async fn recall<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(client): Extension<ApiCaller>,
    request: Request,
) -> Response {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(flatten)]
        scope: StopScope,
        issued_before: Option<u64>,
        reason: Option<String>,
    }
    #[derive(Serialize)]
    struct Recalled {
        sequence: u64,
    }
    let recalled = async {
        client.may(Scope::Revoke)?;
        let bytes = body::read(request).await?;
        let wire: Wire = body::parse(&bytes)?;
        let reason = reason(wire.reason)?;
        let sequence = app
            .authority
            .recall(&client.caller(), wire.scope, wire.issued_before, &reason)
            .await?;
        Ok::<_, Problem>(Recalled { sequence })
    };
    respond(recalled.await, &client)
}

fn read_id(id: &str) -> Result<PermitId, Problem> {
    // What cannot be an id names no permit.
    id.parse().map_err(|_| unknown())
}

fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "PERMIT_NOT_FOUND",
        "no such permit: permits are known by their `permit_id` (`pt_…`)",
    )
}
