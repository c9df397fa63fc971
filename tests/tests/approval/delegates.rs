//! Signed approvals, and the votes of approvers, in the requests of an agent's delegates.

use atlasent::{Agent, Decision};
use atlasent_authority::approvals::{Approver, Ballot};
use futures_executor::block_on;
use serde_json::json;

use crate::released::{ask, authority, carrying, case, kinds, refused, request, with_artifact};
use crate::released_quorum::with_quorum;

#[test]
fn a_signed_approval_for_the_agent_releases_no_request_of_its_delegates() {
    let (ada, bob) = (case(0, "ada"), case(0, "bob"));
    let helper = || Agent::new("helper").unwrap();
    for (needed, own) in [(1, with_artifact(&ada)), (2, with_quorum(&[&ada, &bob], 2))] {
        let authority = authority(needed, ada.issuers());
        for actors in [vec![helper()], vec![Agent::new("desk").unwrap(), helper()]] {
            let delegated = own.clone().with_actors(actors);
            let reason = refused(&authority, &delegated);
            assert_eq!(reason, "approval does not match this action");
        }
        assert!(!kinds(&authority).contains(&"approval.voted".to_owned()));
        let allowed = ask(&authority, &own);
        assert_eq!(
            allowed.decision,
            Decision::Allow,
            "a refusal used nothing up: {allowed:?}"
        );
    }
}

#[test]
fn a_delegate_is_released_by_the_vote_on_its_own_question() {
    let ada = case(0, "ada");
    let authority = authority(1, ada.issuers());
    let delegated = request().with_actors([Agent::new("helper").unwrap()]);
    let id = ask(&authority, &delegated).escalation_id.unwrap();
    let voter = Approver::new("ada", ["qa_reviewer"]).unwrap();
    block_on(authority.vote(id.parse().unwrap(), Ballot::approve(voter))).unwrap();
    let named = carrying("approval", json!({"approval_id": id}));
    assert_eq!(
        refused(&authority, &named),
        "approval does not match this action",
        "the decision belongs to the delegate"
    );
    let named = named.with_actors([Agent::new("helper").unwrap()]);
    assert_eq!(ask(&authority, &named).decision, Decision::Allow);
}
