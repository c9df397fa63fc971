//! The verification of the identity assertion in an approval.

use jiff::Timestamp;
use serde_json::Value;

use super::expected::Expected;
use super::members::{
    Object, ensure, has_only, is, is_nonce, member_has_only, object, optional_is, text,
};
use super::reason::Reason;
use super::signed::{SignedReasons, verify_signed};
use super::trust::{IssuerName, TrustedIssuers};
use super::verified::VerifiedIdentity;

/// The approval that an assertion has to belong to.
pub(super) struct Approved<'a> {
    pub(super) approval_id: &'a str,
    pub(super) reviewer_id: &'a str,
    /// The role that the reviewer needs.
    pub(super) required_role: Option<&'a str>,
    pub(super) expected: &'a Expected,
}

/// Verifies an identity assertion (`identity_assertion.v1`).
pub(super) fn verify_identity(
    assertion: &Value,
    approved: &Approved<'_>,
    trusted: &TrustedIssuers,
    now: Timestamp,
) -> Result<VerifiedIdentity, Reason> {
    let assertion = assertion
        .as_object()
        .filter(|assertion| is_well_formed(assertion))
        .ok_or(Reason::InvalidIdentityVersion)?;
    let (expected, binding) = (approved.expected, object(assertion, "binding"));
    let binds = |name, to| binding.is_some_and(|binding| is(binding, name, to));
    let is_tenant = binds("tenant_id", &expected.tenant_id);
    ensure(is_tenant, Reason::IdentityTenantMismatch)?;
    let is_action = binds("action_hash", &expected.action_hash);
    ensure(is_action, Reason::IdentityActionMismatch)?;

    let subject = object(assertion, "subject")
        .filter(|subject| is(subject, "principal_kind", "human"))
        .ok_or(Reason::IdentityNotHuman)?;
    let is_reviewer = is(subject, "principal_id", approved.reviewer_id);
    ensure(is_reviewer, Reason::IdentityReviewerMismatch)?;
    let is_approval = binds("approval_id", approved.approval_id);
    ensure(is_approval, Reason::IdentityApprovalMismatch)?;
    let role = text(assertion, "role")
        .filter(|role| {
            approved
                .required_role
                .is_none_or(|required| *role == required)
        })
        .ok_or(Reason::IdentityRoleMismatch)?;
    let environment = expected.environment_or_empty();
    let is_environment = binds("environment", environment);
    ensure(is_environment, Reason::IdentityEnvironmentMismatch)?;

    let issuer = object(assertion, "issuer")
        .and_then(|issuer| IssuerName::read(issuer, &["oidc"]))
        .ok_or(Reason::UntrustedIdentityIssuer)?;
    let key = trusted
        .identity_key(issuer)
        .ok_or(Reason::UntrustedIdentityIssuer)?;
    ensure(key.allows_role(role), Reason::IdentityIssuerRole)?;
    let may_assert = key.allows_environment(environment);
    ensure(may_assert, Reason::IdentityIssuerEnvironment)?;

    let reasons = SignedReasons {
        expired: Reason::IdentityExpired,
        issued_in_future: Reason::IdentityIssuedInFuture,
        invalid_signature: Reason::InvalidIdentitySignature,
    };
    verify_signed(assertion, &key.key, now, reasons)?;
    Ok(VerifiedIdentity {
        issuer_id: issuer.issuer_id.to_owned(),
        kid: issuer.kid.to_owned(),
        role: role.to_owned(),
        nonce: text(assertion, "nonce").map(str::to_owned),
    })
}

/// Whether an object is an assertion of version 1: its version, no unknown member at any level, and
/// the form of the members that no later check reads.
fn is_well_formed(assertion: &Object) -> bool {
    is(assertion, "version", "identity_assertion.v1")
        && has_only(assertion, MEMBERS)
        && member_has_only(assertion, "subject", &["principal_id", "principal_kind"])
        && member_has_only(assertion, "binding", BINDING_MEMBERS)
        && member_has_only(assertion, "issuer", &["type", "issuer_id", "kid"])
        && optional_is(assertion, "nonce", is_nonce)
}

const MEMBERS: &[&str] = &[
    "version",
    "subject",
    "role",
    "binding",
    "issuer",
    "issued_at",
    "expires_at",
    "nonce",
    "signature",
];

const BINDING_MEMBERS: &[&str] = &["approval_id", "action_hash", "tenant_id", "environment"];
