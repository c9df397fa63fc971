//! The types of approvals, overrides and completion proofs, as a request carries them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::text::redact::Redacted;

/// An approval by a person, for
/// [`RequestOptions::approval`](crate::wire::RequestOptions::approval).
///
/// ```
/// use atlasent::approval::Approval;
/// use atlasent::wire::RequestOptions;
///
/// let options = RequestOptions::default().approval(Approval::Id("apr-7".into()));
/// assert_eq!(options.approval.unwrap()["approval_id"], "apr-7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Approval {
    /// The id of an approval that the authority stores.
    Id(String),
    /// The signed approval.
    Artifact(Box<ApprovalArtifact>),
}

impl From<Approval> for Value {
    fn from(approval: Approval) -> Self {
        match approval {
            Approval::Id(id) => json!({ "approval_id": id }),
            Approval::Artifact(artifact) => json!({ "artifact": Self::from(*artifact) }),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "serialization cannot fail: keys are strings, and there are no floats"
)]
fn to_json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("it has a JSON form")
}

/// Defines types that are JSON objects on the wire and reject unknown members.
macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident {
        $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        $(; $($(#[$option_doc:meta])* $option:ident: $option_type:ty,)*)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            $($(
                $(#[$option_doc])*
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub $option: Option<$option_type>,
            )*)?
        }

        impl From<$name> for Value {
            fn from(object: $name) -> Self {
                to_json(&object)
            }
        }
    )*};
}

objects! {
    /// A signed approval of one action (`approval_artifact.v1`), from an approval service.
    ///
    /// ```
    /// # let text = r#"{"version":"approval_artifact.v1","approval_id":"apr-7","tenant_id":"org","action_type":"deploy",
    /// #   "resource_id":"r","action_hash":"00","reviewer":{"principal_id":"ada","principal_kind":"human"},
    /// #   "issuer":{"type":"oidc","issuer_id":"i","kid":"k"},"issued_at":"t","expires_at":"t","nonce":"12345678","signature":"s"}"#;
    /// use atlasent::approval::{Approval, ApprovalArtifact};
    /// use atlasent::wire::RequestOptions;
    ///
    /// let artifact: ApprovalArtifact = serde_json::from_str(text)?;
    /// let options = RequestOptions::default().approval(Approval::Artifact(Box::new(artifact)));
    /// # assert_eq!(options.approval.unwrap()["artifact"]["reviewer"]["principal_kind"], "human");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ApprovalArtifact {
        /// `approval_artifact.v1`.
        version: String,
        /// The approval's id.
        approval_id: String,
        /// The organization.
        tenant_id: String,
        /// The approved action.
        action_type: String,
        /// The resource of the approved action.
        resource_id: String,
        /// The hash that binds the approval to action, agent, resource, amount, context and
        /// environment (hex SHA-256).
        action_hash: String,
        /// The person who approved.
        reviewer: ApprovalReviewer,
        /// The service that signed.
        issuer: ApprovalIssuer,
        /// The time of the signature (ISO 8601).
        issued_at: String,
        /// The time of expiry (ISO 8601).
        expires_at: String,
        /// A value of at least 8 characters that the authority accepts once.
        nonce: String,
        /// The signature over all other members.
        signature: String,
        ;
        /// The identity provider's statement about the reviewer.
        identity_assertion: IdentityAssertion,
    }

    /// The person who approved.
    ApprovalReviewer {
        /// The person's id.
        principal_id: String,
        /// The kind of the principal. Authorities accept a person only.
        principal_kind: PrincipalKind,
        ;
        /// The person's e-mail address.
        email: String,
        /// The person's groups.
        groups: Vec<String>,
        /// The person's roles.
        roles: Vec<String>,
    }

    /// The service that signed an approval, and the id of its key.
    ApprovalIssuer {
        /// `oidc` or `approval_service`.
        r#type: String,
        /// The service's id.
        issuer_id: String,
        /// The key's id.
        kid: String,
    }

    /// A signed statement of an identity provider that the reviewer holds a role
    /// (`identity_assertion.v1`).
    IdentityAssertion {
        /// `identity_assertion.v1`.
        version: String,
        /// The person.
        subject: IdentitySubject,
        /// The role that the person holds.
        role: String,
        /// The approval that the statement belongs to.
        binding: IdentityBinding,
        /// The identity provider.
        issuer: ApprovalIssuer,
        /// The time of the signature (ISO 8601).
        issued_at: String,
        /// The time of expiry (ISO 8601).
        expires_at: String,
        /// The signature over all other members.
        signature: String,
        ;
        /// A value that the authority accepts once.
        nonce: String,
    }

    /// The person of an identity assertion.
    IdentitySubject {
        /// The person's id.
        principal_id: String,
        /// The kind of the principal. Authorities accept a person only.
        principal_kind: PrincipalKind,
    }

    /// The approval that an identity assertion belongs to.
    IdentityBinding {
        /// The approval's id.
        approval_id: String,
        /// The action hash of the approval.
        action_hash: String,
        /// The organization.
        tenant_id: String,
        /// The environment, empty if the request has none.
        environment: String,
    }

    /// Approvals of several people for one action (`approval_quorum.v1`).
    ApprovalQuorum {
        /// `approval_quorum.v1`.
        version: String,
        /// The organization.
        tenant_id: String,
        /// The action hash of every approval in the quorum.
        action_hash: String,
        /// The environment.
        environment: String,
        /// The time when the quorum was assembled (ISO 8601).
        issued_at: String,
        /// The number and kinds of approvals that are required.
        policy: QuorumPolicy,
        /// The approvals.
        approvals: Vec<ApprovalArtifact>,
    }

    /// The number and kinds of approvals that a quorum requires.
    QuorumPolicy {
        /// The number of approvals.
        required_count: u64,
        ;
        /// The number of approvals for each role.
        required_role_mix: Vec<RoleRequirement>,
        /// The properties in which the approvals have to differ.
        independence: QuorumIndependence,
        /// The maximum age of the quorum, in seconds.
        max_age_seconds: u64,
    }

    /// The number of approvals that have to come from one role.
    RoleRequirement {
        /// The role.
        role: String,
        /// The minimum number of approvals.
        min: u64,
    }

    /// The properties in which the approvals of a quorum have to differ, beside the person.
    #[derive(Default)]
    QuorumIndependence {
        ;
        /// Whether each approval has to come from another approval service.
        distinct_approval_issuers: bool,
        /// Whether each reviewer has to have another identity provider.
        distinct_identity_issuers: bool,
    }

    /// An emergency override (`override.v1`), for
    /// [`RequestOptions::emergency_override`](crate::wire::RequestOptions::emergency_override).
    EmergencyOverride {
        /// `override.v1`.
        version: String,
        /// The person who overrides. Authorities reject the agent of the request here.
        authority_actor_id: String,
        /// The reason of the override.
        reason: String,
    }
}

impl EmergencyOverride {
    /// Creates an override by a person, for a reason.
    #[must_use]
    pub fn new(authority_actor_id: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            version: "override.v1".to_owned(),
            authority_actor_id: authority_actor_id.into(),
            reason: reason.into(),
        }
    }
}

impl QuorumPolicy {
    /// Creates a policy that requires this number of approvals.
    ///
    /// ```
    /// use atlasent::approval::QuorumPolicy;
    ///
    /// let policy = QuorumPolicy::new(2).role("qa_reviewer", 1).max_age_seconds(3600);
    /// assert_eq!(policy.required_role_mix.unwrap()[0].role, "qa_reviewer");
    /// ```
    #[must_use]
    pub fn new(required_count: u64) -> Self {
        Self {
            required_count,
            required_role_mix: None,
            independence: None,
            max_age_seconds: None,
        }
    }

    /// Requires at least `min` approvals by reviewers with this role, beside the other
    /// requirements.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>, min: u64) -> Self {
        let role = role.into();
        (self.required_role_mix.get_or_insert_default()).push(RoleRequirement { role, min });
        self
    }

    /// Requires that no two approvals come from the same approval service.
    #[must_use]
    pub fn distinct_approval_issuers(mut self) -> Self {
        let independence = self.independence.get_or_insert_default();
        independence.distinct_approval_issuers = Some(true);
        self
    }

    /// Requires that no two reviewers have the same identity provider.
    #[must_use]
    pub fn distinct_identity_issuers(mut self) -> Self {
        let independence = self.independence.get_or_insert_default();
        independence.distinct_identity_issuers = Some(true);
        self
    }

    /// Sets the maximum age of the quorum, in seconds.
    #[must_use]
    pub fn max_age_seconds(mut self, seconds: u64) -> Self {
        self.max_age_seconds = Some(seconds);
        self
    }
}

/// The kind of a principal. Authorities accept the approvals of people only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A person.
    Human,
    /// An agent.
    Agent,
    /// A program's account.
    ServiceAccount,
}

/// The proof that another agent did, with a permit, a step that this action depends on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompletionProof {
    /// The action of the earlier step.
    pub action_type: String,
    /// The agent of the earlier step.
    pub actor_id: String,
    /// The token or the hash of the consumed permit. It prints redacted.
    pub permit_id: String,
}

impl CompletionProof {
    /// Creates the proof that `actor_id` did `action_type` with this permit.
    #[must_use]
    pub fn new(
        action_type: impl Into<String>,
        actor_id: impl Into<String>,
        permit_id: impl Into<String>,
    ) -> Self {
        Self {
            action_type: action_type.into(),
            actor_id: actor_id.into(),
            permit_id: permit_id.into(),
        }
    }
}

impl fmt::Debug for CompletionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionProof")
            .field("action_type", &self.action_type)
            .field("actor_id", &self.actor_id)
            .field("permit_id", &Redacted(&self.permit_id))
            .finish()
    }
}

/// The layers of an evaluation that the hosted service runs. Other authorities ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvaluationProfile {
    /// All stable layers but the check of state snapshots, for pilots.
    Basic,
    /// All stable layers. This is the default of the service.
    Standard,
    /// All stable layers, and overrides.
    Advanced,
    /// The same layers as `Advanced`.
    Enterprise,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RequestOptions;

    fn artifact() -> Value {
        json!({"version": "approval_artifact.v1", "approval_id": "apr-7", "tenant_id": "org", "action_type": "deploy",
            "resource_id": "r", "action_hash": "0".repeat(64),
            "reviewer": {"principal_id": "ada", "principal_kind": "human", "roles": []},
            "issuer": {"type": "approval_service", "issuer_id": "i", "kid": "k"}, "issued_at": "t", "expires_at": "t",
            "nonce": "12345678", "signature": "s", "identity_assertion": {"version": "identity_assertion.v1",
                "subject": {"principal_id": "ada", "principal_kind": "human"}, "role": "qa",
                "binding": {"approval_id": "apr-7", "action_hash": "0", "tenant_id": "org", "environment": ""},
                "issuer": {"type": "oidc", "issuer_id": "i", "kid": "k"}, "issued_at": "t", "expires_at": "t",
                "signature": "s"}})
    }

    #[test]
    fn what_was_signed_is_carried_member_by_member() {
        let read: ApprovalArtifact = serde_json::from_value(artifact()).unwrap();
        assert_eq!(Value::from(read.clone()), artifact());
        let approval = Approval::Artifact(Box::new(read));
        assert_eq!(Value::from(approval), json!({"artifact": artifact()}));
        let quorum = json!({"version": "approval_quorum.v1", "tenant_id": "org", "action_hash": "0", "environment": "e",
            "issued_at": "t", "policy": {"required_count": 2, "required_role_mix": [{"role": "qa", "min": 1}],
                "independence": {"distinct_approval_issuers": true}, "max_age_seconds": 60},
            "approvals": [artifact()]});
        let read: ApprovalQuorum = serde_json::from_value(quorum.clone()).unwrap();
        assert_eq!(Value::from(read), quorum);
    }

    #[test]
    fn an_unknown_member_is_refused() {
        let mut unknown = artifact();
        unknown["new"] = json!(1);
        assert!(serde_json::from_value::<ApprovalArtifact>(unknown).is_err());
        let mut deep = artifact();
        deep["identity_assertion"]["binding"]["new"] = json!(1);
        assert!(serde_json::from_value::<ApprovalArtifact>(deep).is_err());
    }

    #[test]
    fn typed_values_stand_on_the_wire_as_the_contract_has_them() {
        let options = RequestOptions::default()
            .emergency_override(EmergencyOverride::new("ada", "outage"))
            .completion_proofs([CompletionProof::new("review", "bot", "permit_0123456789")])
            .evaluation_profile(EvaluationProfile::Advanced);
        assert_eq!(
            serde_json::to_value(options).unwrap(),
            json!({"override": {"version": "override.v1", "authority_actor_id": "ada", "reason": "outage"},
                "completion_proofs": [{"action_type": "review", "actor_id": "bot", "permit_id": "permit_0123456789"}],
                "evaluation_profile": "advanced"})
        );
    }

    #[test]
    fn a_proof_does_not_show_its_permit() {
        let proof = CompletionProof::new("review", "bot", "permit_0123456789");
        assert!(!format!("{proof:?}").contains("permit_0123"), "{proof:?}");
    }
}
