//! Decisions as text, for people.

use atlasent::wire::{Escalation, EscalationStep, Vote, VoteDecision};
use serde_json::Value;

use crate::output::escaped;

/// Formats a decision as one line.
pub(super) fn line(escalation: &Escalation) -> String {
    let action = text(escalation, "action_type");
    let resource = text(escalation, "resource_id");
    let resource = resource
        .map(|resource| format!(" on {resource}"))
        .unwrap_or_default();
    let progress = escalation.quorum_progress.as_ref();
    let progress =
        progress.map(|progress| format!("{} of {}", progress.approved, progress.required));
    let line = format!(
        "{}  {:<9}  {}  {} asks for {}{resource}: {}  ({} approvals)",
        escalation.id,
        escalation.status,
        escalation.created_at,
        escalation.agent_id,
        action.unwrap_or("an action"),
        escalation.escalation_reason,
        progress.unwrap_or_else(|| "unknown".to_owned()),
    );
    format!("{}\n", escaped(&line))
}

/// Formats a decision with everything that an approver needs to know.
pub(super) fn page(escalation: &Escalation, votes: &[Vote], steps: &[EscalationStep]) -> String {
    let mut page = String::new();
    let mut row = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            page.push_str(&format!("{name:<12} {}\n", escaped(value)));
        }
    };
    row("id", Some(&escalation.id));
    row("status", Some(escalation.status.as_str()));
    row("asked by", Some(&escalation.agent_id));
    row("action", text(escalation, "action_type"));
    row("resource", text(escalation, "resource_id"));
    row("environment", text(escalation, "environment"));
    row("held by", Some(&escalation.policies.join(", ")));
    row("because", Some(&escalation.escalation_reason));
    row("approvers", escalation.approvers.as_deref());
    if let Some(progress) = &escalation.quorum_progress {
        let text = format!(
            "{} of {}, {} missing",
            progress.approved, progress.required, progress.remaining
        );
        row("approvals", Some(&text));
    }
    row("asked at", Some(&escalation.created_at));
    row("expires at", escalation.timeout_at.as_deref());
    row("closed by", escalation.resolved_by.as_deref());
    row("closed at", escalation.resolved_at.as_deref());
    row("note", escalation.resolution_note.as_deref());
    row("action hash", escalation.action_hash.as_deref());
    row("shown hash", escalation.shown_hash.as_deref());
    page.push_str("\nWhat would run:\n");
    page.push_str(&what_would_run(escalation));
    if !votes.is_empty() {
        page.push_str("\nVotes:\n");
    }
    for vote in votes {
        page.push_str(&vote_line(vote));
    }
    if !steps.is_empty() {
        page.push_str("\nEscalations:\n");
    }
    for step in steps {
        page.push_str(&step_line(step));
    }
    page
}

/// Returns the action as JSON, indented. The values are those that the server hashed: a number
/// keeps the digits that it was written with.
fn what_would_run(escalation: &Escalation) -> String {
    let action = Value::Object(escalation.proposed_action.clone());
    let lines = match &escalation.shown {
        Some(shown) => vec![shown.clone()],
        None if escalation.shown_hash.is_some() => {
            vec!["(sealed with a key that the server does not have)".to_owned()]
        }
        None => {
            let json = serde_json::to_string_pretty(&action).unwrap_or_default();
            json.lines().map(str::to_owned).collect()
        }
    };
    lines
        .iter()
        .map(|line| format!("  {}\n", escaped(line)))
        .collect()
}

fn vote_line(vote: &Vote) -> String {
    let verb = match vote.decision {
        VoteDecision::Approve => "approved",
        VoteDecision::Reject => "rejected",
        _ => "voted",
    };
    let roles = vote.actor_label.as_ref().map(|roles| format!(" ({roles})"));
    let note = vote.note.as_ref().map(|note| format!(": {note}"));
    let line = format!(
        "  {}  {} {verb}{}{}",
        vote.created_at,
        vote.user_id.as_deref().unwrap_or("somebody"),
        roles.unwrap_or_default(),
        note.unwrap_or_default()
    );
    format!("{}\n", escaped(&line))
}

fn step_line(step: &EscalationStep) -> String {
    let by = step.escalated_by.as_deref().unwrap_or("the time was over");
    let to = [step.to_role.as_deref(), step.to_user_id.as_deref()];
    let to: Vec<&str> = to.into_iter().flatten().collect();
    let to = match to.is_empty() {
        true => "others".to_owned(),
        false => to.join(" or "),
    };
    let reason = step.reason.as_ref().map(|reason| format!(": {reason}"));
    let line = format!(
        "  {}  to {to} ({by}){}",
        step.created_at,
        reason.unwrap_or_default()
    );
    format!("{}\n", escaped(&line))
}

fn text<'a>(escalation: &'a Escalation, name: &str) -> Option<&'a str> {
    escalation.proposed_action.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_names_the_role_and_the_person_that_it_goes_to() {
        let mut step = EscalationStep::new("esc_1_1", 1, "2026-11-28T09:00:00Z");
        step.to_user_id = Some("mallory\u{1b}".to_owned());
        assert!(step_line(&step).contains("to mallory\\u{1b} (the time was over)"));
        step.to_role = Some("director".to_owned());
        assert!(step_line(&step).contains("to director or mallory\\u{1b} ("));
        step.to_user_id = None;
        assert!(step_line(&step).contains("to director ("));
        step.to_role = None;
        assert!(step_line(&step).contains("to others ("));
    }
}
