//! Why a token is refused.

use atlasent::text::Escaped;

use crate::ledger::approval::InvalidApprover;

/// Why a token is refused. Repeats no part of the token but the names that it is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OidcError {
    /// The text is not a token.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The token is signed with another algorithm, or with none.
    #[error("the token's algorithm is not supported: use RS256, ES256 or EdDSA")]
    UnsupportedAlgorithm,
    /// The issuer publishes no key with the token's `kid` and algorithm.
    #[error("the issuer publishes no key that could have signed the token")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// The token is of another issuer.
    #[error("the token is of another issuer")]
    WrongIssuer,
    /// The token is for another audience.
    #[error("the token is for another audience")]
    WrongAudience,
    /// The token was issued to another client of the issuer.
    #[error("the token was issued to another client (`azp`)")]
    WrongParty,
    /// The ID token is of another login.
    #[error("the token is of another login (`nonce`)")]
    WrongNonce,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet: compare the clocks of the issuer and of this server")]
    NotYetValid,
    /// A claim is missing, or has another type.
    #[error("the token's claim `{}` {why}", Escaped::new(claim))]
    Claim {
        /// The configured name of the claim.
        claim: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The principal or a role cannot be that of an approver.
    #[error(transparent)]
    Approver(#[from] InvalidApprover),
    /// The issuer's keys could not be fetched, and no earlier ones can be used.
    #[error("the issuer's keys could not be fetched: {0}")]
    IssuerUnavailable(String),
}

impl OidcError {
    /// Returns whether the token may be valid, and only the issuer could not be asked. The caller
    /// should try again.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::IssuerUnavailable(_))
    }
}
