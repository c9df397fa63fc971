//! A valid quorum of three approvals, and each fault that a check of the contract finds.

use atlasent::approval::{Expected, TrustedIssuers};
use atlasent::approval::{MemoryNonces, Reason, VerifiedQuorum, verify_quorum};
use serde_json::{Value, json};

use crate::case::{Case, HASH, Signer, faults, now};

/// Approvals by ada and bob, each with issuers of their own, and by carol with ada's issuers.
#[derive(Clone)]
pub(crate) struct QuorumCase {
    pub(crate) quorum: Value,
    pub(crate) entries: Vec<Case>,
    /// Takes the place of the approvals.
    pub(crate) approvals: Option<Value>,
    /// Takes the place of the quorum.
    pub(crate) replacement: Option<Value>,
    pub(crate) expected: Expected,
    pub(crate) replayed: bool,
}

impl QuorumCase {
    pub(crate) fn new() -> Self {
        let ada = Case::new();
        let bob = Case::numbered(1, "bob", Signer::Ed25519([3; 32]), Signer::Hs256([4; 32]));
        let carol = Case::numbered(0, "carol", ada.signer.clone(), ada.identity_signer.clone());
        Self {
            quorum: json!({
                "version": "approval_quorum.v1", "tenant_id": "org-1", "action_hash": HASH,
                "environment": "production", "issued_at": "2026-11-01T12:05:00Z",
                "policy": {"required_count": 3, "max_age_seconds": 301,
                    "required_role_mix": [{"role": "qa_reviewer", "min": 3}]},
            }),
            expected: ada.expected.clone(),
            entries: vec![ada, bob, carol],
            approvals: None,
            replacement: None,
            replayed: false,
        }
    }

    pub(crate) fn policy(&mut self) -> &mut Value {
        &mut self.quorum["policy"]
    }

    pub(crate) fn issuers(&self) -> TrustedIssuers {
        // The first entry of an issuer has its configuration.
        let merge = |of: fn(&Case) -> &Value| {
            let mut all = json!({});
            for entry in self.entries.iter().rev() {
                for (issuer, keys) in of(entry).as_object().unwrap() {
                    all[issuer] = keys.clone();
                }
            }
            all.to_string()
        };
        TrustedIssuers::parse(&merge(|case| &case.trusted))
            .and_then(|issuers| issuers.identity_issuers(&merge(|case| &case.trusted_identity)))
            .unwrap()
    }

    pub(crate) fn signed(&self) -> Value {
        if let Some(replacement) = &self.replacement {
            return replacement.clone();
        }
        let mut quorum = self.quorum.clone();
        quorum["approvals"] = (self.approvals.clone())
            .unwrap_or_else(|| self.entries.iter().map(Case::signed).collect());
        quorum
    }

    pub(crate) fn verify(&self) -> Result<VerifiedQuorum, Reason> {
        verify_quorum(&self.signed(), &self.expected, &self.issuers(), now())
    }

    pub(crate) fn verdict(&self) -> Result<(), Reason> {
        let nonces = MemoryNonces::default();
        if self.replayed {
            let carol = Self::new().entries[2].verify()?;
            carol.claim(|claimed| nonces.claim(claimed, now()))?;
        }
        (self.verify()?).claim(|claimed| nonces.claim(claimed, now()))
    }
}

/// What a fault does to a quorum.
pub(crate) type Change = Box<dyn Fn(&mut QuorumCase)>;

fn at(index: usize, reason: Reason) -> Reason {
    let reason = Box::new(reason);
    Reason::QuorumEntry { index, reason }
}

/// One fault for each reason, in the contract's order; those of an approval at both of the first
/// entries.
pub(crate) fn quorum_faults() -> Vec<(Reason, Change)> {
    let mut all: Vec<(Reason, Change)> = vec![
        (
            Reason::MissingQuorum,
            Box::new(|case| case.replacement = Some(json!([]))),
        ),
        (
            Reason::InvalidQuorumVersion,
            Box::new(|case| case.quorum["version"] = json!("v2")),
        ),
        (
            Reason::QuorumTenantMismatch,
            Box::new(|case| case.quorum["tenant_id"] = json!("org-2")),
        ),
        (
            Reason::QuorumActionMismatch,
            Box::new(|case| case.quorum["action_hash"] = json!("0")),
        ),
        (
            Reason::QuorumEnvironmentMismatch,
            Box::new(|case| case.quorum["environment"] = json!("")),
        ),
        (
            Reason::QuorumExpired,
            Box::new(|case| case.policy()["max_age_seconds"] = json!(300)),
        ),
        (
            Reason::QuorumEmpty,
            Box::new(|case| case.approvals = Some(json!([]))),
        ),
        (
            Reason::QuorumCountNotMet,
            Box::new(|case| case.policy()["required_count"] = json!(4)),
        ),
    ];
    for index in [0, 1] {
        all.push((
            at(index, Reason::EntryTenantMismatch),
            Box::new(move |case| case.entries[index].artifact["tenant_id"] = json!("org-2")),
        ));
        all.push((
            at(index, Reason::EntryActionMismatch),
            Box::new(move |case| case.entries[index].artifact["action_hash"] = json!("0")),
        ));
        for fault in faults() {
            let of_package = [
                // Within a quorum, other checks find these first.
                Reason::MissingArtifact,
                Reason::TenantMismatch,
                Reason::ActionMismatch,
                Reason::Replay,
            ];
            if !of_package.contains(&fault.0) {
                let change = move |case: &mut QuorumCase| (fault.1)(&mut case.entries[index]);
                all.push((at(index, fault.0), Box::new(change)));
            }
        }
    }
    all.extend(policy_faults());
    all
}

fn policy_faults() -> Vec<(Reason, Change)> {
    let need = |need| Reason::QuorumRoleMix {
        role: "security_lead".to_owned(),
        need,
        got: 0,
    };
    vec![
        (
            Reason::QuorumDuplicateReviewer,
            Box::new(|case| {
                case.entries[2].artifact["reviewer"]["principal_id"] = json!("ada");
                case.entries[2].with_assertion(|it| it["subject"]["principal_id"] = json!("ada"));
            }),
        ),
        (
            Reason::QuorumDuplicateApprovalIssuer,
            Box::new(|case| {
                case.policy()["independence"]["distinct_approval_issuers"] = json!(true);
            }),
        ),
        (
            Reason::QuorumDuplicateIdentityIssuer,
            Box::new(|case| {
                case.policy()["independence"]["distinct_identity_issuers"] = json!(true);
            }),
        ),
        (
            need(2),
            Box::new(|case| {
                case.policy()["required_role_mix"] = json!([{"role": "security_lead", "min": 2}]);
            }),
        ),
        (Reason::QuorumReplay, Box::new(|case| case.replayed = true)),
    ]
}
