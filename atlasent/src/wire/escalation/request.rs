//! The bodies of requests about escalations.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{FallbackDecision, Members, QuorumTier};
use crate::json::object::{Object, ObjectAndOthers};
use crate::json::unique;
use crate::wire::OtherFields;

/// The request to open an escalation: the body of `POST /v1/hitl`.
///
/// ```
/// use atlasent::wire::{CreateEscalation, QuorumTier};
///
/// let mut request = CreateEscalation::new("deploy-bot", "a release needs two people");
/// request.assigned_to_role = Some("release-manager".to_owned());
/// request.quorum_required = Some(QuorumTier::SimpleMajority);
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "ObjectAndOthers<WireCreate>")]
#[non_exhaustive]
pub struct CreateEscalation {
    /// The agent that asks.
    pub agent_id: String,
    /// The reason why a person has to decide.
    pub escalation_reason: String,
    /// The action that waits, as a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed_action: Option<Map<String, Value>>,
    /// The risk score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_score: Option<f64>,
    /// The person who has to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to_user_id: Option<String>,
    /// The role whose members have to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_to_role: Option<String>,
    /// How many approvers of the pool have to approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum_required: Option<QuorumTier>,
    /// The least number of approvals, whatever the tier requires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_approvers: Option<u32>,
    /// The number of people who may vote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approver_pool_size: Option<u32>,
    /// How often the escalation may be passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_escalation_depth: Option<u32>,
    /// What happens when the time is over. `atlasent serve` refuses `approve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_decision: Option<FallbackDecision>,
    /// The time when the escalation times out (ISO 8601).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<String>,
    /// The fields of the request that this version does not know. A server sees from them that a
    /// client asks for something that it does not do.
    #[serde(flatten)]
    pub other: OtherFields,
}

impl CreateEscalation {
    /// Creates the request, with the optional fields unset.
    #[must_use]
    pub fn new(agent_id: impl Into<String>, escalation_reason: impl Into<String>) -> Self {
        Self {
            agent_id: agent_id.into(),
            escalation_reason: escalation_reason.into(),
            proposed_action: None,
            risk_score: None,
            assigned_to_user_id: None,
            assigned_to_role: None,
            quorum_required: None,
            min_approvers: None,
            approver_pool_size: None,
            max_escalation_depth: None,
            fallback_decision: None,
            timeout_at: None,
            other: OtherFields::default(),
        }
    }
}

/// Prints the names of the action's members and omits their values, which may be confidential.
impl fmt::Debug for CreateEscalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.proposed_action.as_ref().map(Members);
        f.debug_struct("CreateEscalation")
            .field("agent_id", &self.agent_id)
            .field("escalation_reason", &self.escalation_reason)
            .field("proposed_action", &action)
            .field("risk_score", &self.risk_score)
            .field("assigned_to_user_id", &self.assigned_to_user_id)
            .field("assigned_to_role", &self.assigned_to_role)
            .field("quorum_required", &self.quorum_required)
            .field("min_approvers", &self.min_approvers)
            .field("approver_pool_size", &self.approver_pool_size)
            .field("max_escalation_depth", &self.max_escalation_depth)
            .field("fallback_decision", &self.fallback_decision)
            .field("timeout_at", &self.timeout_at)
            .field("other", &self.other)
            .finish()
    }
}

#[derive(Deserialize)]
struct WireCreate {
    agent_id: String,
    escalation_reason: String,
    #[serde(default, deserialize_with = "unique::optional_object")]
    proposed_action: Option<Map<String, Value>>,
    risk_score: Option<f64>,
    assigned_to_user_id: Option<String>,
    assigned_to_role: Option<String>,
    quorum_required: Option<QuorumTier>,
    min_approvers: Option<u32>,
    approver_pool_size: Option<u32>,
    max_escalation_depth: Option<u32>,
    fallback_decision: Option<FallbackDecision>,
    timeout_at: Option<String>,
}

impl From<ObjectAndOthers<WireCreate>> for CreateEscalation {
    fn from(ObjectAndOthers { known: wire, other }: ObjectAndOthers<WireCreate>) -> Self {
        Self {
            agent_id: wire.agent_id,
            escalation_reason: wire.escalation_reason,
            proposed_action: wire.proposed_action,
            risk_score: wire.risk_score,
            assigned_to_user_id: wire.assigned_to_user_id,
            assigned_to_role: wire.assigned_to_role,
            quorum_required: wire.quorum_required,
            min_approvers: wire.min_approvers,
            approver_pool_size: wire.approver_pool_size,
            max_escalation_depth: wire.max_escalation_depth,
            fallback_decision: wire.fallback_decision,
            timeout_at: wire.timeout_at,
            other: OtherFields::new(other),
        }
    }
}

/// A vote: the body of `POST /v1/hitl/{id}/approve` and `…/reject`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Object<WireCast>")]
#[non_exhaustive]
pub struct CastVote {
    /// The note of the person who votes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For how many seconds an approval is good for the same action and resource, with any context.
    /// Unset for an approval of the one call, and for one of a number of calls. Only `atlasent
    /// serve` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_seconds: Option<u64>,
    /// How many calls an approval is good for, with any context. Only `atlasent serve` knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_times: Option<u32>,
}

impl CastVote {
    /// Creates a vote on the one call, with a note or without.
    #[must_use]
    pub fn new(note: Option<String>) -> Self {
        Self {
            note,
            grant_seconds: None,
            grant_times: None,
        }
    }

    /// Makes an approval good for the same agent, action and resource with any context: for a time,
    /// and for a number of calls, without one for any number. The policy has to allow that
    /// (`@approval_grants`). Parts of a second count as one. A second call replaces the first.
    #[must_use]
    pub fn for_any_context(mut self, time: Duration, times: Option<u32>) -> Self {
        self.grant_seconds = Some(time.as_secs() + u64::from(time.subsec_nanos() > 0));
        self.grant_times = times;
        self
    }

    /// Makes an approval good for the same agent, action and resource with any context: for a
    /// number of calls, within the longest time that the policy allows (`@approval_grants`).
    /// Replaces [`for_any_context`](Self::for_any_context), as that replaces this.
    #[must_use]
    pub fn times_in_any_context(mut self, times: u32) -> Self {
        self.grant_seconds = None;
        self.grant_times = Some(times);
        self
    }
}

#[derive(Deserialize)]
struct WireCast {
    note: Option<String>,
    grant_seconds: Option<u64>,
    grant_times: Option<u32>,
}

impl From<Object<WireCast>> for CastVote {
    fn from(Object(wire): Object<WireCast>) -> Self {
        Self {
            note: wire.note,
            grant_seconds: wire.grant_seconds,
            grant_times: wire.grant_times,
        }
    }
}

/// The request to pass an escalation on to other approvers: the body of
/// `POST /v1/hitl/{id}/escalate`. By default the service chooses them.
///
/// ```
/// use atlasent::wire::EscalateRequest;
///
/// let request = EscalateRequest::default().to_role("head-of-operations").reason("nobody is on call");
/// assert_eq!(request.to_role.as_deref(), Some("head-of-operations"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Object<WireEscalate>")]
#[must_use]
#[non_exhaustive]
pub struct EscalateRequest {
    /// The role that has to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_role: Option<String>,
    /// The person who has to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_user_id: Option<String>,
    /// The reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl EscalateRequest {
    /// Sets the role that has to decide. A second call replaces the first.
    pub fn to_role(mut self, role: impl Into<String>) -> Self {
        self.to_role = Some(role.into());
        self
    }

    /// Sets the person who has to decide. A second call replaces the first.
    pub fn to_user_id(mut self, user: impl Into<String>) -> Self {
        self.to_user_id = Some(user.into());
        self
    }

    /// Sets the reason. A second call replaces the first.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

#[derive(Deserialize)]
struct WireEscalate {
    to_role: Option<String>,
    to_user_id: Option<String>,
    reason: Option<String>,
}

impl From<Object<WireEscalate>> for EscalateRequest {
    fn from(Object(wire): Object<WireEscalate>) -> Self {
        Self {
            to_role: wire.to_role,
            to_user_id: wire.to_user_id,
            reason: wire.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_say_only_what_is_set_and_are_read_again() {
        let create = CreateEscalation::new("bot", "r");
        let written = serde_json::to_value(&create).unwrap();
        assert_eq!(
            written,
            json!({"agent_id": "bot", "escalation_reason": "r"})
        );
        assert_eq!(
            serde_json::from_value::<CreateEscalation>(written).unwrap(),
            create
        );
        let full = json!({"agent_id": "bot", "escalation_reason": "r", "proposed_action": {"a": [1]},
            "risk_score": 0.5, "assigned_to_user_id": "u", "assigned_to_role": "x",
            "quorum_required": "unanimous", "min_approvers": 2, "approver_pool_size": 3,
            "max_escalation_depth": 4, "fallback_decision": "approve", "timeout_at": "t",
            "approver_pool": [{"kind": "agent"}]});
        let create: CreateEscalation = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(create.fallback_decision, Some(FallbackDecision::Approve));
        assert!(create.other.get("approver_pool").is_some());
        assert_eq!(serde_json::to_value(create).unwrap(), full);

        assert_eq!(
            serde_json::to_value(CastVote::default()).unwrap(),
            json!({})
        );
        let vote: CastVote = serde_json::from_value(json!({"note": "n", "new": 1})).unwrap();
        assert_eq!(vote, CastVote::new(Some("n".to_owned())));
        let escalate = EscalateRequest::default()
            .to_role("a")
            .to_role("b")
            .to_user_id("u")
            .reason("r");
        let written = serde_json::to_value(&escalate).unwrap();
        assert_eq!(
            written,
            json!({"to_role": "b", "to_user_id": "u", "reason": "r"})
        );
        assert_eq!(
            serde_json::from_value::<EscalateRequest>(written).unwrap(),
            escalate
        );
    }

    #[test]
    fn unreadable_requests_are_errors() {
        for text in [
            r#"{"agent_id":"bot"}"#,
            r#"{"agent_id":"bot","escalation_reason":null}"#,
            r#"{"agent_id":"bot","escalation_reason":"r","min_approvers":-1}"#,
            r#"{"agent_id":"bot","escalation_reason":"r","proposed_action":{"a":1,"a":2}}"#,
            r#"{"agent_id":"bot","agent_id":"bot","escalation_reason":"r"}"#,
            r#"["bot","r"]"#,
        ] {
            assert!(
                serde_json::from_str::<CreateEscalation>(text).is_err(),
                "{text}"
            );
        }
        assert!(serde_json::from_str::<CastVote>("[\"n\"]").is_err());
        assert!(serde_json::from_str::<EscalateRequest>("[\"n\"]").is_err());
    }
}
