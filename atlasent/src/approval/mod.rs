//! Approvals: what a request carries, and the verification of signed approvals.
//!
//! A request carries these types. The client sends them unchanged:
//!
//! - [`Approval`]: the approval of one person, by its id or as a signed [`ApprovalArtifact`], for
//!   [`RequestOptions::approval`](crate::wire::RequestOptions::approval).
//! - [`ApprovalQuorum`]: the approvals of several people.
//! - [`EmergencyOverride`]: a person's override.
//! - [`CompletionProof`]: the proof that another agent did an earlier step.
//! - [`EvaluationProfile`]: the layers that the hosted service runs.
//!
//! [`action_hash`] computes the hash that binds an approval to one action.
#![cfg_attr(feature = "approval", doc = include_str!("verification.md"))]

mod action;
mod types;

pub use action::{ActionBinding, action_hash};
pub use types::{
    Approval, ApprovalArtifact, ApprovalIssuer, ApprovalQuorum, ApprovalReviewer, CompletionProof,
    EmergencyOverride, EvaluationProfile, IdentityAssertion, IdentityBinding, IdentitySubject,
    PrincipalKind, QuorumIndependence, QuorumPolicy, RoleRequirement,
};

#[cfg(feature = "approval")]
mod artifact;
#[cfg(feature = "approval")]
mod expected;
#[cfg(feature = "approval")]
mod identity;
#[cfg(feature = "approval")]
mod key;
#[cfg(feature = "approval")]
mod members;
#[cfg(feature = "approval")]
mod nonces;
#[cfg(feature = "approval")]
mod quorum;
#[cfg(feature = "approval")]
mod reason;
#[cfg(feature = "approval")]
mod signed;
#[cfg(feature = "approval")]
mod trust;
#[cfg(feature = "approval")]
mod verified;

#[cfg(feature = "approval")]
pub use artifact::verify_artifact;
#[cfg(feature = "approval")]
pub use expected::Expected;
#[cfg(feature = "approval")]
pub use nonces::{MemoryNonces, Nonce};
#[cfg(feature = "approval")]
pub use quorum::verify_quorum;
#[cfg(feature = "approval")]
pub use reason::Reason;
#[cfg(feature = "approval")]
pub use signed::signed_text;
#[cfg(feature = "approval")]
pub use trust::{TrustError, TrustedIssuers};
#[cfg(feature = "approval")]
pub use verified::{Verified, VerifiedIdentity, VerifiedQuorum};
