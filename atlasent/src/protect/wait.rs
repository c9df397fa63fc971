//! Waiting for the approvers of a held request, between the evaluation and the check of its answer.
//!
//! ```text
//! evaluate ──► allow, deny, or a hold without an escalation    the answer
//!     └──────► hold of esc_1 ──► wait for esc_1
//!                                  ├ approved              evaluate the same request: the answer,
//!                                  │                       or a refusal if the agent's token expired
//!                                  ├ pending, escalated    the time is over: the hold
//!                                  └ all other statuses    a refusal that names the status
//! ```
//!
//! The status permits nothing: after an approval, the second evaluation is checked as a first one
//! is. A second hold is a refusal, also if it names another escalation. That happens when another
//! request used the approval.

use std::time::Duration;

use super::{Conditions, refusal};
use crate::wire::{EscalationStatus, EvaluateRequest, Evaluation};
use crate::{Authority, Decision, Denied, Error, trace};

/// The codes of refusals by the end of an escalation.
const REJECTED: &str = "APPROVAL_REJECTED";
const EXPIRED: &str = "APPROVAL_EXPIRED";
const NOT_APPROVED: &str = "NOT_APPROVED";

/// Waits for the approvers of a held request, and returns the answer that counts: `evaluation`, or
/// that of the second evaluation after an approval.
pub(super) async fn for_approval<P: Authority + ?Sized>(
    authority: &P,
    request: &EvaluateRequest,
    evaluation: Evaluation,
    at_most: Duration,
    conditions: &Conditions,
) -> Result<Evaluation, Error> {
    let held = matches!(evaluation.decision, Decision::Hold | Decision::Escalate);
    let id = evaluation
        .escalation_id
        .as_deref()
        .filter(|id| held && !id.is_empty());
    let Some(id) = id else {
        return Ok(evaluation);
    };
    trace::waiting(id, evaluation.approval_url.as_deref(), at_most);
    let status = authority.wait(id, at_most).await?;
    if status.is_approved() {
        // People may decide minutes after the token was verified.
        conditions.check_expiry(request)?;
        return Ok(authority.evaluate(request).await?.scrubbed());
    }
    if status.is_open() {
        return Ok(evaluation);
    }
    Err(not_approved(request, &evaluation, &status).into())
}

/// Returns the refusal of a request whose escalation ended without an approval.
fn not_approved(request: &EvaluateRequest, held: &Evaluation, status: &EscalationStatus) -> Denied {
    let (ended, code) = match status {
        EscalationStatus::Rejected => ("was rejected by an approver".to_owned(), REJECTED),
        EscalationStatus::TimedOut => ("timed out before it was approved".to_owned(), EXPIRED),
        status => (
            format!("ended as `{status}`, which is no approval"),
            NOT_APPROVED,
        ),
    };
    let held = refusal(request, held);
    let id = held.escalation_id.as_deref().unwrap_or_default();
    Denied {
        decision: Decision::Deny,
        reason: format!("the escalation `{id}` {ended}: {}", held.reason),
        code: Some(code.to_owned()),
        // The wait of the hold does not apply to an escalation that ended.
        retry_after: None,
        ..held
    }
}
