//! Tests that the permit and the chain name the signed approvals that released a request.

use atlasent::Authority as _;
use atlasent::approval::signed_text;
use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent_authority::approvals::{Approver, Ballot};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{Caller, EvaluateOutcome, LocalAuthority};
use futures_executor::block_on;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::case::{Case, hex};
use crate::released::{ask, authority, case, request, with_artifact};
use crate::released_quorum::with_quorum;

/// The record of an approval, by the contract: everything in it is from the artifact.
fn record(case: &Case) -> Value {
    let artifact = case.signed();
    json!({
        "approval_id": artifact["approval_id"],
        "artifact_hash": hex(&Sha256::digest(signed_text(&artifact))),
        "reviewer_id": artifact["reviewer"]["principal_id"],
        "issuer_id": artifact["issuer"]["issuer_id"],
        "kid": artifact["issuer"]["kid"],
    })
}

/// Asks, uses the permit, and returns the answer to its verification as JSON.
fn verified(authority: &LocalAuthority, asked: &EvaluateRequest) -> Value {
    let allowed = ask(authority, asked);
    let token = allowed.permit_token.unwrap();
    let verify = VerifyRequest::restating(&request(), token);
    let verified = block_on(authority.verify(&verify)).unwrap();
    assert!(verified.valid, "{verified:?}");
    serde_json::to_value(verified).unwrap()
}

#[test]
fn a_permit_names_the_artifact_that_released_it() {
    let ada = case(0, "ada");
    let authority = authority(1, ada.issuers());
    let verified = verified(&authority, &with_artifact(&ada));
    assert_eq!(verified["approval"], record(&ada));
    assert_eq!(verified["approval"]["approval_id"], "apr-ada");
    assert_eq!(verified["approval"]["issuer_id"], "svc-0");
    assert_eq!(verified["approval"]["kid"], "k");
    assert_eq!(verified.get("approvals"), None);
}

#[test]
fn a_permit_names_each_artifact_of_a_quorum() {
    let people = ["ada", "bob", "cleo"].map(|person| case(0, person));
    let [ada, bob, cleo] = &people;
    let authority = authority(2, ada.issuers());
    let verified = verified(&authority, &with_quorum(&[ada, bob, cleo], 2));
    let records = people.each_ref().map(record);
    assert_eq!(verified["approval"], records[0]);
    assert_eq!(verified["approvals"], json!(records));
}

#[test]
fn a_vote_that_was_cast_here_names_the_pending_decision() {
    let ada = case(0, "ada");
    let authority = authority(2, ada.issuers());
    let id = ask(&authority, &request()).escalation_id.unwrap();
    let bob = Approver::new("bob", ["qa_reviewer"]).unwrap();
    block_on(authority.vote(id.parse().unwrap(), Ballot::approve(bob))).unwrap();
    let verified = verified(&authority, &with_artifact(&ada));
    let by_hand = &verified["approvals"][0];
    assert_eq!(by_hand["approval_id"], id);
    assert_eq!(by_hand["reviewer_id"], "bob");
    assert_eq!(by_hand["issuer_id"], "atlasent");
    assert_eq!(verified["approvals"][1], record(&ada));
}

#[test]
fn the_chain_names_the_artifact_and_the_caller_that_brought_it() {
    let ada = case(0, "ada");
    let authority = authority(1, ada.issuers());
    let caller = Caller::new("key_7", b"the key of a program").request_id("req-0123456789");
    let asked = block_on(authority.evaluate_for(caller, &with_artifact(&ada), None));
    let allowed = match asked.unwrap() {
        EvaluateOutcome::First(allowed) => allowed,
        other => panic!("{other:?}"),
    };
    assert!(allowed.decision.is_allow(), "{allowed:?}");
    let events = block_on(authority.events(0, 100, &EventFilter::default())).unwrap();
    let mut kinds = Vec::new();
    for event in &events {
        let text = |name| event.payload.text(name);
        let kind = event.envelope.kind.as_str();
        if !kind.starts_with("approval.") {
            continue;
        }
        kinds.push(kind);
        assert_eq!(text("key_id").as_deref(), Some("key_7"), "{kind}");
        assert_eq!(
            text("x_request_id").as_deref(),
            Some("req-0123456789"),
            "{kind}"
        );
        if kind == "approval.voted" {
            assert_eq!(text("vote_id").as_deref(), Some("apr-ada"));
            assert_eq!(text("via").as_deref(), Some("svc-0/k"));
            let hash = record(&ada)["artifact_hash"].clone();
            assert_eq!(text("artifact_hash").as_deref(), hash.as_str());
        }
    }
    assert_eq!(
        kinds,
        ["approval.requested", "approval.voted", "approval.granted"]
    );
}
