//! Signed quorums that a request carries release what the policies hold.

use atlasent::approval::{ActionBinding, action_hash};
use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Authority, Decision};
use atlasent_authority::approvals::{Approver, Ballot};
use futures_executor::block_on;
use serde_json::{Value, json};

use crate::case::Case;
use crate::released::{ask, authority, carrying, case, kinds, refused, request, with_artifact};

/// A request that carries a quorum of these approvals.
pub(crate) fn with_quorum(approvals: &[&Case], count: usize) -> EvaluateRequest {
    let hash = action_hash(&ActionBinding::from(&request()));
    let signed: Vec<Value> = approvals.iter().map(|case| case.signed()).collect();
    let quorum = json!({"version": "approval_quorum.v1", "tenant_id": "org-1",
        "action_hash": hash, "environment": "production",
        "issued_at": "2026-11-01T12:05:00Z", "policy": {"required_count": count},
        "approvals": signed});
    carrying("approval_quorum", quorum)
}

#[test]
fn a_signed_quorum_releases_what_needs_as_many() {
    let (ada, bob) = (case(0, "ada"), case(0, "bob"));
    let authority = authority(2, ada.issuers());
    assert_eq!(
        refused(&authority, &with_quorum(&[&ada], 1)),
        "approval quorum required count not met"
    );
    assert_eq!(
        refused(&authority, &with_quorum(&[&ada, &ada], 2)),
        "approval quorum duplicate reviewer"
    );
    let both = with_quorum(&[&ada, &bob], 2);
    assert_eq!(ask(&authority, &both).decision, Decision::Allow);
    assert_eq!(
        refused(&authority, &both),
        "approval quorum replay detected"
    );
    for case in [&ada, &bob] {
        let reason = refused(&authority, &with_artifact(case));
        assert_eq!(reason, "approval replay detected");
    }
    let with_a_new_one = with_quorum(&[&case(0, "cleo"), &bob], 2);
    assert_eq!(
        refused(&authority, &with_a_new_one),
        "approval quorum replay detected"
    );
}

#[test]
fn a_signed_quorum_may_have_more_approvals_than_the_policy_asks_for() {
    let people = ["ada", "bob", "cleo"].map(|person| case(0, person));
    let [ada, bob, cleo] = &people;
    for (needed, package) in [
        (1, &[ada, bob][..]),
        (1, &[ada, bob, cleo]),
        (2, &[ada, bob, cleo]),
    ] {
        for count in [needed as usize, package.len()] {
            let authority = authority(needed, ada.issuers());
            let allowed = ask(&authority, &with_quorum(package, count));
            assert_eq!(allowed.decision, Decision::Allow, "{allowed:?}");
            let verify = VerifyRequest::restating(&request(), allowed.permit_token.unwrap());
            let verified = block_on(authority.verify(&verify)).unwrap();
            assert_eq!(verified.approvals().len(), package.len());
            let voted = kinds(&authority)
                .into_iter()
                .filter(|kind| kind == "approval.voted");
            assert_eq!(voted.count(), package.len(), "each of them is on the chain");
            for case in package {
                assert_eq!(
                    refused(&authority, &with_artifact(case)),
                    "approval replay detected",
                    "each of them is used up"
                );
            }
        }
    }
}

#[test]
fn an_approval_that_does_not_count_refuses_its_quorum_at_every_position() {
    let (ada, bob) = (case(0, "ada"), case(0, "bob"));
    let mut reader = case(0, "rick");
    reader.artifact["reviewer"]["roles"] = json!(["reader"]);
    let own = case(0, "Deploy-Bot");
    for bad in [&reader, &own] {
        for package in [[bad, &ada, &bob], [&ada, bad, &bob], [&ada, &bob, bad]] {
            let authority = authority(2, ada.issuers());
            let reason = refused(&authority, &with_quorum(&package, 2));
            let is_named = reason.contains("cannot decide this") || reason.contains("asked for");
            assert!(is_named, "{reason}");
            let both = ask(&authority, &with_quorum(&[&ada, &bob], 2));
            assert_eq!(both.decision, Decision::Allow, "a refusal used nothing up");
        }
    }
}

#[test]
fn the_approval_of_a_person_who_has_voted_is_used_up_with_its_quorum() {
    let (ada, bob) = (case(0, "ada"), case(0, "bob"));
    let authority = authority(2, ada.issuers());
    let held = ask(&authority, &request()).escalation_id.unwrap();
    let voter = Approver::new("ada", ["qa_reviewer"]).unwrap();
    block_on(authority.vote(held.parse().unwrap(), Ballot::approve(voter))).unwrap();
    for _ in 0..2 {
        let again = ask(&authority, &with_artifact(&ada));
        assert_eq!(
            again.decision,
            Decision::Hold,
            "it waits for bob: {again:?}"
        );
    }
    let both = ask(&authority, &with_quorum(&[&ada, &bob], 2));
    assert_eq!(both.decision, Decision::Allow, "{both:?}");
    for case in [&ada, &bob] {
        let reason = refused(&authority, &with_artifact(case));
        assert_eq!(reason, "approval replay detected");
    }
}
