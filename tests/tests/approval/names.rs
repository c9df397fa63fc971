//! Tests that signed approvals count whatever names their issuers give to people and roles.

use atlasent::wire::VerifyRequest;
use atlasent::{Authority, Decision};
use atlasent_authority::trail::EventFilter;
use futures_executor::block_on;
use serde_json::json;

use crate::case::Case;
use crate::released::{ask, authority, case, refused, request, with_artifact};
use crate::released_quorum::with_quorum;

fn with_roles(roles: &[&str]) -> Case {
    let mut ada = case(0, "ada");
    ada.artifact["reviewer"]["roles"] = json!(roles);
    ada
}

#[test]
fn a_role_that_no_policy_can_list_does_not_spoil_an_approval() {
    let long = "x".repeat(257);
    let numbered: Vec<String> = (0..150).map(|number| format!("r{number}")).collect();
    let mut many: Vec<&str> = numbered.iter().map(String::as_str).collect();
    many.push("qa_reviewer");
    for roles in [
        &["qa_reviewer", "CN=ops,OU=it"][..],
        &["", "qa_reviewer"],
        &[" reader", "qa_reviewer", "a\nb"],
        &[long.as_str(), "qa_reviewer"],
        many.as_slice(),
    ] {
        let ada = with_roles(roles);
        let authority = authority(1, ada.issuers());
        let answer = ask(&authority, &with_artifact(&ada));
        assert_eq!(answer.decision, Decision::Allow, "{answer:?}");
    }
    // Such a role does not make its holder an approver.
    let ada = with_roles(&["qa_reviewer,", " qa_reviewer", "QA_REVIEWER"]);
    let authority = authority(1, ada.issuers());
    let reason = refused(&authority, &with_artifact(&ada));
    assert!(reason.contains("`ada` cannot decide this"), "{reason}");
}

#[test]
fn a_person_whom_no_policy_can_list_approves_by_a_role() {
    let jane = case(0, "CN=Jane,OU=Ops");
    let authority = authority(1, jane.issuers());
    let allowed = ask(&authority, &with_artifact(&jane));
    assert_eq!(allowed.decision, Decision::Allow, "{allowed:?}");
    let verify = VerifyRequest::restating(&request(), allowed.permit_token.unwrap());
    let verified = block_on(authority.verify(&verify)).unwrap();
    assert_eq!(verified.approvals()[0].reviewer_id, "CN=Jane,OU=Ops");
    let filter = EventFilter::default().types(["approval.voted"]);
    let events = block_on(authority.events(0, 100, &filter)).unwrap();
    let approver = events[0].payload.text("approver");
    assert_eq!(approver.as_deref(), Some("CN=Jane,OU=Ops"));
}

#[test]
fn white_space_around_a_name_does_not_make_a_second_person() {
    let (ada, again) = (case(0, "ada"), case(0, " Ada "));
    let authority = authority(2, ada.issuers());
    let answer = ask(&authority, &with_quorum(&[&ada, &again], 2));
    assert_eq!(answer.decision, Decision::Hold, "{answer:?}");
    let own = case(0, " deploy-bot ");
    let reason = refused(&authority, &with_artifact(&own));
    assert!(reason.contains("asked for this"), "{reason}");
}

#[test]
fn a_name_that_is_too_long_or_blank_is_refused_with_a_reason_of_the_contract() {
    let long = "x".repeat(257);
    let ada = case(0, "ada");
    let mut long_id = case(0, "bob");
    long_id.artifact["approval_id"] = json!(long);
    long_id.assertion = None;
    let authority = authority(1, ada.issuers());
    let people = [long.as_str(), "a\nb", "   "].map(|person| case(0, person));
    for bad in people.iter().chain([&long_id]) {
        let reason = refused(&authority, &with_artifact(bad));
        assert_eq!(reason, "invalid approval artifact version");
    }
    for bad in &people {
        let reason = refused(&authority, &with_quorum(&[&ada, bad], 2));
        let expected = "approval quorum entry 1: invalid approval artifact version";
        assert_eq!(reason, expected);
    }
    let answer = ask(&authority, &with_artifact(&ada));
    assert_eq!(answer.decision, Decision::Allow, "{answer:?}");
}
