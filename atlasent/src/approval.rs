//! What a request can carry of people who have decided already: approvals, quorums, overrides and
//! proofs.
//!
//! All of it is carried as it is: the authority checks the signatures.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::text::redact::Redacted;

/// An approval that was already given, for
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
    /// Its id. The authority has the approval itself.
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
    reason = "strings as keys and no floats: nothing here can fail"
)]
fn to_json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("it has a JSON form")
}

/// Defines types that stand on the wire as objects without members that are not known.
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
    /// A signed approval of one action (`approval_artifact.v1`), as an approval service hands it
    /// out.
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
        /// The action that is approved.
        action_type: String,
        /// The resource that it is approved for.
        resource_id: String,
        /// Binds the approval to the action's agent, amount, context and environment (hex SHA-256).
        action_hash: String,
        /// The person who approved.
        reviewer: ApprovalReviewer,
        /// The service that signed.
        issuer: ApprovalIssuer,
        /// When it was signed (ISO 8601).
        issued_at: String,
        /// When its time is over (ISO 8601).
        expires_at: String,
        /// A value that is accepted once, at least 8 characters.
        nonce: String,
        /// The signature over everything else.
        signature: String,
        ;
        /// A statement of the identity provider about the reviewer.
        identity_assertion: IdentityAssertion,
    }

    /// The person who approved.
    ApprovalReviewer {
        /// The person's id.
        principal_id: String,
        /// Whether it is a person at all.
        principal_kind: PrincipalKind,
        ;
        /// The person's address.
        email: String,
        /// The person's groups.
        groups: Vec<String>,
        /// The person's roles.
        roles: Vec<String>,
    }

    /// The service that signed an approval, and with which key.
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
        /// When it was signed (ISO 8601).
        issued_at: String,
        /// When its time is over (ISO 8601).
        expires_at: String,
        /// The signature over everything else.
        signature: String,
        ;
        /// A value that is accepted once.
        nonce: String,
    }

    /// The person of an identity assertion.
    IdentitySubject {
        /// The person's id.
        principal_id: String,
        /// Whether it is a person at all.
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
        /// The environment; empty when the request names none.
        environment: String,
    }

    /// Approvals of several people for one action (`approval_quorum.v1`).
    ApprovalQuorum {
        /// `approval_quorum.v1`.
        version: String,
        /// The organization.
        tenant_id: String,
        /// The action hash of every approval in it.
        action_hash: String,
        /// The environment.
        environment: String,
        /// When it was put together (ISO 8601).
        issued_at: String,
        /// How many approvals of which kind are needed.
        policy: QuorumPolicy,
        /// The approvals.
        approvals: Vec<ApprovalArtifact>,
    }

    /// How many approvals of which kind a quorum needs.
    QuorumPolicy {
        /// How many approvals.
        required_count: u64,
        ;
        /// How many of them in which role.
        required_role_mix: Vec<RoleRequirement>,
        /// Whether the approvals have to be independent of each other.
        independence: QuorumIndependence,
        /// How old the quorum may be.
        max_age_seconds: u64,
    }

    /// How many approvals have to come from one role.
    RoleRequirement {
        /// The role.
        role: String,
        /// How many approvals.
        min: u64,
    }

    /// In what the approvals of a quorum have to differ, beyond the person.
    QuorumIndependence {
        ;
        /// Each is signed by another approval service.
        distinct_approval_issuers: bool,
        /// Each reviewer is vouched for by another identity provider.
        distinct_identity_issuers: bool,
    }

    /// An emergency override (`override.v1`), for
    /// [`RequestOptions::emergency_override`](crate::wire::RequestOptions::emergency_override).
    EmergencyOverride {
        /// `override.v1`.
        version: String,
        /// The person who overrides. It is never the agent that asks.
        authority_actor_id: String,
        /// Why.
        reason: String,
    }
}

impl EmergencyOverride {
    /// An override by this person, for this reason.
    #[must_use]
    pub fn new(authority_actor_id: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            version: "override.v1".to_owned(),
            authority_actor_id: authority_actor_id.into(),
            reason: reason.into(),
        }
    }
}

/// What kind of principal approved. Authorities accept a person only.
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

/// A proof that another agent did, with a permit, what this action depends on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompletionProof {
    /// What was done.
    pub action_type: String,
    /// The agent that did it.
    pub actor_id: String,
    /// The used-up permit, by its token or its hash. It is not shown.
    pub permit_id: String,
}

impl CompletionProof {
    /// The proof that `actor_id` did `action_type` with this permit.
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

/// Which layers of an evaluation run at the hosted service. Other authorities pass it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvaluationProfile {
    /// Without the check of state snapshots: for pilots.
    Basic,
    /// Every stable layer: the service's default.
    Standard,
    /// Every stable layer, and overrides.
    Advanced,
    /// As `Advanced`.
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
