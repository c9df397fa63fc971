//! Escalations: decisions that wait for people (contract, part D, "Approvals").

mod list;
mod progress;
mod request;
mod vote;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::object::ObjectAndOthers;
use crate::json::unique;
use crate::wire::other::{take_string, take_strings};
use crate::wire::{OtherFields, RateLimit};

pub use list::{EscalationFilter, EscalationPage};
pub use progress::QuorumProgress;
pub use request::{CastVote, CreateEscalation, EscalateRequest};
pub use vote::{EscalationStep, Vote};
pub use words::{EscalationStatus, ExpiredReason, FallbackDecision, QuorumTier, VoteDecision};

/// A decision that waits for people: the answer to `GET /v1/hitl/{id}`.
///
/// It is data and opens nothing. After an approval, the agent sends its request again, and the
/// authority decides.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "ObjectAndOthers<WireEscalation>")]
#[non_exhaustive]
pub struct Escalation {
    /// The id (`esc_…`).
    pub id: String,
    /// The organization.
    pub org_id: String,
    /// The agent that asked.
    pub agent_id: String,
    /// The status.
    pub status: EscalationStatus,
    /// The reason why a person has to decide.
    pub escalation_reason: String,
    /// The action that waits, as a JSON object.
    ///
    /// In an answer of `atlasent serve`, a number that a 64-bit float would round is a string of
    /// its digits, and a value that is nested deeper than 32 levels is a string of its JSON.
    /// [`shown`](Self::shown) has the exact text.
    pub proposed_action: Map<String, Value>,
    /// The risk score that the authority computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<f64>,
    /// The person who has to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to_user_id: Option<String>,
    /// The role whose members have to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to_role: Option<String>,
    /// The person whose vote ended the escalation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<String>,
    /// The note of that person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution_note: Option<String>,
    /// The time when the escalation ended (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<String>,
    /// The time when the escalation times out (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<String>,
    /// The time when the escalation was opened (ISO 8601).
    pub created_at: String,
    /// How many approvers of the pool have to approve.
    pub quorum_required: QuorumTier,
    /// The least number of approvals, whatever the tier requires.
    pub min_approvers: u32,
    /// The number of people who may vote.
    pub approver_pool_size: u32,
    /// How often the escalation was passed on.
    pub escalation_depth: u32,
    /// How often the escalation may be passed on.
    pub max_escalation_depth: u32,
    /// What happens when the time is over.
    pub fallback_decision: FallbackDecision,
    /// Why the escalation timed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired_reason: Option<ExpiredReason>,
    /// The votes so far. Some services send them for open escalations only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum_progress: Option<QuorumProgress>,
    /// The hash of the action, to which the approval is bound. Only `atlasent serve` sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_hash: Option<String>,
    /// What approvers are shown of the action: JSON, in the exact text that
    /// [`shown_hash`](Self::shown_hash) covers. Only `atlasent serve` sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// The hash of the data that approvers are shown. Only `atlasent serve` sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_hash: Option<String>,
    /// The ids of the policies that hold the action. Only `atlasent serve` sends them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// The people who may approve, as text. Only `atlasent serve` sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
    /// The reason of the policies that hold the action. Only `atlasent serve` sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The fields of the answer that this version does not know.
    #[serde(flatten)]
    pub other: OtherFields,
    /// The state of the rate limit, from the headers of the answer.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
}

impl Escalation {
    /// Creates a pending escalation that one approver decides, with the optional fields unset.
    ///
    /// ```
    /// use atlasent::wire::{Escalation, EscalationStatus, QuorumTier};
    ///
    /// let mut escalation = Escalation::new(
    ///     "esc_ba7816bf8f01cfea414140de5dae2223", "local", "deploy-bot", "a release needs two people",
    ///     "2026-11-01T00:00:00Z",
    /// );
    /// (escalation.min_approvers, escalation.approver_pool_size) = (2, 3);
    /// assert_eq!(escalation.status, EscalationStatus::Pending);
    /// assert_eq!(escalation.quorum_required, QuorumTier::SingleApprover);
    /// ```
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        org_id: impl Into<String>,
        agent_id: impl Into<String>,
        escalation_reason: impl Into<String>,
        created_at: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            org_id: org_id.into(),
            agent_id: agent_id.into(),
            status: EscalationStatus::Pending,
            escalation_reason: escalation_reason.into(),
            proposed_action: Map::new(),
            risk_score: None,
            assigned_to_user_id: None,
            assigned_to_role: None,
            resolved_by: None,
            resolution_note: None,
            resolved_at: None,
            timeout_at: None,
            created_at: created_at.into(),
            quorum_required: QuorumTier::SingleApprover,
            min_approvers: 1,
            approver_pool_size: 1,
            escalation_depth: 0,
            max_escalation_depth: 0,
            fallback_decision: FallbackDecision::Reject,
            expired_reason: None,
            quorum_progress: None,
            action_hash: None,
            shown: None,
            shown_hash: None,
            policies: Vec::new(),
            approvers: None,
            reason: None,
            other: OtherFields::default(),
            rate_limit: None,
        }
    }
}

/// Prints the names of the action's members and omits their values and the shown text, which may be
/// confidential.
impl fmt::Debug for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Escalation")
            .field("id", &self.id)
            .field("org_id", &self.org_id)
            .field("agent_id", &self.agent_id)
            .field("status", &self.status)
            .field("escalation_reason", &self.escalation_reason)
            .field("proposed_action", &Members(&self.proposed_action))
            .field("risk_score", &self.risk_score)
            .field("assigned_to_user_id", &self.assigned_to_user_id)
            .field("assigned_to_role", &self.assigned_to_role)
            .field("resolved_by", &self.resolved_by)
            .field("resolution_note", &self.resolution_note)
            .field("resolved_at", &self.resolved_at)
            .field("timeout_at", &self.timeout_at)
            .field("created_at", &self.created_at)
            .field("quorum_required", &self.quorum_required)
            .field("min_approvers", &self.min_approvers)
            .field("approver_pool_size", &self.approver_pool_size)
            .field("escalation_depth", &self.escalation_depth)
            .field("max_escalation_depth", &self.max_escalation_depth)
            .field("fallback_decision", &self.fallback_decision)
            .field("expired_reason", &self.expired_reason)
            .field("quorum_progress", &self.quorum_progress)
            .field("action_hash", &self.action_hash)
            .field("shown_hash", &self.shown_hash)
            .field("policies", &self.policies)
            .field("approvers", &self.approvers)
            .field("reason", &self.reason)
            .field("other", &self.other)
            .field("rate_limit", &self.rate_limit)
            .finish()
    }
}

/// Shows the names of the members.
pub(super) struct Members<'a>(pub(super) &'a Map<String, Value>);

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Deserialize)]
struct WireEscalation {
    id: String,
    org_id: String,
    agent_id: String,
    status: EscalationStatus,
    escalation_reason: String,
    #[serde(default, deserialize_with = "unique::optional_object")]
    proposed_action: Option<Map<String, Value>>,
    risk_score: Option<f64>,
    assigned_to_user_id: Option<String>,
    assigned_to_role: Option<String>,
    resolved_by: Option<String>,
    resolution_note: Option<String>,
    resolved_at: Option<String>,
    timeout_at: Option<String>,
    created_at: String,
    quorum_required: QuorumTier,
    min_approvers: u32,
    approver_pool_size: u32,
    escalation_depth: u32,
    max_escalation_depth: u32,
    fallback_decision: FallbackDecision,
    expired_reason: Option<ExpiredReason>,
    quorum_progress: Option<QuorumProgress>,
}

impl From<ObjectAndOthers<WireEscalation>> for Escalation {
    fn from(answer: ObjectAndOthers<WireEscalation>) -> Self {
        let ObjectAndOthers {
            known: wire,
            mut other,
        } = answer;
        Self {
            id: wire.id,
            org_id: wire.org_id,
            agent_id: wire.agent_id,
            status: wire.status,
            escalation_reason: wire.escalation_reason,
            proposed_action: wire.proposed_action.unwrap_or_default(),
            risk_score: wire.risk_score,
            assigned_to_user_id: wire.assigned_to_user_id,
            assigned_to_role: wire.assigned_to_role,
            resolved_by: wire.resolved_by,
            resolution_note: wire.resolution_note,
            resolved_at: wire.resolved_at,
            timeout_at: wire.timeout_at,
            created_at: wire.created_at,
            quorum_required: wire.quorum_required,
            min_approvers: wire.min_approvers,
            approver_pool_size: wire.approver_pool_size,
            escalation_depth: wire.escalation_depth,
            max_escalation_depth: wire.max_escalation_depth,
            fallback_decision: wire.fallback_decision,
            expired_reason: wire.expired_reason,
            quorum_progress: wire.quorum_progress,
            // The hosted service may use these names for something else, which costs no answer.
            action_hash: take_string(&mut other, "action_hash"),
            shown: take_string(&mut other, "shown"),
            shown_hash: take_string(&mut other, "shown_hash"),
            policies: take_strings(&mut other, "policies"),
            approvers: take_string(&mut other, "approvers"),
            reason: take_string(&mut other, "reason"),
            other: OtherFields::new(other),
            rate_limit: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn least() -> Value {
        json!({"id": "esc_1", "org_id": "o", "agent_id": "bot", "status": "pending",
            "escalation_reason": "r", "created_at": "t", "quorum_required": "single_approver",
            "min_approvers": 1, "approver_pool_size": 1, "escalation_depth": 0,
            "max_escalation_depth": 3, "fallback_decision": "reject"})
    }

    fn read(json: Value) -> Result<Escalation, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn an_escalation_is_read_in_full_and_written_again() {
        let full = json!({"id": "esc_1", "org_id": "o", "agent_id": "bot", "status": "timed_out",
            "escalation_reason": "r", "proposed_action": {"context": {"amount": 9}}, "risk_score": 0.5,
            "assigned_to_user_id": "u", "assigned_to_role": "role", "resolved_by": "alice",
            "resolution_note": "n", "resolved_at": "s", "timeout_at": "x", "created_at": "t",
            "quorum_required": "two_thirds", "min_approvers": 2, "approver_pool_size": 3,
            "escalation_depth": 1, "max_escalation_depth": 3, "fallback_decision": "reject",
            "expired_reason": "sla_expired", "quorum_progress": {"required": 2, "approved": 1,
            "rejected": 0, "remaining": 1, "satisfied": false, "rejected_terminal": false},
            "action_hash": "h", "shown": "{}", "shown_hash": "g", "policies": ["p"], "approvers": "role:x",
            "reason": "why", "sandbox_run_id": "run"});
        let escalation = read(full.clone()).unwrap();
        assert_eq!(
            escalation.quorum_progress,
            Some(QuorumProgress::new(2, 1, 0))
        );
        assert_eq!(escalation.other.as_object().len(), 1);
        assert_eq!(serde_json::to_value(escalation).unwrap(), full);
        let bare = read(least()).unwrap();
        let mut written = least();
        written["proposed_action"] = json!({});
        assert_eq!(serde_json::to_value(bare).unwrap(), written);
    }

    #[test]
    fn what_an_escalation_cannot_do_without_is_asked_for() {
        let names: Vec<_> = least().as_object().unwrap().keys().cloned().collect();
        for name in names {
            for value in [None, Some(json!(null)), Some(json!([7]))] {
                let mut wire = least();
                match value {
                    Some(value) => wire[&name] = value,
                    None => drop(wire.as_object_mut().unwrap().remove(&name)),
                }
                assert!(read(wire).is_err(), "{name}");
            }
        }
        assert!(read(json!(["esc_1", "o"])).is_err());
    }

    #[test]
    fn an_action_with_a_repeated_member_is_an_error() {
        let text = least().to_string();
        for action in [r#"{"a":1,"a":2}"#, r#"{"c":{"a":1,"a":2}}"#, "7", "[]"] {
            let text = text.replacen('{', &format!(r#"{{"proposed_action":{action},"#), 1);
            assert!(
                serde_json::from_str::<Escalation>(&text).is_err(),
                "{action}"
            );
        }
        let text = text.replacen('{', r#"{"proposed_action":null,"#, 1);
        assert!(serde_json::from_str::<Escalation>(&text).is_ok());
    }

    #[test]
    fn members_of_ours_that_mean_something_else_cost_no_answer() {
        for name in [
            "action_hash",
            "shown_hash",
            "policies",
            "approvers",
            "reason",
        ] {
            for value in [json!(7), json!({}), json!([1]), json!(null)] {
                let mut wire = least();
                wire[name] = value;
                assert!(read(wire).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn debug_shows_no_value_of_the_action() {
        let mut wire = least();
        wire["proposed_action"] = json!({"context": {"patient": "Jane Doe"}});
        let shown = format!("{:?}", read(wire).unwrap());
        assert!(
            shown.contains("context") && !shown.contains("Jane"),
            "{shown}"
        );
    }
}
