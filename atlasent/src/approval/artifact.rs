//! The verification of one approval.

use jiff::Timestamp;
use serde_json::Value;

use super::expected::Expected;
use super::identity::{Approved, verify_identity};
use super::members::{
    Object, ensure, has_only, is, is_name, is_nonce, is_texts, member_has_only, object, optional,
    optional_is, text,
};
use super::nonces::Nonce;
use super::reason::Reason;
use super::signed::{SignedReasons, verify_signed};
use super::trust::{IssuerName, TrustedIssuers};
use super::verified::Verified;
use crate::canonical::sha256_hex;

/// Verifies a signed approval (`approval_artifact.v1`) as it was received.
///
/// The checks are those of the contract, in its order, which is the order of [`Reason`]'s
/// variants. The caller claims the nonce of the result last, with [`Verified::claim`].
///
/// A missing artifact is `null`. Pass the JSON as it came: the signature covers each member, so
/// an artifact that was read into a type and written again may fail.
///
/// # Errors
///
/// The [`Reason`] of the first check that fails.
pub fn verify_artifact(
    artifact: &Value,
    expected: &Expected,
    trusted: &TrustedIssuers,
    now: Timestamp,
) -> Result<Verified, Reason> {
    let artifact = artifact.as_object().ok_or(Reason::MissingArtifact)?;
    let form = Form::read(artifact).ok_or(Reason::InvalidArtifactVersion)?;
    let is_tenant = is(artifact, "tenant_id", &expected.tenant_id);
    ensure(is_tenant, Reason::TenantMismatch)?;
    ensure(expected.is_action_of(artifact), Reason::ActionMismatch)?;

    let reviewer = object(artifact, "reviewer")
        .filter(|reviewer| is(reviewer, "principal_kind", "human"))
        .ok_or(Reason::ReviewerNotHuman)?;
    let reviewer_id = text(reviewer, "principal_id").unwrap_or_default();
    let issuer = object(artifact, "issuer")
        .and_then(|issuer| IssuerName::read(issuer, &["oidc", "approval_service"]))
        .ok_or(Reason::UntrustedIssuer)?;
    let key = trusted
        .approval_key(issuer)
        .ok_or(Reason::UntrustedIssuer)?;
    let required_role = (key.required_role.as_deref()).or(expected.required_role.as_deref());
    let reviewer_roles = roles(reviewer);
    let has_role = required_role.is_none_or(|role| reviewer_roles.iter().any(|has| has == role));
    ensure(has_role, Reason::ReviewerLacksRole)?;
    let action_type = text(artifact, "action_type").unwrap_or_default();
    let may_approve = key.allows_action_type(action_type);
    ensure(may_approve, Reason::IssuerActionType)?;
    let may_approve = key.allows_environment(expected.environment.as_deref());
    ensure(may_approve, Reason::IssuerEnvironment)?;

    let reasons = SignedReasons {
        expired: Reason::Expired,
        issued_in_future: Reason::IssuedInFuture,
        invalid_signature: Reason::InvalidSignature,
    };
    let signed = verify_signed(artifact, &key.key, now, reasons)?;

    let approved = Approved {
        approval_id: form.approval_id,
        reviewer_id,
        required_role,
        expected,
    };
    let identity = match optional(artifact, "identity_assertion") {
        Some(assertion) => Some(verify_identity(assertion, &approved, trusted, now)?),
        None if expected.require_identity_assertion => return Err(Reason::MissingIdentity),
        None => None,
    };
    Ok(Verified {
        approval_id: form.approval_id.to_owned(),
        artifact_hash: sha256_hex(&[signed.payload.as_bytes()]),
        reviewer_id: reviewer_id.to_owned(),
        reviewer_roles,
        issuer_id: issuer.issuer_id.to_owned(),
        kid: issuer.kid.to_owned(),
        identity,
        nonce: Nonce::new(expected.tenant_id.clone(), form.nonce, signed.expires_at),
    })
}

/// The members that no later check reads.
struct Form<'a> {
    approval_id: &'a str,
    nonce: &'a str,
}

impl<'a> Form<'a> {
    /// Reads these members of an artifact of version 1. Returns `None` if the object has another
    /// version, an unknown member at any level, or one of these members in another form.
    ///
    /// A member that a later check reads is left to that check, so that the contract's order
    /// decides: an artifact without a `tenant_id` is for another organization, and one without an
    /// `expires_at` has expired.
    fn read(artifact: &'a Object) -> Option<Self> {
        let is_known = has_only(artifact, MEMBERS)
            && member_has_only(artifact, "reviewer", REVIEWER_MEMBERS)
            && member_has_only(artifact, "issuer", &["type", "issuer_id", "kid"]);
        let is_reviewer = object(artifact, "reviewer").is_none_or(|reviewer| {
            is_name(reviewer, "principal_id")
                && optional_is(reviewer, "email", Value::is_string)
                && optional_is(reviewer, "groups", is_texts)
                && optional_is(reviewer, "roles", is_texts)
        });
        let is_form = is(artifact, "version", "approval_artifact.v1")
            && is_known
            && is_reviewer
            && is_name(artifact, "approval_id")
            && artifact.get("nonce").is_some_and(is_nonce);
        Some(Self {
            approval_id: text(artifact, "approval_id").filter(|_| is_form)?,
            nonce: text(artifact, "nonce")?,
        })
    }
}

const MEMBERS: &[&str] = &[
    "version",
    "approval_id",
    "tenant_id",
    "action_type",
    "resource_id",
    "action_hash",
    "reviewer",
    "issuer",
    "issued_at",
    "expires_at",
    "nonce",
    "signature",
    "identity_assertion",
];

const REVIEWER_MEMBERS: &[&str] = &["principal_id", "principal_kind", "email", "groups", "roles"];

fn roles(reviewer: &Object) -> Vec<String> {
    let roles = reviewer.get("roles").and_then(Value::as_array);
    let roles = roles.into_iter().flatten().filter_map(Value::as_str);
    roles.map(str::to_owned).collect()
}
