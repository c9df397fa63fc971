//! The events of pending decisions: each step of one is on the chain.

use std::sync::Arc;

use crate::ledger::approval::{ApprovalEntry, Step, Vote};
use crate::trail::chain::{NewEvent, format_time};

/// Records that a decision waits for approvers.
pub(crate) fn requested(row: &ApprovalEntry) -> NewEvent {
    let policies: Vec<Arc<str>> = row
        .rules
        .iter()
        .map(|rule| Arc::clone(&rule.policy))
        .collect();
    about(NewEvent::new("approval.requested"), row)
        .with("reason", row.reason.clone())
        .with("policies", policies)
        .with("approvers", row.approvers())
        .with("approvals_required", u64::from(row.tally().required))
        .with("expires_at", format_time(row.timeout_at))
        .with_some("environment", row.question.environment.clone())
}

/// Records that the approvers of the next step can vote, too.
pub(crate) fn escalated(row: &ApprovalEntry, step: &Step) -> NewEvent {
    about(NewEvent::new("approval.requested"), row)
        .with("reason", row.reason.clone())
        .with("escalation_depth", u64::from(step.depth))
        .with("approvers", row.approvers())
        .with("expires_at", format_time(row.timeout_at))
        .with_some("escalated_by", step.by.clone())
        .with_some("note", step.reason.clone())
}

/// Records a vote.
pub(crate) fn voted(row: &ApprovalEntry, vote: &Vote) -> NewEvent {
    let roles: Vec<Arc<str>> = vote
        .approver
        .roles
        .iter()
        .map(|role| role.as_str().into())
        .collect();
    let (grant, artifact) = (vote.grant, vote.artifact.as_ref());
    about(NewEvent::new("approval.voted"), row)
        .with("vote_id", vote.id.clone())
        .with("approver", vote.approver.principal.clone())
        .with("roles", roles)
        .with("vote", if vote.approves { "approve" } else { "reject" })
        .with_some("via", vote.via.clone())
        .with_some(
            "artifact_hash",
            artifact.map(|artifact| artifact.artifact_hash.clone()),
        )
        .with_some("note", vote.note.clone())
        .with_some(
            "grant_seconds",
            grant.map(|grant| grant.lasts.as_secs().unsigned_abs()),
        )
        .with_some("grant_times", grant.map(|grant| u64::from(grant.times)))
}

/// Records that the approvers agreed, and what their approval releases.
pub(crate) fn granted(row: &ApprovalEntry) -> NewEvent {
    let release = row.release.as_ref();
    about(NewEvent::new("approval.granted"), row)
        .with("approvers", row.approved_by())
        .with_some("uses", release.map(|release| u64::from(release.uses_left)))
        .with_some(
            "expires_at",
            release.map(|release| format_time(release.until)),
        )
        .with_some("any_context", release.map(|release| release.any_context))
}

/// Records that an approver rejected the request.
pub(crate) fn rejected(row: &ApprovalEntry) -> NewEvent {
    closed(NewEvent::new("approval.rejected"), row)
}

/// Records that nobody decided in time, or that the decision was ended by hand.
pub(crate) fn expired(row: &ApprovalEntry) -> NewEvent {
    let why = row
        .closing
        .as_ref()
        .and_then(|closing| closing.expired.as_ref());
    closed(NewEvent::new("approval.expired"), row)
        .with_some("expired_reason", why.map(|why| why.as_str().to_owned()))
}

fn closed(event: NewEvent, row: &ApprovalEntry) -> NewEvent {
    let closing = row.closing.as_ref();
    about(event, row)
        .with_some("closed_by", closing.and_then(|closing| closing.by.clone()))
        .with_some("note", closing.and_then(|closing| closing.note.clone()))
}

/// Adds the pending decision to an event.
fn about(mut event: NewEvent, row: &ApprovalEntry) -> NewEvent {
    event.actor_id = Some(row.question.agent.clone());
    event.resource_id = row.question.resource.as_deref().map(Arc::from);
    event
        .with("escalation_id", row.id.to_string())
        .with("action_type", row.question.action.clone())
        .with("action_hash", row.question.action_hash.clone())
        .with("shown_hash", row.shown_hash.clone())
}
