//! What a permit authorizes, and whether a verification fits it.

use std::sync::Arc;

use atlasent::Agent;
use atlasent::wire::{ApprovalRecord, EvaluateRequest, VerifyRequest};
use serde::{Deserialize, Serialize};

use crate::ledger::{PermitMismatch, VerifyRefusal};
use crate::trail::chain::hex;

/// What a permit authorizes. Clones share its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitGrant {
    /// The agent that may use the permit.
    pub agent: Agent,
    /// The agents that act for the agent, by delegation, the current one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<Agent>,
    /// The action that the permit is for.
    pub action: Arc<str>,
    /// The resource that the permit is for.
    pub resource: Option<Arc<str>>,
    /// The environment that the permit is for. Unset when the request named none.
    pub environment: Option<Arc<str>>,
    /// The hash of the action, agent and context that were decided on.
    pub execution_hash: Arc<str>,
    /// The digest of the policies, schema and entities that decide about the action
    /// ([`Policies::action_digest`](crate::Policies::action_digest)). A permit without a digest was
    /// written by an earlier release and is refused.
    #[serde(default)]
    pub policy: Option<Arc<str>>,
    /// The environment of the API key that the permit was granted to: `live` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_environment: Option<Arc<str>>,
    /// The approvals that released the permit. Empty for a permit that needed none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRecord>,
}

impl PermitGrant {
    /// Creates the grant for `request` under policies with the digest `policy`. `execution_hash`
    /// replaces the hash of the request where it is set.
    #[must_use]
    pub fn new(
        request: &EvaluateRequest,
        execution_hash: Option<&str>,
        policy: impl Into<Arc<str>>,
    ) -> Self {
        let in_context = request.context.get("environment");
        let environment = in_context
            .and_then(|value| value.as_str())
            .or(request.options.environment.as_deref());
        Self {
            agent: request.actor_id.clone(),
            actors: request.actors.clone(),
            action: (&*request.action_type).into(),
            resource: request.resource_id.as_deref().map(Arc::from),
            environment: environment.map(Arc::from),
            execution_hash: execution_hash.map_or_else(
                || hex(&request.execution_digest()).as_str().into(),
                Arc::from,
            ),
            policy: Some(policy.into()),
            key_environment: None,
            approvals: Vec::new(),
        }
    }

    /// Returns whether a caller with an API key of this environment may see the permit. Code of the
    /// authority's process has no key and sees every permit.
    pub(crate) fn is_known_to(&self, key_environment: Option<&str>) -> bool {
        match (self.key_environment.as_deref(), key_environment) {
            (Some(granted), Some(asking)) => granted == asking,
            _ => true,
        }
    }

    /// Checks that the permit was issued for `request`.
    pub(super) fn covers(&self, request: &VerifyRequest) -> Result<(), VerifyRefusal> {
        // An empty field was not restated (contract, part B).
        let differs = |restated: &str, granted: &str| !restated.is_empty() && restated != granted;
        if request
            .actor_id
            .as_ref()
            .is_some_and(|agent| *agent != self.agent)
        {
            return Err(VerifyRefusal::Mismatch(PermitMismatch::Actor));
        }
        if differs(
            request.action_type.as_deref().unwrap_or_default(),
            &self.action,
        ) {
            return Err(VerifyRefusal::Mismatch(PermitMismatch::Action));
        }
        if let Some(hash) = &request.execution_hash
            && *hash != *self.execution_hash
        {
            return Err(VerifyRefusal::Mismatch(PermitMismatch::Execution));
        }
        // A permit that was granted without an environment does not fit any (contract, part B).
        if request.environment.is_some()
            && request.environment.as_deref() != self.environment.as_deref()
        {
            return Err(VerifyRefusal::Mismatch(PermitMismatch::Environment));
        }
        if request.require_approval == Some(true) && self.approvals.is_empty() {
            return Err(VerifyRefusal::ApprovalRequired);
        }
        Ok(())
    }
}
