//! The events that the audit chain records. No event contains a token or a key.

use std::sync::Arc;

use crate::ledger::permit_key::PermitKey;
use crate::ledger::stops::Stop;
use crate::ledger::{PermitEntry, PermitState, VerifyRefusal};
use crate::local::caller::Caller;
use crate::policy::{
    ApprovalRule, Policies, PolicyError, REDACTED, RedactedContext, Verdict, redacts,
};
use crate::trail::chain::{NewEvent, format_time};
use atlasent::wire::{EvaluateRequest, Receipt, ReceiptOutcome, ResultHash, VerifyRequest};
use atlasent::{Agent, Decision};

/// Records a decision on an action and a resource. With `with_context`, also the context, without
/// the values that these rules redact, and without the caller's secret: the chain is read by more
/// people than those who approve.
pub(crate) fn evaluation(
    request: &EvaluateRequest,
    (action, resource): (Arc<str>, Option<Arc<str>>),
    verdict: Verdict,
    permit: Option<PermitKey>,
    with_context: Option<(&[ApprovalRule], &Caller<'_>)>,
) -> NewEvent {
    let kind = match verdict.decision {
        Decision::Allow => "evaluate.allow",
        Decision::Deny => "evaluate.deny",
        Decision::Hold => "evaluate.hold",
        Decision::Escalate => "evaluate.escalate",
    };
    let errors = verdict.errors.iter();
    let errors: Vec<Arc<str>> = errors.map(|error| error.as_str().into()).collect();
    let errors = Some(errors).filter(|errors| !errors.is_empty());
    let context = &request.context;
    let options = &request.options;
    // The amount is a value of the caller's, as those of the context are.
    let amount = options.amount.as_ref().zip(with_context);
    let amount = amount.map(|(amount, (rules, _))| match redacts(rules, "amount") {
        true => REDACTED.to_owned(),
        false => amount.to_string(),
    });
    let recorded = with_context.map(|(rules, caller)| {
        let json = context.canonical_json();
        caller.without_secret(match rules.iter().all(|rule| rule.redact.is_empty()) {
            true => json,
            false => RedactedContext::new(&json, rules).json().to_owned(),
        })
    });
    let mut event = NewEvent::new(kind)
        .with("action_type", action)
        .with("reason", verdict.reason)
        .with("policies", verdict.determining)
        .with("context_hash", context.canonical_digest())
        .with_some("context", recorded)
        .with_some("amount", amount)
        .with_some("errors", errors)
        .with_some("code", verdict.code)
        .with_some("permit_hash", permit.map(digest))
        .with_some("actors", names(&request.actors))
        .with_some("environment", options.environment.clone())
        .with_some("request_id", options.request_id.clone())
        .with_some("shadow", request.shadow);
    event.decision = Some(verdict.decision.as_str());
    event.actor_id = Some(request.actor_id.clone());
    event.resource_id = resource;
    event
}

/// Turns the event of a decision into that of a repeated request, which got the same permit.
pub(crate) fn replayed(mut event: NewEvent, permit: PermitKey) -> NewEvent {
    event.kind = "evaluate.replayed";
    event.with("permit_hash", digest(permit))
}

/// Turns the event of a decision into that of a denial for a reason outside the policies.
pub(crate) fn deny_instead(event: &mut NewEvent, code: &'static str, reason: String) {
    event.kind = "evaluate.deny";
    event.decision = Some(Decision::Deny.as_str());
    event.payload.remove("permit_hash");
    event.payload.remove("policies");
    event.payload.remove("errors");
    event.payload.insert("code", code.into());
    event.payload.insert("reason", reason.into());
}

/// Turns the event of a hold into that of an allow, which approvers released.
pub(crate) fn allow_instead(event: &mut NewEvent, permit: PermitKey, reason: String) {
    event.kind = "evaluate.allow";
    event.decision = Some(Decision::Allow.as_str());
    event.payload.remove("code");
    event.payload.insert("permit_hash", digest(permit).into());
    event.payload.insert("reason", reason.into());
}

/// Records a verification. The event names the agent and action of the permit, if the ledger knows
/// it, and those that it was presented for.
pub(crate) fn verification(
    request: VerifyRequest,
    permit: PermitKey,
    entry: Option<&PermitEntry>,
    result: Result<(), VerifyRefusal>,
) -> NewEvent {
    let action = request.action_type.filter(|action| !action.is_empty());
    let kind = match result {
        Ok(()) => "permit.verified",
        Err(_) => "permit.verify_failed",
    };
    about(NewEvent::new(kind), permit, entry)
        .with_some("presented_by", request.actor_id.map(Arc::<str>::from))
        .with_some("presented_for", action)
        .with_some("reason", result.err().map(VerifyRefusal::reason))
        .with_some("code", result.err().map(VerifyRefusal::code))
}

/// Records how the body of a permit ended.
pub(crate) fn receipt(receipt: &Receipt, permit: PermitKey, entry: &PermitEntry) -> NewEvent {
    let kind = match receipt.outcome {
        ReceiptOutcome::Completed => "permit.completed",
        ReceiptOutcome::Failed => "permit.failed",
        ReceiptOutcome::Cancelled => "permit.cancelled",
    };
    let hash = receipt.result_hash.as_ref().map(ResultHash::as_str);
    about(NewEvent::new(kind), permit, Some(entry))
        .with("duration_ms", receipt.duration_ms)
        .with_some("result_hash", hash.map(str::to_owned))
        .with_some("error", receipt.error.clone())
}

/// Records the revocation of a permit.
pub(crate) fn revocation(
    permit: PermitKey,
    entry: Option<&PermitEntry>,
    revoked: bool,
    reason: String,
) -> NewEvent {
    let after_use = entry.filter(|entry| entry.state == PermitState::Recalled);
    about(NewEvent::new("permit.revoked"), permit, entry)
        .with("revoked", revoked)
        .with_some("after_use", after_use.map(|_| true))
        .with("reason", reason)
}

/// Records the revocation of every permit that a scope covers, or of those that were issued before
/// an event.
pub(crate) fn recalled(recall: &Stop, before: Option<u64>) -> NewEvent {
    about_stop(NewEvent::new("permit.revoked"), recall)
        .with("recall_id", recall.id.clone())
        .with("reason", recall.reason.clone())
        .with_some("issued_before", before)
}

/// Records that a stop was set.
pub(crate) fn stop_set(stop: &Stop) -> NewEvent {
    about_stop(NewEvent::new("stop.set"), stop)
        .with("stop_id", stop.id.clone())
        .with("reason", stop.reason.clone())
        .with_some("expires_at", stop.expires_at.map(format_time))
}

/// Records that a stop was lifted.
pub(crate) fn stop_lifted(stop: &Stop, reason: String) -> NewEvent {
    about_stop(NewEvent::new("stop.lifted"), stop)
        .with("stop_id", stop.id.clone())
        .with("reason", reason)
}

/// Adds the scope of a stop to an event.
fn about_stop(mut event: NewEvent, stop: &Stop) -> NewEvent {
    if let Some(agent) = stop.scope.agent_id() {
        event.actor_id = Agent::new(agent).ok();
        return event;
    }
    match stop.scope.action_type() {
        Some(action) => event.with("action_type", action.to_owned()),
        None => event.with("all", true),
    }
}

/// Adds a permit to an event.
fn about(mut event: NewEvent, permit: PermitKey, entry: Option<&PermitEntry>) -> NewEvent {
    let grant = entry.map(|entry| &entry.grant);
    event.actor_id = grant.map(|grant| grant.agent.clone());
    event.resource_id = grant.and_then(|grant| grant.resource.clone());
    event
        .with("permit_hash", digest(permit))
        .with_some("action_type", grant.map(|grant| grant.action.clone()))
        .with_some("actors", grant.and_then(|grant| names(&grant.actors)))
}

/// Returns the names of the actors, if there are any.
fn names(actors: &[Agent]) -> Option<Vec<Arc<str>>> {
    let names = actors.iter().map(|actor| Arc::from(actor.clone()));
    Some(names.collect::<Vec<_>>()).filter(|names| !names.is_empty())
}

/// Records that policies were put in force.
pub(crate) fn policies_loaded(policies: &Policies) -> NewEvent {
    let ids: Vec<Arc<str>> = policies.ids().map(Arc::from).collect();
    NewEvent::new("policy.loaded")
        .with("policies", ids)
        .with("policy_version", policies.shared_digest())
}

/// Records that policies were rejected.
pub(crate) fn policies_refused(error: &PolicyError) -> NewEvent {
    let problems = error.problems().iter();
    let problems: Vec<Arc<str>> = problems.take(20).map(|p| p.to_string().into()).collect();
    NewEvent::new("policy.error").with("problems", problems)
}

/// Returns the permit's hash.
fn digest(permit: PermitKey) -> [u8; 32] {
    *permit.as_bytes()
}
