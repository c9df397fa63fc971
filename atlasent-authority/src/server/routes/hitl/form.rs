//! Pending decisions in the form of the contract (part D, "Approvals").

use std::time::Duration;

use atlasent::text::Escaped;
use atlasent::wire::{
    CastVote, EscalateRequest, Escalation, EscalationStep, FallbackDecision, QuorumProgress,
    QuorumTier, Vote, VoteDecision,
};

use super::proposed::proposed_action;
use crate::ledger::approval::{ApprovalEntry, ApprovalState, InvalidApprover, check_name};
use crate::local::approvals::Ballot;
use crate::policy::{ApproverName, Approvers, Quorum};
use crate::server::api_error::ApiError;
use crate::store::OrgId;
use crate::trail::chain::format_time;

/// Returns a decision as the contract's escalation.
pub(super) fn escalation(row: &ApprovalEntry, org: &OrgId) -> Escalation {
    let question = &row.question;
    let mut escalation = Escalation::new(
        row.id.to_string(),
        org.as_str(),
        question.agent.as_str(),
        row.reason.clone(),
        format_time(row.opened_at),
    );
    escalation.status = row.state.into();
    let shown = row.shown.as_str();
    escalation.proposed_action = proposed_action(row);
    (escalation.assigned_to_user_id, escalation.assigned_to_role) = assigned_to(row);
    if let Some(closing) = &row.closing {
        escalation.resolved_by.clone_from(&closing.by);
        escalation.resolution_note.clone_from(&closing.note);
        escalation.resolved_at = Some(format_time(closing.at));
        escalation.expired_reason.clone_from(&closing.expired);
    }
    escalation.risk_score = row.risk_score.as_ref().and_then(serde_json::Number::as_f64);
    escalation.timeout_at = Some(format_time(row.timeout_at));
    let tally = row.tally();
    escalation.quorum_required = tier(row);
    escalation.min_approvers = at_least(row).unwrap_or(tally.required);
    escalation.approver_pool_size = pool(row).max(tally.required);
    escalation.escalation_depth = number(row.depth());
    escalation.max_escalation_depth = number(row.max_depth());
    escalation.fallback_decision = FallbackDecision::Reject;
    let mut progress = QuorumProgress::new(tally.required, tally.approved, tally.rejected);
    progress.remaining = tally.remaining;
    progress.satisfied = tally.satisfied;
    progress.rejected_terminal = row.state == ApprovalState::Rejected;
    escalation.quorum_progress = Some(progress);
    escalation.action_hash = Some(question.action_hash.clone());
    escalation.shown = shown.map(str::to_owned);
    escalation.shown_hash = Some(row.shown_hash.clone());
    if row.policy.is_some() {
        let policies = row.rules.iter().map(|rule| rule.policy.to_string());
        escalation.policies = policies.collect();
    }
    escalation.approvers = Some(row.approvers());
    escalation.reason = Some(row.reason.clone());
    escalation
}

/// Returns the votes on a decision, in their order.
pub(super) fn votes(row: &ApprovalEntry) -> Vec<Vote> {
    let vote = |cast: &crate::ledger::approval::Vote| {
        let decision = match cast.approves {
            true => VoteDecision::Approve,
            false => VoteDecision::Reject,
        };
        let mut vote = Vote::new(cast.id.clone(), decision, tier(row), format_time(cast.at));
        vote.user_id = Some(cast.approver.principal.clone());
        vote.actor_label =
            (!cast.approver.roles.is_empty()).then(|| cast.approver.roles.join(", "));
        vote.note.clone_from(&cast.note);
        vote
    };
    row.votes.iter().map(vote).collect()
}

/// Returns the escalations of a decision, in their order.
pub(super) fn chain(row: &ApprovalEntry) -> Vec<EscalationStep> {
    let step = |step: &crate::ledger::approval::Step| {
        let id = format!("{}_{}", row.id, step.depth);
        let mut form = EscalationStep::new(id, step.depth, format_time(step.at));
        (form.from_role, form.from_user_id) = role_and_user(&step.from);
        (form.to_role, form.to_user_id) = role_and_user(&step.to);
        form.escalated_by.clone_from(&step.by);
        form.reason.clone_from(&step.reason);
        form
    };
    row.steps.iter().map(step).collect()
}

/// Returns the role and the person that the approvers of a step are. More than one of either are
/// one text in the place of the role.
fn role_and_user(approvers: &str) -> (Option<String>, Option<String>) {
    let name = |text: &str, kind: &str| {
        let name = text.strip_prefix(kind)?;
        let is_one = !name.contains(", ") && !name.contains(" or ");
        is_one.then(|| name.to_owned())
    };
    let both = approvers.split_once(" or ");
    let both = both.and_then(|(role, user)| name(role, "role:").zip(name(user, "user:")));
    match (both, name(approvers, "user:"), name(approvers, "role:")) {
        (Some((role, user)), ..) => (Some(role), Some(user)),
        (None, Some(user), _) => (None, Some(user)),
        (None, None, Some(role)) => (Some(role), None),
        (None, None, None) => (Some(approvers.to_owned()), None),
    }
}

/// Returns whom the caller wants to escalate to. Policies say who decides what they hold, so the
/// next step of such a decision must name them; that of one that was opened by hand is free.
pub(super) fn next_step(
    row: &ApprovalEntry,
    wanted: &EscalateRequest,
) -> Result<Approvers, ApiError> {
    let role = ("to_role", wanted.to_role.clone());
    let user = ("to_user_id", wanted.to_user_id.clone());
    let names = names(role, user)?;
    if row.policy.is_none() && !names.is_empty() {
        return Ok(Approvers::OneOf(names));
    }
    for name in names {
        let next = row
            .rules
            .iter()
            .filter_map(|rule| rule.escalate_to.get(row.depth()));
        let lists = |approvers: &Approvers| match approvers {
            Approvers::OneOf(names) => names.contains(&name),
            Approvers::Any => false,
        };
        if !next.clone().any(lists) {
            let next: Vec<String> = next.map(ToString::to_string).collect();
            let next = match next.is_empty() {
                true => "nobody".to_owned(),
                false => next.join(", "),
            };
            return Err(ApiError::invalid(format!(
                "the next step of the policies is {next}, and not {}: leave `to_role` and `to_user_id` out",
                Escaped::new(&name.to_string())
            )));
        }
    }
    Ok(Approvers::Any)
}

/// Returns the names of a role and of a person, each with its field, where they are set.
pub(super) fn names(
    (role_field, role): (&str, Option<String>),
    (user_field, user): (&str, Option<String>),
) -> Result<Vec<ApproverName>, ApiError> {
    let mut names = Vec::new();
    if let Some(role) = role {
        check_name("role", &role).map_err(in_field(role_field))?;
        names.push(ApproverName::Role(role));
    }
    if let Some(user) = user {
        check_name("principal", &user).map_err(in_field(user_field))?;
        names.push(ApproverName::User(user));
    }
    Ok(names)
}

fn in_field(field: &str) -> impl Fn(InvalidApprover) -> ApiError {
    move |error| ApiError::invalid(format!("`{field}`: {error}"))
}

/// Adds what an approval grants beyond this one call, if the vote says so.
pub(super) fn with_grant(ballot: Ballot, vote: &CastVote) -> Ballot {
    match (vote.grant_seconds, vote.grant_times) {
        (None, None) => ballot,
        (None, Some(times)) => ballot.times_in_any_context(times),
        (Some(seconds), times) => {
            ballot.for_any_context(Duration::from_secs(seconds), times.unwrap_or(u32::MAX))
        }
    }
}

/// Returns the person and the role that a decision is assigned to. They are the approvers who were
/// asked last. Both are `None` if the policies name more than one of either.
fn assigned_to(row: &ApprovalEntry) -> (Option<String>, Option<String>) {
    let [rule] = row.rules.as_slice() else {
        return (None, None);
    };
    let Approvers::OneOf(names) = row.last_approvers(rule) else {
        return (None, None);
    };
    match names.as_slice() {
        [ApproverName::User(user)] => (Some(user.clone()), None),
        [ApproverName::Role(role)] => (None, Some(role.clone())),
        [ApproverName::Role(role), ApproverName::User(user)]
        | [ApproverName::User(user), ApproverName::Role(role)] => {
            (Some(user.clone()), Some(role.clone()))
        }
        _ => (None, None),
    }
}

/// Returns the quorum of the rule that asks for the most.
fn largest_quorum(row: &ApprovalEntry) -> Option<&Quorum> {
    let quorums = row.rules.iter().map(|rule| &rule.quorum);
    quorums.max_by_key(|quorum| quorum.required())
}

/// Returns the tier of the rule that asks for the most.
fn tier(row: &ApprovalEntry) -> QuorumTier {
    match largest_quorum(row) {
        Some(Quorum::Tier { tier, .. }) => (*tier).into(),
        _ => QuorumTier::SingleApprover,
    }
}

/// Returns the least number of approvals beside the tier, if there is one.
fn at_least(row: &ApprovalEntry) -> Option<u32> {
    match largest_quorum(row) {
        Some(Quorum::Tier { at_least, .. }) => *at_least,
        _ => None,
    }
}

/// Returns how many people may vote, as far as the policies say.
fn pool(row: &ApprovalEntry) -> u32 {
    let of_rule = |rule: &crate::policy::ApprovalRule| match &rule.quorum {
        Quorum::Tier { of, .. } => *of,
        _ => 0,
    };
    row.rules.iter().map(of_rule).max().unwrap_or(0)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
