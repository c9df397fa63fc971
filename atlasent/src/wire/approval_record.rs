//! An approval that a permit was granted on.

use serde::{Deserialize, Serialize};

use crate::json::object::Object;
use crate::wire::PermitToken;

/// An approval that a permit was granted on: the member `approval` of the answer to a verification
/// (contract, part D). It is data and opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Object<WireApproval>")]
#[non_exhaustive]
pub struct ApprovalRecord {
    /// The id of the approval.
    pub approval_id: String,
    /// The lower-case hex SHA-256 of the approval.
    pub artifact_hash: String,
    /// The person who approved.
    pub reviewer_id: String,
    /// The service that vouches for the person.
    pub issuer_id: String,
    /// The id of the key of that service.
    pub kid: String,
}

impl ApprovalRecord {
    /// Creates the record of an approval.
    #[must_use]
    pub fn new(
        approval_id: impl Into<String>,
        artifact_hash: impl Into<String>,
        reviewer_id: impl Into<String>,
        issuer_id: impl Into<String>,
        kid: impl Into<String>,
    ) -> Self {
        Self {
            approval_id: approval_id.into(),
            artifact_hash: artifact_hash.into(),
            reviewer_id: reviewer_id.into(),
            issuer_id: issuer_id.into(),
            kid: kid.into(),
        }
    }

    /// Removes the token from all texts.
    pub(crate) fn scrub(&mut self, token: &PermitToken) {
        for text in [
            &mut self.approval_id,
            &mut self.artifact_hash,
            &mut self.reviewer_id,
            &mut self.issuer_id,
            &mut self.kid,
        ] {
            token.scrub_in_place(text);
        }
    }
}

#[derive(Deserialize)]
struct WireApproval {
    approval_id: String,
    artifact_hash: String,
    reviewer_id: String,
    issuer_id: String,
    kid: String,
}

impl From<Object<WireApproval>> for ApprovalRecord {
    fn from(Object(wire): Object<WireApproval>) -> Self {
        Self {
            approval_id: wire.approval_id,
            artifact_hash: wire.artifact_hash,
            reviewer_id: wire.reviewer_id,
            issuer_id: wire.issuer_id,
            kid: wire.kid,
        }
    }
}
