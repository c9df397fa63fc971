//! The endpoints of pending decisions, which the contract calls escalations (part D, "Approvals").

mod form;
mod open;
mod proposed;

use std::sync::Arc;
use std::time::Duration;

use atlasent::wire::{
    CastVote, EscalateRequest, Escalation, EscalationPage, EscalationStatus, EscalationStep, Vote,
};
use axum::extract::{Extension, Request, State};
use axum::http::{StatusCode, Uri};
use serde::Serialize;

use crate::keys::ApiScope;
use crate::ledger::approval::{
    ApprovalEntry, ApprovalState, Approver, Asker, EscalationId, VoteRefusal,
};
use crate::local::approvals::{ApprovalError, ApprovalFilter, Ballot};
use crate::server::api_error::ApiError;
use crate::server::app::App;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::path_id::PathId;
use crate::server::input::query::Query;
use crate::server::response::JsonBody;
use crate::store::Store;

pub(super) use open::open;

/// The default number of decisions in a page, and the largest.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// The start of a page's cursor.
const CURSOR: &str = "before_";

/// The longest that one request waits, in seconds.
pub(super) const LONGEST_WAIT: u64 = 60;

/// Answers `GET /v1/hitl`. `total` is that of the [page](crate::approvals::ApprovalPage::total):
/// exact on the last page, and an estimate before it, since a count of what a filter passes would
/// read every decision.
pub(super) async fn list<S: Store>(
    State(app): State<Arc<App<S>>>,
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    uri: Uri,
) -> Result<JsonBody<EscalationPage>, ApiError> {
    require_reader(&caller)?;
    let query = Query::parse(uri.query().unwrap_or_default())?;
    let limit = query.limit(PAGE, LARGEST_PAGE)?;
    let before = query.cursor(CURSOR)?.unwrap_or(u64::MAX);
    let mut filter = visible(&caller);
    if let Some(agent) = query.text("agent_id", 256)? {
        filter = filter.agent(agent);
    }
    if let Some(person) = query.text("assigned_to_user_id", 256)? {
        filter = filter.approver(person);
    }
    if let Some(word) = query.text("status", 64)? {
        match state(word)? {
            Some(state) => filter = filter.state(state),
            None => return Ok(JsonBody(EscalationPage::new(Vec::new(), 0, None))),
        }
    }
    let pool = &app.read_pools.pages;
    let _slot = pool.slot(&caller.key.org_id).await?;
    let reading = {
        let caller = Arc::clone(&caller);
        async move {
            let for_authority = caller.for_authority();
            let authority = caller.authority();
            authority
                .approvals_page_for(&for_authority, &filter, before, limit)
                .await
        }
    };
    let page = pool.run(reading).await??;
    let org = &caller.key.org_id;
    let escalations = page.approvals.iter().map(|row| form::escalation(row, org));
    let next = page.next.map(|next| format!("{CURSOR}{next}"));
    Ok(JsonBody(EscalationPage::new(
        escalations.collect(),
        page.total,
        next,
    )))
}

/// Returns the state for a status of the contract. Returns `None` for `auto_approved`: this server
/// approves nothing by itself, so no decision has this status.
fn state(word: &str) -> Result<Option<ApprovalState>, ApiError> {
    Ok(match EscalationStatus::from(word.to_owned()) {
        EscalationStatus::Pending => Some(ApprovalState::Pending),
        EscalationStatus::Escalated => Some(ApprovalState::Escalated),
        EscalationStatus::Approved => Some(ApprovalState::Approved),
        EscalationStatus::Rejected => Some(ApprovalState::Rejected),
        EscalationStatus::TimedOut => Some(ApprovalState::TimedOut),
        EscalationStatus::AutoApproved => None,
        _ => {
            return Err(ApiError::unreadable(
                "INVALID_QUERY",
                "`status` has to be `pending`, `escalated`, `approved`, `rejected`, \
                 `auto_approved` or `timed_out`",
            ));
        }
    })
}

/// Answers `GET /v1/hitl/{id}`. With `wait=N`, waits until the decision is made, for `N` seconds at
/// most.
pub(super) async fn get<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    uri: Uri,
) -> Result<JsonBody<Escalation>, ApiError> {
    let row = find(&caller, &id).await?;
    let wait = wait(&Query::parse(uri.query().unwrap_or_default())?)?;
    let row = match row.is_open() && !wait.is_zero() {
        false => row,
        true => caller
            .authority()
            .wait_for_approval_of(&caller.for_authority(), row.id, wait)
            .await?
            .ok_or_else(not_found)?,
    };
    Ok(answer(&caller, &row))
}

/// Reads how long to wait. Longer times than the longest count as it.
fn wait(query: &Query) -> Result<Duration, ApiError> {
    let Some(text) = query.text("wait", 64)? else {
        return Ok(Duration::ZERO);
    };
    let seconds: u64 = text.parse().map_err(|_| {
        let text = "`wait` has to be a whole number of seconds";
        ApiError::unreadable("INVALID_QUERY", text)
    })?;
    Ok(Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

#[derive(Serialize)]
pub(super) struct Votes {
    approvals: Vec<Vote>,
}

/// Answers `GET /v1/hitl/{id}/approvals`.
pub(super) async fn votes<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
) -> Result<JsonBody<Votes>, ApiError> {
    let row = find(&caller, &id).await?;
    let approvals = form::votes(&row);
    Ok(JsonBody(Votes { approvals }))
}

#[derive(Serialize)]
pub(super) struct Chain {
    chain: Vec<EscalationStep>,
}

/// Answers `GET /v1/hitl/{id}/chain`.
pub(super) async fn chain<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
) -> Result<JsonBody<Chain>, ApiError> {
    let row = find(&caller, &id).await?;
    let chain = form::chain(&row);
    Ok(JsonBody(Chain { chain }))
}

/// Answers `POST /v1/hitl/{id}/approve`.
pub(super) async fn approve<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<Escalation>, ApiError> {
    let approver = approver(&caller)?;
    let id = parse_id(&id)?;
    let body: CastVote = body::read_json(request, &caller).await?;
    let ballot = form::with_grant(Ballot::approve(approver.clone()), &body);
    cast(&caller, id, ballot, body.note).await
}

/// Answers `POST /v1/hitl/{id}/reject`.
pub(super) async fn reject<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<Escalation>, ApiError> {
    let approver = approver(&caller)?;
    let id = parse_id(&id)?;
    let body: CastVote = body::read_json(request, &caller).await?;
    cast(&caller, id, Ballot::reject(approver.clone()), body.note).await
}

async fn cast<S: Store>(
    caller: &ApiCaller<S>,
    id: EscalationId,
    ballot: Ballot,
    note: Option<String>,
) -> Result<JsonBody<Escalation>, ApiError> {
    let ballot = match note.filter(|note| !note.trim().is_empty()) {
        Some(note) => ballot.note(caller.without_secret(&note)),
        None => ballot,
    };
    let via = Some(caller.key.key_id.clone());
    let row = caller
        .authority()
        .vote_for(&caller.for_authority(), id, ballot, via)
        .await?;
    Ok(answer(caller, &row))
}

/// Answers `POST /v1/hitl/{id}/escalate`.
pub(super) async fn escalate<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<Escalation>, ApiError> {
    let row = find(&caller, &id).await?;
    // A caller that asked by hand may also ask others. What policies hold, only those pass on who
    // could decide it.
    let by = match row.policy.is_none() && has_asked(&caller, &row) {
        true => None,
        false => Some(approver(&caller)?.clone()),
    };
    let body: EscalateRequest = body::read_json(request, &caller).await?;
    let to = form::next_step(&row, &body)?;
    let reason = body.reason.map(|reason| caller.without_secret(&reason));
    let row = caller
        .authority()
        .escalate_approval_for(&caller.for_authority(), row.id, by, to, reason)
        .await?;
    Ok(answer(&caller, &row))
}

/// Answers `POST /v1/hitl/{id}/timeout`: ends the decision, for those who could decide it and for
/// those who asked.
pub(super) async fn time_out<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    PathId(id): PathId,
    request: Request,
) -> Result<JsonBody<Escalation>, ApiError> {
    let row = find(&caller, &id).await?;
    let by = match has_asked(&caller, &row) {
        true => None,
        false => Some(approver(&caller)?.clone()),
    };
    let body: CastVote = body::read_json(request, &caller).await?;
    let note = body.note.map(|note| caller.without_secret(&note));
    let row = caller
        .authority()
        .expire_approval_for(&caller.for_authority(), row.id, by, note)
        .await?;
    Ok(answer(&caller, &row))
}

fn answer<S>(caller: &ApiCaller<S>, row: &ApprovalEntry) -> JsonBody<Escalation> {
    JsonBody(form::escalation(row, &caller.key.org_id))
}

/// Returns a decision that the caller may see.
async fn find<S: Store>(caller: &ApiCaller<S>, id: &str) -> Result<ApprovalEntry, ApiError> {
    require_reader(caller)?;
    find_by_id(caller, parse_id(id)?).await
}

async fn find_by_id<S: Store>(
    caller: &ApiCaller<S>,
    id: EscalationId,
) -> Result<ApprovalEntry, ApiError> {
    let row = caller
        .authority()
        .approval_for(&caller.for_authority(), id)
        .await?;
    row.filter(|row| sees_all(caller) || row.askers.contains(&asker(caller)))
        .ok_or_else(not_found)
}

/// Returns what the caller sees: approvers see every decision, agents those that they asked for.
fn visible<S>(caller: &ApiCaller<S>) -> ApprovalFilter {
    match sees_all(caller) {
        true => ApprovalFilter::default(),
        false => ApprovalFilter::default().asked_by(asker(caller)),
    }
}

fn sees_all<S>(caller: &ApiCaller<S>) -> bool {
    caller.key.scopes.contains(&ApiScope::Approve)
}

fn asker<S>(caller: &ApiCaller<S>) -> Asker {
    Asker::Key(caller.key.key_id.clone())
}

/// Returns whether the question was asked with the caller's API key, or with another one of the
/// same person.
fn has_asked<S>(caller: &ApiCaller<S>, row: &ApprovalEntry) -> bool {
    let askers = caller.for_authority().attribution().askers();
    askers.iter().any(|asker| row.askers.contains(asker))
}

/// Checks that the caller may read decisions: approvers, and keys that ask.
fn require_reader<S>(caller: &ApiCaller<S>) -> Result<(), ApiError> {
    match sees_all(caller) {
        true => Ok(()),
        false => caller.require_scope(ApiScope::Evaluate),
    }
}

/// Returns the person that the API key belongs to, who may vote.
fn approver<S>(caller: &ApiCaller<S>) -> Result<&Approver, ApiError> {
    caller.require_scope(ApiScope::Approve)?;
    caller.key.approver.as_ref().ok_or_else(|| {
        ApiError::forbidden(
            "NOT_AN_APPROVER",
            "this API key belongs to no person: create one with `atlasent key create --approver NAME`",
        )
    })
}

/// Parses an id. A text that is no id is of no decision.
fn parse_id(id: &str) -> Result<EscalationId, ApiError> {
    id.parse().map_err(|_| not_found())
}

fn not_found() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "ESCALATION_NOT_FOUND",
        "there is no such escalation",
    )
}

impl From<ApprovalError> for ApiError {
    fn from(error: ApprovalError) -> Self {
        let text = error.to_string();
        match error {
            ApprovalError::Unknown(_) => not_found(),
            ApprovalError::Invalid(_) => Self::invalid(text),
            ApprovalError::Failed(error) => error.into(),
            ApprovalError::Refused(refusal) => match refusal {
                VoteRefusal::OwnQuestion(_) => Self::forbidden("SELF_APPROVAL", text),
                VoteRefusal::NotAnApprover { .. } => Self::forbidden("NOT_AN_APPROVER", text),
                VoteRefusal::Grant(_) => Self::invalid(text),
                VoteRefusal::Closed(_) => {
                    Self::new(StatusCode::CONFLICT, "ESCALATION_CLOSED", text)
                }
                VoteRefusal::VotedOtherwise(_) => {
                    Self::new(StatusCode::CONFLICT, "ALREADY_VOTED", text)
                }
                VoteRefusal::Sealed(_) => {
                    Self::new(StatusCode::CONFLICT, "ESCALATION_SEALED", text)
                }
                VoteRefusal::LastStep => {
                    Self::new(StatusCode::CONFLICT, "ESCALATION_CHAIN_EXHAUSTED", text)
                }
            },
        }
    }
}
