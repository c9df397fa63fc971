//! `POST /v1/hitl`: opens a decision by hand.

use std::sync::Arc;

use atlasent::wire::{self, CreateEscalation, Escalation, FallbackDecision};
use atlasent::{Agent, Context};
use axum::extract::{Extension, Request};
use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use super::answer;
use super::form::names;
use crate::keys::ApiScope;
use crate::local::approvals::NewApproval;
use crate::policy::{ApprovalRule, Approvers, Quorum, QuorumTier};
use crate::server::api_error::ApiError;
use crate::server::entry::caller::ApiCaller;
use crate::server::input::body;
use crate::server::input::query::parse_time;
use crate::server::response::JsonBody;
use crate::store::Store;

/// What a decision that no policy holds names in place of a policy.
const BY_HAND: &str = "by hand";

/// Members of the contract that would change who decides. Ignoring one could let too few people
/// decide.
const UNSUPPORTED: [&str; 4] = [
    "approver_pool",
    "quorum_threshold",
    "ai_unavailable_fallback",
    "fallback_human_role",
];

/// How often a decision can be escalated, if the request does not say.
const ESCALATIONS: u32 = 3;

/// The largest quorum.
const MAX_QUORUM: u32 = 100;

/// Answers `POST /v1/hitl`.
pub(in crate::server::routes) async fn open<S: Store>(
    Extension(caller): Extension<Arc<ApiCaller<S>>>,
    request: Request,
) -> Result<JsonBody<Escalation>, ApiError> {
    caller.require_scope(ApiScope::Evaluate)?;
    let bytes = body::read(request, &caller).await?;
    let mut body: CreateEscalation = body::parse(&bytes)?;
    body.escalation_reason = caller.without_secret(&body.escalation_reason);
    let new = new_approval(body, proposed_action(&bytes)?)?;
    let row = caller
        .authority()
        .request_approval_for(&caller.for_authority(), new)
        .await?;
    Ok(answer(&caller, &row))
}

/// The proposed action as it was written, so that approvers see its numbers with all their digits.
#[derive(Deserialize)]
struct WrittenAction<'a> {
    #[serde(borrow)]
    proposed_action: Option<&'a RawValue>,
}

fn proposed_action(bytes: &[u8]) -> Result<Context, ApiError> {
    let written: WrittenAction<'_> = body::parse(bytes)?;
    match written.proposed_action {
        Some(text) => Context::parse(text.get()).map_err(invalid),
        None => Ok(Context::new()),
    }
}

fn invalid(error: atlasent::Error) -> ApiError {
    ApiError::invalid(error.to_string())
}

fn new_approval(body: CreateEscalation, proposed: Context) -> Result<NewApproval, ApiError> {
    if body
        .fallback_decision
        .is_some_and(|fallback| fallback != FallbackDecision::Reject)
    {
        return Err(ApiError::invalid(
            "`fallback_decision` has to be `reject`: this server approves nothing by itself",
        ));
    }
    for name in UNSUPPORTED {
        if body.other.as_object().contains_key(name) {
            return Err(ApiError::invalid(format!(
                "this server does not support `{name}`: name the approvers with `assigned_to_role`, \
                 `quorum_required` and `min_approvers`"
            )));
        }
    }
    let agent = Agent::new(body.agent_id).map_err(invalid)?;
    let mut rule = ApprovalRule::new(BY_HAND);
    let names = names(
        ("assigned_to_role", body.assigned_to_role),
        ("assigned_to_user_id", body.assigned_to_user_id),
    )?;
    if !names.is_empty() {
        rule.approvers = Approvers::OneOf(names);
    }
    rule.quorum = Quorum::Tier {
        tier: tier(body.quorum_required)?,
        of: body.approver_pool_size.unwrap_or(1),
        at_least: body.min_approvers.filter(|least| *least > 0),
    };
    let required = rule.quorum.required();
    if required > MAX_QUORUM {
        return Err(ApiError::invalid(format!(
            "the quorum needs {required} approvals: use from 1 to {MAX_QUORUM}"
        )));
    }
    let mut new = NewApproval::new(agent, body.escalation_reason, proposed, rule)
        .max_escalations(body.max_escalation_depth.unwrap_or(ESCALATIONS));
    if let Some(score) = body.risk_score.and_then(Number::from_f64) {
        new = new.risk_score(score);
    }
    match body.timeout_at {
        Some(text) => Ok(new.timeout_at(parse_time("timeout_at", &text)?)),
        None => Ok(new),
    }
}

/// Returns the tier that a request asks for.
fn tier(wanted: Option<wire::QuorumTier>) -> Result<QuorumTier, ApiError> {
    match wanted {
        None | Some(wire::QuorumTier::SingleApprover) => Ok(QuorumTier::SingleApprover),
        Some(wire::QuorumTier::SimpleMajority) => Ok(QuorumTier::SimpleMajority),
        Some(wire::QuorumTier::TwoThirds) => Ok(QuorumTier::TwoThirds),
        Some(wire::QuorumTier::Unanimous) => Ok(QuorumTier::Unanimous),
        Some(_) => Err(ApiError::invalid(
            "`quorum_required` has to be `single_approver`, `simple_majority`, `two_thirds` or `unanimous`",
        )),
    }
}
