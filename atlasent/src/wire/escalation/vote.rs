//! The history of an escalation: votes, and the steps by which it was passed on.

use serde::{Deserialize, Serialize};

use super::{QuorumTier, VoteDecision};
use crate::json::object::ObjectAndOthers;
use crate::wire::OtherFields;

/// A vote on an escalation: an entry of `GET /v1/hitl/{id}/approvals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ObjectAndOthers<WireVote>")]
#[non_exhaustive]
pub struct Vote {
    /// The id of the vote.
    pub id: String,
    /// The person who voted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The name of that person, for display.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_label: Option<String>,
    /// The decision.
    pub decision: VoteDecision,
    /// The note of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The quorum that was required when the vote was cast.
    pub quorum_at_vote: QuorumTier,
    /// The time of the vote (ISO 8601).
    pub created_at: String,
    /// The fields of the vote that this version does not know.
    #[serde(flatten)]
    pub other: OtherFields,
}

impl Vote {
    /// Creates a vote, with the optional fields unset.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        decision: VoteDecision,
        quorum_at_vote: QuorumTier,
        created_at: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            user_id: None,
            actor_label: None,
            decision,
            note: None,
            quorum_at_vote,
            created_at: created_at.into(),
            other: OtherFields::default(),
        }
    }
}

#[derive(Deserialize)]
struct WireVote {
    id: String,
    user_id: Option<String>,
    actor_label: Option<String>,
    decision: VoteDecision,
    note: Option<String>,
    quorum_at_vote: QuorumTier,
    created_at: String,
}

impl From<ObjectAndOthers<WireVote>> for Vote {
    fn from(ObjectAndOthers { known: wire, other }: ObjectAndOthers<WireVote>) -> Self {
        Self {
            id: wire.id,
            user_id: wire.user_id,
            actor_label: wire.actor_label,
            decision: wire.decision,
            note: wire.note,
            quorum_at_vote: wire.quorum_at_vote,
            created_at: wire.created_at,
            other: OtherFields::new(other),
        }
    }
}

/// A step by which an escalation was passed on to other approvers: an entry of
/// `GET /v1/hitl/{id}/chain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "ObjectAndOthers<WireStep>")]
#[non_exhaustive]
pub struct EscalationStep {
    /// The id of the step.
    pub id: String,
    /// The number of the step, from 1.
    pub depth: u32,
    /// The role that had to decide before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_role: Option<String>,
    /// The person who had to decide before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_user_id: Option<String>,
    /// The role that has to decide now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_role: Option<String>,
    /// The person who has to decide now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_user_id: Option<String>,
    /// The person who passed the escalation on. It is unset if the authority did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalated_by: Option<String>,
    /// The reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The time of the step (ISO 8601).
    pub created_at: String,
    /// The fields of the step that this version does not know.
    #[serde(flatten)]
    pub other: OtherFields,
}

impl EscalationStep {
    /// Creates a step, with the optional fields unset.
    #[must_use]
    pub fn new(id: impl Into<String>, depth: u32, created_at: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            depth,
            from_role: None,
            from_user_id: None,
            to_role: None,
            to_user_id: None,
            escalated_by: None,
            reason: None,
            created_at: created_at.into(),
            other: OtherFields::default(),
        }
    }
}

#[derive(Deserialize)]
struct WireStep {
    id: String,
    depth: u32,
    from_role: Option<String>,
    from_user_id: Option<String>,
    to_role: Option<String>,
    to_user_id: Option<String>,
    escalated_by: Option<String>,
    reason: Option<String>,
    created_at: String,
}

impl From<ObjectAndOthers<WireStep>> for EscalationStep {
    fn from(ObjectAndOthers { known: wire, other }: ObjectAndOthers<WireStep>) -> Self {
        Self {
            id: wire.id,
            depth: wire.depth,
            from_role: wire.from_role,
            from_user_id: wire.from_user_id,
            to_role: wire.to_role,
            to_user_id: wire.to_user_id,
            escalated_by: wire.escalated_by,
            reason: wire.reason,
            created_at: wire.created_at,
            other: OtherFields::new(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn votes_and_steps_are_read_in_full_and_written_again() {
        let vote = json!({"id": "v1", "user_id": "alice", "actor_label": "Alice", "decision": "approve",
            "note": "checked", "quorum_at_vote": "unanimous", "created_at": "t", "roles": ["x"]});
        let read: Vote = serde_json::from_value(vote.clone()).unwrap();
        assert_eq!(read.decision, VoteDecision::Approve);
        assert_eq!(serde_json::to_value(read).unwrap(), vote);
        let step = json!({"id": "s1", "depth": 1, "from_role": "a", "from_user_id": "b", "to_role": "c",
            "to_user_id": "d", "escalated_by": "e", "reason": "f", "created_at": "t", "new": true});
        let read: EscalationStep = serde_json::from_value(step.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), step);
        let least = json!({"id": "s1", "depth": 1, "created_at": "t"});
        let read: EscalationStep = serde_json::from_value(least).unwrap();
        assert_eq!(read, EscalationStep::new("s1", 1, "t"));
        assert!(serde_json::from_value::<EscalationStep>(json!(["s1", 1])).is_err());
        assert!(serde_json::from_value::<Vote>(json!({"id": "v1", "created_at": "t"})).is_err());
    }
}
