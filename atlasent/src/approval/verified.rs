//! Approvals that were verified.

use serde_json::{Value, json};

use super::nonces::Nonce;
use super::reason::Reason;

/// A verified approval, whose nonce is still to be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "claim the nonce before acting on the approval: without it, the approval can be used again"]
#[non_exhaustive]
pub struct Verified {
    /// The approval's id.
    pub approval_id: String,
    /// The lower-case hex SHA-256 of the signed text: the canonical JSON of the artifact without
    /// its `signature`.
    pub artifact_hash: String,
    /// The id of the person who approved.
    pub reviewer_id: String,
    /// The roles of this person, by the approval service.
    pub reviewer_roles: Vec<String>,
    /// The id of the approval service.
    pub issuer_id: String,
    /// The id of the key that signed.
    pub kid: String,
    /// The identity provider's statement, if the artifact carries one.
    pub identity: Option<VerifiedIdentity>,
    /// The nonce, which may be claimed once.
    pub nonce: Nonce,
}

impl Verified {
    /// Claims the nonce. `claim` records it, and returns `false` if it was recorded before; both in
    /// one step, such as a transaction.
    ///
    /// # Errors
    ///
    /// [`Reason::Replay`] when `claim` returns `false`.
    pub fn claim(&self, claim: impl FnOnce(&[Nonce]) -> bool) -> Result<(), Reason> {
        match claim(std::slice::from_ref(&self.nonce)) {
            true => Ok(()),
            false => Err(Reason::Replay),
        }
    }

    /// Returns the `approval` member of the response to verify: `{approval_id, artifact_hash,
    /// reviewer_id, issuer_id, kid}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "approval_id": self.approval_id,
            "artifact_hash": self.artifact_hash,
            "reviewer_id": self.reviewer_id,
            "issuer_id": self.issuer_id,
            "kid": self.kid,
        })
    }
}

/// A verified identity assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedIdentity {
    /// The id of the identity provider.
    pub issuer_id: String,
    /// The id of the key that signed.
    pub kid: String,
    /// The role of the reviewer, by the identity provider.
    pub role: String,
    /// The assertion's own nonce, for callers that accept each assertion once.
    pub nonce: Option<String>,
}

/// A verified quorum, whose nonces are still to be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "claim the nonces before acting on the quorum: without it, the approvals can be used again"]
#[non_exhaustive]
pub struct VerifiedQuorum {
    /// The lower-case hex SHA-256 of the canonical JSON of the quorum with its approvals replaced
    /// by `approval_hashes`, the sorted hashes of the artifacts.
    pub quorum_hash: String,
    /// The approvals, in the order of the quorum.
    pub approvals: Vec<Verified>,
}

impl VerifiedQuorum {
    /// Claims the nonces of all approvals. `claim` records all of them, or returns `false` and
    /// records none if one was recorded before; in one step, such as a transaction.
    ///
    /// # Errors
    ///
    /// [`Reason::QuorumReplay`] when `claim` returns `false`.
    pub fn claim(&self, claim: impl FnOnce(&[Nonce]) -> bool) -> Result<(), Reason> {
        let nonces: Vec<_> = self.nonces().cloned().collect();
        match claim(&nonces) {
            true => Ok(()),
            false => Err(Reason::QuorumReplay),
        }
    }

    /// Returns the nonces of all approvals, in the order of the quorum.
    pub fn nonces(&self) -> impl Iterator<Item = &Nonce> {
        self.approvals.iter().map(|approval| &approval.nonce)
    }
}
