//! Keeping pending decisions up to date: what their time, the policies and the agent's questions
//! make of them.

use atlasent::wire::ExpiredReason;
use jiff::{SignedDuration, Timestamp};

use crate::ledger::approval::{ApprovalEntry, ApprovalState, VoteOutcome};
use crate::policy::Policies;
use crate::store::Changeset;
use crate::trail::approval_events;
use crate::trail::chain::NewEvent;

/// The note of a decision that ended because the policies changed.
const POLICIES_CHANGED: &str = "the policies of this action changed, so the question is a new one";

/// Ends an open decision if its policies changed. If its time is over, escalates it, or ends it if
/// no further step is named. Records the change, and returns whether there was one. The caller
/// [keeps](keep) the decision then. `policies` are those in force, if they are known; `call` says
/// how long an approval of one call is good.
///
/// The events name no API key: time or new policies cause them, not the request or task that
/// notices the change.
///
/// A decision is not escalated after the time of its last step, because a repeated question then
/// opens a new decision. A server that was down until then escalates it no more.
pub(super) fn settle(
    row: &mut ApprovalEntry,
    policies: Option<&Policies>,
    call: SignedDuration,
    changeset: &mut Changeset<'_>,
) -> bool {
    if !row.is_open() {
        return false;
    }
    let now = changeset.time();
    let digest = policies.map(|policies| policies.action_digest(&row.question.action));
    let held_by = row.policy.as_deref();
    if digest.is_some_and(|digest| held_by.is_some_and(|policy| policy != digest)) {
        let note = Some(POLICIES_CHANGED.to_owned());
        row.time_out(ExpiredReason::ManualExpire, None, note, now);
    } else if now < row.timeout_at {
        return false;
    } else if now < row.last_timeout() && row.escalate(None, None, now) {
        for event in after_escalation(row, call, now) {
            changeset.record(event);
        }
        return true;
    } else {
        row.time_out(row.expired_reason(), None, None, now);
    }
    changeset.record(approval_events::expired(row));
    true
}

/// Returns the events of an escalation that has just been made. Votes of the approvers that it adds
/// count from now on, and may be all that was missing: the decision is closed then.
pub(super) fn after_escalation(
    row: &mut ApprovalEntry,
    call: SignedDuration,
    now: Timestamp,
) -> Vec<NewEvent> {
    let escalated = row
        .steps
        .last()
        .map(|step| approval_events::escalated(row, step));
    let is_granted = row.decide(now, call) == VoteOutcome::Granted;
    let granted = is_granted.then(|| approval_events::granted(row));
    escalated.into_iter().chain(granted).collect()
}

/// Writes a pending decision, and what the same question finds from now on. The change must name
/// the [cells](crate::store::EscalationId::cells) of the decision and the questions of its agent
/// among its reads.
pub(super) fn keep(row: ApprovalEntry, changeset: &mut Changeset<'_>) {
    let (agent, now, id) = (row.agent_key(), changeset.time(), row.id);
    let mut asked = changeset.questions(agent);
    let (own, grant) = (row.question_key(), row.question.grant_key(id));
    match (row.state, &row.release) {
        (ApprovalState::Pending | ApprovalState::Escalated, _) => {
            asked.open_until(own, id, row.last_timeout(), now);
        }
        (ApprovalState::Approved, Some(release)) if release.uses_left > 0 => {
            if release.any_context {
                asked.close_until(grant, id, release.until, now);
            }
            asked.close_until(own, id, release.until, now);
        }
        // The same question is answered by the rejection as long as it could have waited.
        (ApprovalState::Rejected, _) if row.policy.is_some() => {
            asked.close_until(own, id, row.timeout_at, now);
        }
        (ApprovalState::Approved | ApprovalState::Rejected | ApprovalState::TimedOut, _) => {
            asked.remove(&own, id);
            asked.remove(&grant, id);
        }
    }
    changeset.keep_questions(agent, asked);
    // It is never open again once it was closed, so this is not refused.
    let is_kept = changeset.keep_approval(row);
    debug_assert!(is_kept, "a closed decision was opened again");
}
