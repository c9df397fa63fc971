//! The reasons why an approval is refused.

use crate::text::Escaped;

/// The reason why an approval, or a quorum of approvals, is refused.
///
/// `Display` writes the contract's text of the reason. The variants are in the order of the
/// checks.
///
/// ```
/// use atlasent::approval::Reason;
///
/// assert_eq!(Reason::Expired.to_string(), "approval expired");
/// let entry = Reason::QuorumEntry { index: 1, reason: Box::new(Reason::Expired) };
/// assert_eq!(entry.to_string(), "approval quorum entry 1: approval expired");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The artifact is missing, or is not a JSON object.
    #[error("missing approval artifact")]
    MissingArtifact,
    /// The object is not an artifact of version 1: it has another version, an unknown member, or a
    /// member of the wrong form that no later check reads.
    #[error("invalid approval artifact version")]
    InvalidArtifactVersion,
    /// The artifact is for another organization.
    #[error("approval tenant mismatch")]
    TenantMismatch,
    /// The artifact is for another action.
    #[error("approval does not match this action")]
    ActionMismatch,
    /// The reviewer is not a person.
    #[error("reviewer must be human")]
    ReviewerNotHuman,
    /// The issuer or its key is not trusted.
    #[error("untrusted approval issuer")]
    UntrustedIssuer,
    /// The reviewer lacks the role that the issuer's key or the caller requires.
    #[error("reviewer lacks required role")]
    ReviewerLacksRole,
    /// The issuer's key may not approve this type of action.
    #[error("issuer not authorized for this action type")]
    IssuerActionType,
    /// The issuer's key may not approve in this environment.
    #[error("issuer not authorized for this environment")]
    IssuerEnvironment,
    /// The artifact has expired, or its time of expiry is not a time.
    #[error("approval expired")]
    Expired,
    /// The artifact was issued more than 5 minutes in the future, or its time of issue is not a
    /// time.
    #[error("approval issued in the future")]
    IssuedInFuture,
    /// The signature is not the issuer's.
    #[error("invalid approval signature")]
    InvalidSignature,

    /// The artifact has no identity assertion, and the caller requires one.
    #[error("missing identity assertion")]
    MissingIdentity,
    /// The value is not an identity assertion of version 1: it has another version, an unknown
    /// member, or a member of the wrong form that no later check reads.
    #[error("invalid identity assertion version")]
    InvalidIdentityVersion,
    /// The assertion is for another organization.
    #[error("identity assertion tenant mismatch")]
    IdentityTenantMismatch,
    /// The assertion is for another action.
    #[error("identity assertion does not match this action")]
    IdentityActionMismatch,
    /// The subject of the assertion is not a person.
    #[error("identity assertion subject must be human")]
    IdentityNotHuman,
    /// The subject of the assertion is not the reviewer.
    #[error("identity assertion subject does not match reviewer")]
    IdentityReviewerMismatch,
    /// The assertion is for another approval.
    #[error("identity assertion does not match this approval")]
    IdentityApprovalMismatch,
    /// The role in the assertion is not the required one.
    #[error("identity assertion role does not match required role")]
    IdentityRoleMismatch,
    /// The assertion is for another environment.
    #[error("identity assertion environment mismatch")]
    IdentityEnvironmentMismatch,
    /// The identity issuer or its key is not trusted.
    #[error("untrusted identity issuer")]
    UntrustedIdentityIssuer,
    /// The identity issuer's key may not assert this role.
    #[error("identity issuer not authorized for this role")]
    IdentityIssuerRole,
    /// The identity issuer's key may not make assertions for this environment.
    #[error("identity issuer not authorized for this environment")]
    IdentityIssuerEnvironment,
    /// The assertion has expired, or its time of expiry is not a time.
    #[error("identity assertion expired")]
    IdentityExpired,
    /// The assertion was issued more than 5 minutes in the future, or its time of issue is not a
    /// time.
    #[error("identity assertion issued in the future")]
    IdentityIssuedInFuture,
    /// The signature of the assertion is not the identity issuer's.
    #[error("invalid identity assertion signature")]
    InvalidIdentitySignature,

    /// The nonce of the artifact was claimed before.
    #[error("approval replay detected")]
    Replay,

    /// The quorum is missing, or is not a JSON object.
    #[error("missing approval quorum")]
    MissingQuorum,
    /// The object is not a quorum of version 1: it has another version, an unknown member, or a
    /// malformed policy.
    #[error("invalid approval quorum version")]
    InvalidQuorumVersion,
    /// The quorum is for another organization.
    #[error("approval quorum tenant mismatch")]
    QuorumTenantMismatch,
    /// The quorum is for another action.
    #[error("approval quorum action mismatch")]
    QuorumActionMismatch,
    /// The quorum is for another environment.
    #[error("approval quorum environment mismatch")]
    QuorumEnvironmentMismatch,
    /// The quorum is older than its policy allows, or its time of issue is not a time.
    #[error("approval quorum expired")]
    QuorumExpired,
    /// The quorum has no approvals.
    #[error("approval quorum empty")]
    QuorumEmpty,
    /// The quorum has fewer approvals than required.
    #[error("approval quorum required count not met")]
    QuorumCountNotMet,
    /// One approval of the quorum is refused. Indexes start at 0.
    #[error("approval quorum entry {index}: {reason}")]
    QuorumEntry {
        /// The position of the approval in the quorum.
        index: usize,
        /// The reason for this approval.
        reason: Box<Self>,
    },
    /// The approval of a quorum is for another organization than the quorum. It appears in
    /// [`QuorumEntry`](Self::QuorumEntry) only.
    #[error("tenant mismatch within package")]
    EntryTenantMismatch,
    /// The approval of a quorum is for another action than the quorum. It appears in
    /// [`QuorumEntry`](Self::QuorumEntry) only.
    #[error("action_hash mismatch within package")]
    EntryActionMismatch,
    /// Two approvals of the quorum are by the same reviewer.
    #[error("approval quorum duplicate reviewer")]
    QuorumDuplicateReviewer,
    /// Two approvals of the quorum are from the same approval service.
    #[error("approval quorum independence violated: duplicate approval issuer")]
    QuorumDuplicateApprovalIssuer,
    /// Two reviewers of the quorum have the same identity provider.
    #[error("approval quorum independence violated: duplicate identity issuer")]
    QuorumDuplicateIdentityIssuer,
    /// Too few reviewers of the quorum have a role.
    #[error(
        "approval quorum role mix not satisfied: need {need} of role '{}', got {got}",
        Escaped::new(role)
    )]
    QuorumRoleMix {
        /// The role.
        role: String,
        /// The number of reviewers that need the role.
        need: u64,
        /// The number of reviewers that have the role.
        got: u64,
    },
    /// A nonce of the quorum was claimed before, or stands in the quorum twice.
    #[error("approval quorum replay detected")]
    QuorumReplay,
}

impl Reason {
    /// Returns this reason for an approval at this position of a quorum.
    pub(super) fn at_entry(self, index: usize) -> Self {
        Self::QuorumEntry {
            index,
            reason: Box::new(self),
        }
    }
}
