//! The verification of a quorum of approvals.

use std::collections::HashSet;
use std::hash::Hash;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::artifact::verify_artifact;
use super::expected::Expected;
use super::members::{Object, ensure, has_only, is, object, optional, text};
use super::reason::Reason;
use super::signed::{is_in_future, time};
use super::trust::TrustedIssuers;
use super::types::{QuorumPolicy, RoleRequirement};
use super::verified::{Verified, VerifiedQuorum};
use crate::canonical::{Spelling, canonical_json, sha256_hex};

/// Verifies a quorum of approvals (`approval_quorum.v1`) as it was received.
///
/// The checks are those of the contract, in its order, which is the order of [`Reason`]'s
/// variants. Each approval has to verify on its own, with an identity assertion. The caller claims
/// the nonces of the result last, all or none, with [`VerifiedQuorum::claim`].
///
/// The policy in a quorum is not signed. Set the policy that is required in any case with
/// [`Expected::quorum_policy`].
///
/// # Errors
///
/// The [`Reason`] of the first check that fails.
pub fn verify_quorum(
    quorum: &Value,
    expected: &Expected,
    trusted: &TrustedIssuers,
    now: Timestamp,
) -> Result<VerifiedQuorum, Reason> {
    let quorum = quorum.as_object().ok_or(Reason::MissingQuorum)?;
    let policy = read_policy(quorum).ok_or(Reason::InvalidQuorumVersion)?;
    let is_tenant = is(quorum, "tenant_id", &expected.tenant_id);
    ensure(is_tenant, Reason::QuorumTenantMismatch)?;
    let is_action = is(quorum, "action_hash", &expected.action_hash);
    ensure(is_action, Reason::QuorumActionMismatch)?;
    let is_environment = is(quorum, "environment", expected.environment_or_empty());
    ensure(is_environment, Reason::QuorumEnvironmentMismatch)?;

    let policies = [Some(&policy), expected.quorum_policy.as_ref()];
    let policies: Vec<_> = policies.into_iter().flatten().collect();
    let issued_at = time(quorum, "issued_at").ok_or(Reason::QuorumExpired)?;
    let is_fresh = (policies.iter()).all(|policy| is_fresh(issued_at, policy, now));
    ensure(is_fresh, Reason::QuorumExpired)?;
    let approvals = quorum.get("approvals").and_then(Value::as_array);
    let approvals = approvals.map(Vec::as_slice).unwrap_or_default();
    ensure(!approvals.is_empty(), Reason::QuorumEmpty)?;
    let is_enough = |policy: &&QuorumPolicy| approvals.len() as u64 >= policy.required_count;
    let are_enough = policies.iter().all(is_enough);
    ensure(are_enough, Reason::QuorumCountNotMet)?;

    let expected_of_entries = expected.clone().require_identity_assertion();
    let mut verified = Vec::new();
    for (index, approval) in approvals.iter().enumerate() {
        let entry = verify_entry(approval, quorum, &expected_of_entries, trusted, now);
        verified.push(entry.map_err(|reason| reason.at_entry(index))?);
    }
    check_policies(&policies, &verified)?;
    let nonces = verified.iter().map(|entry| &entry.nonce.value);
    ensure(are_distinct(nonces), Reason::QuorumReplay)?;
    Ok(VerifiedQuorum {
        quorum_hash: quorum_hash(quorum, &verified),
        approvals: verified,
    })
}

fn verify_entry(
    approval: &Value,
    quorum: &Object,
    expected: &Expected,
    trusted: &TrustedIssuers,
    now: Timestamp,
) -> Result<Verified, Reason> {
    let is_same = |name| approval.get(name) == quorum.get(name);
    ensure(is_same("tenant_id"), Reason::EntryTenantMismatch)?;
    ensure(is_same("action_hash"), Reason::EntryActionMismatch)?;
    verify_artifact(approval, expected, trusted, now)
}

/// Checks that reviewers differ, issuers differ where they have to, and enough reviewers have each
/// role.
fn check_policies(policies: &[&QuorumPolicy], verified: &[Verified]) -> Result<(), Reason> {
    let reviewers = verified.iter().map(|entry| &entry.reviewer_id);
    ensure(are_distinct(reviewers), Reason::QuorumDuplicateReviewer)?;

    let independence = || (policies.iter()).filter_map(|policy| policy.independence.as_ref());
    if independence().any(|required| required.distinct_approval_issuers == Some(true)) {
        let issuers = verified.iter().map(|entry| &entry.issuer_id);
        ensure(are_distinct(issuers), Reason::QuorumDuplicateApprovalIssuer)?;
    }
    if independence().any(|required| required.distinct_identity_issuers == Some(true)) {
        let issuers = verified.iter().map(|entry| {
            let identity = entry.identity.as_ref();
            identity.map(|identity| &identity.issuer_id)
        });
        ensure(are_distinct(issuers), Reason::QuorumDuplicateIdentityIssuer)?;
    }

    let role_mix = (policies.iter()).flat_map(|policy| policy.required_role_mix.iter().flatten());
    for RoleRequirement { role, min } in role_mix {
        let has_role = |entry: &&Verified| entry.reviewer_roles.contains(role);
        let got = verified.iter().filter(has_role).count() as u64;
        if got < *min {
            let (role, need) = (role.clone(), *min);
            return Err(Reason::QuorumRoleMix { role, need, got });
        }
    }
    Ok(())
}

/// Whether a quorum of this time is younger than the policy's maximum age. One that is issued more
/// than the tolerance in the future has no age.
fn is_fresh(issued_at: Timestamp, policy: &QuorumPolicy, now: Timestamp) -> bool {
    policy.max_age_seconds.is_none_or(|seconds| {
        let age = now.duration_since(issued_at);
        let most = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        age < most && !is_in_future(issued_at, now)
    })
}

fn are_distinct<T: Eq + Hash>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

fn quorum_hash(quorum: &Object, verified: &[Verified]) -> String {
    let mut hashes: Vec<_> = verified.iter().map(|entry| &entry.artifact_hash).collect();
    hashes.sort_unstable();
    let others = quorum.iter().filter(|(name, _)| *name != "approvals");
    let mut hashed: Object = others
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    hashed.insert("approval_hashes".to_owned(), json!(hashes));
    sha256_hex(&[canonical_json(&hashed, Spelling::AsWritten).as_bytes()])
}

/// Reads the policy of a quorum of version 1. Returns `None` if the object has another version, an
/// unknown member at any level, or a malformed policy.
fn read_policy(quorum: &Object) -> Option<QuorumPolicy> {
    let is_form = is(quorum, "version", "approval_quorum.v1") && has_only(quorum, MEMBERS);
    let policy = object(quorum, "policy").filter(|_| is_form)?;
    if !has_only(policy, POLICY_MEMBERS) {
        return None;
    }
    let mut read = QuorumPolicy::new(positive(policy.get("required_count")?)?);
    if let Some(seconds) = optional(policy, "max_age_seconds") {
        read = read.max_age_seconds(positive(seconds)?);
    }
    if let Some(role_mix) = optional(policy, "required_role_mix") {
        for requirement in role_mix.as_array()? {
            let requirement = requirement.as_object()?;
            let role = text(requirement, "role").filter(|role| !role.is_empty())?;
            let min = positive(requirement.get("min")?)?;
            if !has_only(requirement, &["role", "min"]) {
                return None;
            }
            read = read.role(role, min);
        }
    }
    if let Some(independence) = optional(policy, "independence") {
        let independence = independence.as_object()?;
        if !has_only(independence, INDEPENDENCE_MEMBERS) {
            return None;
        }
        let is_set = |name| optional(independence, name).map_or(Some(false), Value::as_bool);
        if is_set("distinct_approval_issuers")? {
            read = read.distinct_approval_issuers();
        }
        if is_set("distinct_identity_issuers")? {
            read = read.distinct_identity_issuers();
        }
    }
    Some(read)
}

fn positive(number: &Value) -> Option<u64> {
    number.as_u64().filter(|number| *number > 0)
}

const MEMBERS: &[&str] = &[
    "version",
    "tenant_id",
    "action_hash",
    "environment",
    "issued_at",
    "policy",
    "approvals",
];

const POLICY_MEMBERS: &[&str] = &[
    "required_count",
    "required_role_mix",
    "independence",
    "max_age_seconds",
];

const INDEPENDENCE_MEMBERS: &[&str] = &["distinct_approval_issuers", "distinct_identity_issuers"];
