//! What the verifier knows about the action that an approval is for.

use super::action::{ActionBinding, action_hash};
use super::members::{Object, text};
use super::types::QuorumPolicy;

/// What an approval has to be for, by the verifier's own knowledge. Nothing in it may come from
/// the approval.
///
/// [`for_action`](Self::for_action) is the complete form. With [`new`](Self::new), only the hash
/// binds the approval to the action, and the types of action that an issuer may approve are
/// compared with the type that the artifact names: set
/// [`action_type`](Self::action_type) as well, unless issuers are trusted to name the type
/// truthfully.
#[derive(Clone, Debug)]
pub struct Expected {
    pub(super) tenant_id: String,
    pub(super) action_hash: String,
    action_type: Option<String>,
    resource_id: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) required_role: Option<String>,
    pub(super) require_identity_assertion: bool,
    pub(super) quorum_policy: Option<QuorumPolicy>,
}

impl Expected {
    /// Expects an approval by this organization of the action with this
    /// [hash](super::action_hash).
    #[must_use]
    pub fn new(tenant_id: impl Into<String>, action_hash: impl Into<String>) -> Self {
        Self {
            tenant_id: tenant_id.into(),
            action_hash: action_hash.into(),
            action_type: None,
            resource_id: None,
            environment: None,
            required_role: None,
            require_identity_assertion: false,
            quorum_policy: None,
        }
    }

    /// Expects an approval by this organization of this action: its hash, type, resource and
    /// environment.
    #[must_use]
    pub fn for_action(tenant_id: impl Into<String>, action: &ActionBinding) -> Self {
        Self {
            action_type: Some(action.action_type.clone()),
            resource_id: action.resource_id.clone(),
            environment: action.environment.clone(),
            ..Self::new(tenant_id, action_hash(action))
        }
    }

    /// Requires that the artifact names this type of action.
    #[must_use]
    pub fn action_type(mut self, action_type: impl Into<String>) -> Self {
        self.action_type = Some(action_type.into());
        self
    }

    /// Requires that the artifact names this resource.
    #[must_use]
    pub fn resource_id(mut self, resource_id: impl Into<String>) -> Self {
        self.resource_id = Some(resource_id.into());
        self
    }

    /// Sets the environment of the action.
    ///
    /// Without one, an issuer that may approve in some environments only is refused, and the
    /// environment of identity assertions and quorums has to be empty.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Requires that the reviewer has this role. A role that the issuer's key requires takes
    /// precedence.
    #[must_use]
    pub fn required_role(mut self, role: impl Into<String>) -> Self {
        self.required_role = Some(role.into());
        self
    }

    /// Requires an identity assertion. An assertion that is there is verified in any case, and a
    /// quorum always requires one of each approval.
    #[must_use]
    pub fn require_identity_assertion(mut self) -> Self {
        self.require_identity_assertion = true;
        self
    }

    /// Requires that a quorum satisfies this policy as well as the one that it carries. The policy
    /// in a quorum is not signed: the sender of the quorum chooses it.
    #[must_use]
    pub fn quorum_policy(mut self, policy: QuorumPolicy) -> Self {
        self.quorum_policy = Some(policy);
        self
    }

    /// Returns the environment, or an empty text if it is unset.
    pub(super) fn environment_or_empty(&self) -> &str {
        self.environment.as_deref().unwrap_or_default()
    }

    /// Whether an artifact is for the expected action.
    pub(super) fn is_action_of(&self, artifact: &Object) -> bool {
        let names = |name, expected: &Option<String>| {
            text(artifact, name)
                .is_some_and(|named| expected.as_ref().is_none_or(|expected| named == expected))
        };
        text(artifact, "action_hash") == Some(&self.action_hash)
            && names("action_type", &self.action_type)
            && names("resource_id", &self.resource_id)
    }
}
