//! What a quorum has to be: its form, its policy, the policy of the verifier.

use atlasent::approval::{QuorumPolicy, Reason, verify_quorum};
use serde_json::{Value, json};

use crate::case::{Case, HASH, now};
use crate::quorum_case::QuorumCase;

fn verdict(change: impl FnOnce(&mut QuorumCase)) -> Option<Reason> {
    let mut case = QuorumCase::new();
    change(&mut case);
    case.verdict().err()
}

fn entry(index: usize, reason: Reason) -> Option<Reason> {
    let reason = Box::new(reason);
    Some(Reason::QuorumEntry { index, reason })
}

#[test]
fn what_is_no_object_is_missing() {
    for value in [json!(null), json!([]), json!("q"), json!(3)] {
        let reason = verdict(|case| case.replacement = Some(value));
        assert_eq!(reason, Some(Reason::MissingQuorum));
    }
}

#[test]
fn an_unknown_member_at_any_level_is_refused() {
    let changes: [fn(&mut QuorumCase); 4] = [
        |case| case.quorum["new"] = json!(1),
        |case| case.policy()["new"] = json!(null),
        |case| case.policy()["required_role_mix"][0]["new"] = json!(1),
        |case| case.policy()["independence"] = json!({"distinct_reviewers": true}),
    ];
    for change in changes {
        assert_eq!(verdict(change), Some(Reason::InvalidQuorumVersion));
    }
    let reason = verdict(|case| case.entries[1].artifact["new"] = json!(1));
    assert_eq!(reason, entry(1, Reason::InvalidArtifactVersion));
}

#[test]
fn a_malformed_policy_is_refused() {
    for (member, wrong) in [
        (
            "required_count",
            json!([null, "2", 0, -1, 2.0, 1.5, [], true]),
        ),
        ("max_age_seconds", json!(["60", 0, -1, 60.0, [], true])),
        (
            "required_role_mix",
            json!(["qa", {}, 1, [1], [{}], [{"role": "", "min": 1}],
            [{"role": "qa"}], [{"role": "qa", "min": 0}], [{"role": 7, "min": 1}], [["qa", 1]]]),
        ),
        (
            "independence",
            json!([true, [true, true], "all", {"distinct_approval_issuers": 1},
            {"distinct_identity_issuers": "true"}]),
        ),
    ] {
        for value in wrong.as_array().unwrap() {
            let reason = verdict(|case| case.policy()[member] = value.clone());
            assert_eq!(
                reason,
                Some(Reason::InvalidQuorumVersion),
                "{member} {value}"
            );
        }
    }
    for policy in [json!(null), json!([]), json!({}), json!(2)] {
        let reason = verdict(|case| *case.policy() = policy);
        assert_eq!(reason, Some(Reason::InvalidQuorumVersion));
    }
    let reason = verdict(|case| {
        *case.policy() = json!({"required_count": 1, "max_age_seconds": null,
            "required_role_mix": null, "independence": null});
    });
    assert_eq!(reason, None);
}

#[test]
fn a_malformed_member_fails_the_check_that_reads_it() {
    for wrong in [json!(null), json!(7), json!([]), json!({})] {
        for (member, reason) in [
            ("version", Reason::InvalidQuorumVersion),
            ("tenant_id", Reason::QuorumTenantMismatch),
            ("action_hash", Reason::QuorumActionMismatch),
            ("environment", Reason::QuorumEnvironmentMismatch),
            ("issued_at", Reason::QuorumExpired),
        ] {
            let found = verdict(|case| case.quorum[member] = wrong.clone());
            assert_eq!(found, Some(reason), "{member} {wrong}");
        }
        let found = verdict(|case| case.approvals = Some(wrong.clone()));
        assert_eq!(found, Some(Reason::QuorumEmpty));
        let found = verdict(|case| case.entries[2].replacement = Some(wrong));
        assert_eq!(found, entry(2, Reason::EntryTenantMismatch));
    }
}

#[test]
fn every_approval_of_a_quorum_has_an_identity_assertion() {
    let reason = verdict(|case| {
        case.expected = atlasent::approval::Expected::new("org-1", HASH).environment("production");
        case.entries[1].assertion = None;
    });
    assert_eq!(reason, entry(1, Reason::MissingIdentity));
}

#[test]
fn approvals_beyond_the_required_count_have_to_verify_as_well() {
    let reason = verdict(|case| {
        case.policy()["required_count"] = json!(1);
        case.policy()["required_role_mix"] = json!(null);
        case.entries[2].artifact["expires_at"] = json!("2026-11-01T12:00:00Z");
    });
    assert_eq!(reason, entry(2, Reason::Expired));
}

#[test]
fn a_person_counts_once() {
    let reason = verdict(|case| {
        let copy = case.entries[0].clone();
        case.entries.push(copy);
    });
    assert_eq!(reason, Some(Reason::QuorumDuplicateReviewer));
}

#[test]
fn independence_is_by_issuer_and_not_by_key() {
    let without_carol = |policy: Value| {
        verdict(|case| {
            case.entries.pop();
            *case.policy() = policy;
        })
    };
    let distinct = json!({"distinct_approval_issuers": true, "distinct_identity_issuers": true});
    let reason = without_carol(json!({"required_count": 2, "independence": distinct}));
    assert_eq!(reason, None);
    for (member, expected) in [
        (
            "distinct_approval_issuers",
            Reason::QuorumDuplicateApprovalIssuer,
        ),
        (
            "distinct_identity_issuers",
            Reason::QuorumDuplicateIdentityIssuer,
        ),
    ] {
        for (set, expected) in [
            (json!(true), Some(expected)),
            (json!(false), None),
            (json!(null), None),
        ] {
            let reason = verdict(|case| case.policy()["independence"] = json!({member: set}));
            assert_eq!(reason, expected);
        }
    }
    // A second key of the same issuer is the same issuer.
    let reason = verdict(|case| {
        let second = case.entries[0].trusted_key().clone();
        case.entries[0].trusted["svc-0"]["k2"] = second;
        case.entries[2].artifact["issuer"]["kid"] = json!("k2");
        case.policy()["independence"] = json!({"distinct_approval_issuers": true});
    });
    assert_eq!(reason, Some(Reason::QuorumDuplicateApprovalIssuer));
}

#[test]
fn each_role_of_the_mix_is_counted_on_its_own() {
    let with_lead = |mix: Value| {
        verdict(|case| {
            case.entries[1].artifact["reviewer"]["roles"] = json!(["qa_reviewer", "lead"]);
            case.policy()["required_role_mix"] = mix;
        })
    };
    let reason = with_lead(json!([{"role": "qa_reviewer", "min": 3}, {"role": "lead", "min": 1}]));
    assert_eq!(reason, None);
    let reason = with_lead(json!([{"role": "qa_reviewer", "min": 3}, {"role": "lead", "min": 2}]));
    let (role, need, got) = ("lead".to_owned(), 2, 1);
    assert_eq!(reason, Some(Reason::QuorumRoleMix { role, need, got }));
    let reason = with_lead(json!([{"role": "qa_reviewer", "min": 4}, {"role": "lead", "min": 2}]));
    let (role, need, got) = ("qa_reviewer".to_owned(), 4, 3);
    assert_eq!(reason, Some(Reason::QuorumRoleMix { role, need, got }));
}

#[test]
fn a_quorum_cannot_lower_the_policy_of_the_verifier() {
    let under = |policy: QuorumPolicy| {
        verdict(|case| {
            *case.policy() = json!({"required_count": 1});
            case.expected = case.expected.clone().quorum_policy(policy);
        })
    };
    assert_eq!(
        under(
            QuorumPolicy::new(3)
                .role("qa_reviewer", 3)
                .max_age_seconds(301)
        ),
        None
    );
    assert_eq!(under(QuorumPolicy::new(4)), Some(Reason::QuorumCountNotMet));
    assert_eq!(
        under(QuorumPolicy::new(1).max_age_seconds(300)),
        Some(Reason::QuorumExpired)
    );
    let reason = under(QuorumPolicy::new(1).role("lead", 1));
    let (role, need, got) = ("lead".to_owned(), 1, 0);
    assert_eq!(reason, Some(Reason::QuorumRoleMix { role, need, got }));
    let reason = under(QuorumPolicy::new(1).distinct_approval_issuers());
    assert_eq!(reason, Some(Reason::QuorumDuplicateApprovalIssuer));
    let reason = under(QuorumPolicy::new(1).distinct_identity_issuers());
    assert_eq!(reason, Some(Reason::QuorumDuplicateIdentityIssuer));
    // The verifier cannot lower the policy of the quorum either.
    let reason = verdict(|case| {
        case.policy()["required_count"] = json!(4);
        case.expected = case.expected.clone().quorum_policy(QuorumPolicy::new(1));
    });
    assert_eq!(reason, Some(Reason::QuorumCountNotMet));
}

#[test]
fn the_hash_of_a_quorum_covers_all_but_the_order_of_its_approvals() {
    let hash = |change: fn(&mut QuorumCase)| {
        let mut case = QuorumCase::new();
        change(&mut case);
        case.verify().unwrap().quorum_hash
    };
    let plain = hash(|_| ());
    assert_eq!(hash(|case| case.entries.swap(1, 2)), plain);
    let others = [
        hash(|case| case.policy()["required_count"] = json!(2)),
        hash(|case| case.policy()["independence"] = json!({})),
        hash(|case| case.quorum["issued_at"] = json!("2026-11-01T12:05:00+00:00")),
        hash(|case| case.entries[1].artifact["nonce"] = json!("another-nonce")),
    ];
    let mut all = Vec::from(others);
    all.push(plain);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
}

#[test]
fn a_quorum_without_an_environment_has_an_empty_one() {
    let reason = verdict(|case| {
        case.expected = atlasent::approval::Expected::new("org-1", HASH);
        case.quorum["environment"] = json!("");
        for entry in &mut case.entries {
            entry.with_assertion(|assertion| assertion["binding"]["environment"] = json!(""));
        }
    });
    assert_eq!(reason, None);
}

#[test]
fn an_approval_for_one_action_counts_in_no_quorum_for_another() {
    let mut case = QuorumCase::new();
    let other = "e".repeat(64);
    case.quorum["action_hash"] = json!(other);
    let expected = atlasent::approval::Expected::new("org-1", &other).environment("production");
    let verified = verify_quorum(&case.signed(), &expected, &case.issuers(), now());
    assert_eq!(verified.err(), entry(0, Reason::EntryActionMismatch));
    assert_eq!(Case::new().verdict(), Ok(()));
}
