//! The data of a permit, for logs and databases.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PermitId;
use crate::Agent;
use crate::wire::{ApprovalRecord, BudgetState};

/// The data of a permit, for logs, databases and audits. It proves nothing and opens nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PermitRecord {
    /// The permit's id: the public id (`pt_…`), or the used-up token where the service sends no
    /// public id.
    pub id: PermitId,
    /// The agent that may execute the action.
    pub agent: Agent,
    /// The action's name.
    pub action: Cow<'static, str>,
    /// The resource of the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The authority's reason for the allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hash that identifies the permit in audit trails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The hash of the audit event that recorded the allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_hash: Option<String>,
    /// The time of the verification (ISO 8601), by the authority's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The time of expiry (ISO 8601), by the authority's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What is left of the budgets that the permit took its amount from. Empty if its policies have
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetState>,
    /// The approvals that the permit was granted on. Empty if no person had to approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRecord>,
}

impl PermitRecord {
    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("id", &self.id)
            .field("agent", &self.agent)
            .field("action", &self.action)
            .field("resource", &self.resource)
            .field("reason", &self.reason)
            .field("hash", &self.hash)
            .field("audit_hash", &self.audit_hash)
            .field("timestamp", &self.timestamp)
            .field("expires_at", &self.expires_at)
            .field("budgets", &self.budgets)
            .field("approvals", &self.approvals)
            .finish()
    }
}

impl fmt::Debug for PermitRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as("PermitRecord", f)
    }
}
