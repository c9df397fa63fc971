//! Every reason has the words of the contract.

use atlasent::approval::Reason;

#[test]
fn every_reason_has_the_words_of_the_contract() {
    let entry = |reason| Reason::QuorumEntry {
        index: 2,
        reason: Box::new(reason),
    };
    let mix = Reason::QuorumRoleMix {
        role: "security_lead".to_owned(),
        need: 2,
        got: 1,
    };
    for (reason, words) in [
        (Reason::MissingArtifact, "missing approval artifact"),
        (
            Reason::InvalidArtifactVersion,
            "invalid approval artifact version",
        ),
        (Reason::TenantMismatch, "approval tenant mismatch"),
        (
            Reason::ActionMismatch,
            "approval does not match this action",
        ),
        (Reason::ReviewerNotHuman, "reviewer must be human"),
        (Reason::UntrustedIssuer, "untrusted approval issuer"),
        (Reason::ReviewerLacksRole, "reviewer lacks required role"),
        (
            Reason::IssuerActionType,
            "issuer not authorized for this action type",
        ),
        (
            Reason::IssuerEnvironment,
            "issuer not authorized for this environment",
        ),
        (Reason::Expired, "approval expired"),
        (Reason::IssuedInFuture, "approval issued in the future"),
        (Reason::InvalidSignature, "invalid approval signature"),
        (Reason::MissingIdentity, "missing identity assertion"),
        (
            Reason::InvalidIdentityVersion,
            "invalid identity assertion version",
        ),
        (
            Reason::IdentityTenantMismatch,
            "identity assertion tenant mismatch",
        ),
        (
            Reason::IdentityActionMismatch,
            "identity assertion does not match this action",
        ),
        (
            Reason::IdentityNotHuman,
            "identity assertion subject must be human",
        ),
        (
            Reason::IdentityReviewerMismatch,
            "identity assertion subject does not match reviewer",
        ),
        (
            Reason::IdentityApprovalMismatch,
            "identity assertion does not match this approval",
        ),
        (
            Reason::IdentityRoleMismatch,
            "identity assertion role does not match required role",
        ),
        (
            Reason::IdentityEnvironmentMismatch,
            "identity assertion environment mismatch",
        ),
        (Reason::UntrustedIdentityIssuer, "untrusted identity issuer"),
        (
            Reason::IdentityIssuerRole,
            "identity issuer not authorized for this role",
        ),
        (
            Reason::IdentityIssuerEnvironment,
            "identity issuer not authorized for this environment",
        ),
        (Reason::IdentityExpired, "identity assertion expired"),
        (
            Reason::IdentityIssuedInFuture,
            "identity assertion issued in the future",
        ),
        (
            Reason::InvalidIdentitySignature,
            "invalid identity assertion signature",
        ),
        (Reason::Replay, "approval replay detected"),
        (Reason::MissingQuorum, "missing approval quorum"),
        (
            Reason::InvalidQuorumVersion,
            "invalid approval quorum version",
        ),
        (
            Reason::QuorumTenantMismatch,
            "approval quorum tenant mismatch",
        ),
        (
            Reason::QuorumActionMismatch,
            "approval quorum action mismatch",
        ),
        (
            Reason::QuorumEnvironmentMismatch,
            "approval quorum environment mismatch",
        ),
        (Reason::QuorumExpired, "approval quorum expired"),
        (Reason::QuorumEmpty, "approval quorum empty"),
        (
            Reason::QuorumCountNotMet,
            "approval quorum required count not met",
        ),
        (
            entry(Reason::EntryTenantMismatch),
            "approval quorum entry 2: tenant mismatch within package",
        ),
        (
            entry(Reason::EntryActionMismatch),
            "approval quorum entry 2: action_hash mismatch within package",
        ),
        (
            entry(Reason::InvalidSignature),
            "approval quorum entry 2: invalid approval signature",
        ),
        (
            Reason::QuorumDuplicateReviewer,
            "approval quorum duplicate reviewer",
        ),
        (
            Reason::QuorumDuplicateApprovalIssuer,
            "approval quorum independence violated: duplicate approval issuer",
        ),
        (
            Reason::QuorumDuplicateIdentityIssuer,
            "approval quorum independence violated: duplicate identity issuer",
        ),
        (
            mix,
            "approval quorum role mix not satisfied: need 2 of role 'security_lead', got 1",
        ),
        (Reason::QuorumReplay, "approval quorum replay detected"),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}

#[test]
fn a_role_from_outside_stays_on_one_line() {
    let reason = Reason::QuorumRoleMix {
        role: "qa\nok".to_owned(),
        need: 1,
        got: 0,
    };
    assert_eq!(
        reason.to_string(),
        r"approval quorum role mix not satisfied: need 1 of role 'qa\nok', got 0"
    );
}
