//! The life of a permit: it is used once, in time, and for what it was issued for.

use atlasent::error::PermitOutcome;
use atlasent::wire::{EvaluateRequest, PermitStatus, PermitToken, VerifyRequest};
use atlasent::{Agent, AnyAction};
use jiff::Timestamp;

use super::{PermitEntry, PermitGrant, PermitMismatch, PermitState, VerifyRefusal};

const NOON: Timestamp = Timestamp::constant(1_767_268_800, 0);

fn after(seconds: i64) -> Timestamp {
    Timestamp::constant(1_767_268_800 + seconds, 0)
}

fn request() -> EvaluateRequest {
    let action = AnyAction::new("deploy")
        .and_then(|action| action.with_field("environment", "production"))
        .unwrap();
    EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
}

fn issued() -> PermitEntry {
    let grant = PermitGrant::new(&request(), None, "digest");
    PermitEntry::issue(grant, ("event", 1), NOON, after(60))
}

fn verify_request() -> VerifyRequest {
    VerifyRequest::restating(&request(), PermitToken::new("permit").unwrap())
}

#[test]
fn a_permit_is_consumed_once() {
    let mut permit = issued();
    assert_eq!(permit.consume(&verify_request(), NOON), Ok(()));
    assert_eq!(
        permit.consume(&verify_request(), NOON),
        Err(VerifyRefusal::Permit(PermitOutcome::Consumed))
    );
}

#[test]
fn a_permit_expires_at_its_time_and_not_before() {
    assert_eq!(issued().consume(&verify_request(), after(59)), Ok(()));
    for late in [60, 61, 1_000_000] {
        assert_eq!(
            issued().consume(&verify_request(), after(late)),
            Err(VerifyRefusal::Permit(PermitOutcome::Expired))
        );
    }
}

#[test]
fn a_revoked_permit_is_not_good_and_a_used_one_cannot_be_revoked() {
    let mut permit = issued();
    assert!(permit.revoke(NOON, None, "why"));
    assert!(!permit.revoke(NOON, None, "why"));
    assert_eq!(
        permit.consume(&verify_request(), NOON),
        Err(VerifyRefusal::Permit(PermitOutcome::Revoked))
    );
    let mut used = issued();
    used.consume(&verify_request(), NOON).unwrap();
    assert!(!used.revoke(NOON, None, "why"));
    assert!(!issued().revoke(after(60), None, "why"));
}

#[test]
fn a_used_permit_that_is_revoked_is_used_and_known_as_revoked() {
    let mut used = issued();
    used.consume(&verify_request(), NOON).unwrap();
    assert_eq!(used.status(NOON), PermitStatus::Consumed);
    assert_eq!(used.status(after(60)), PermitStatus::Expired);
    assert!(!used.revoke(NOON, None, "why"));
    assert_eq!(used.status(NOON), PermitStatus::Revoked);
    assert!(used.is_spent());
    assert_eq!(
        used.consume(&verify_request(), NOON),
        Err(VerifyRefusal::Permit(PermitOutcome::Consumed))
    );
    let mut late = issued();
    late.consume(&verify_request(), NOON).unwrap();
    late.revoke(after(60), None, "why");
    assert_eq!(late.state, PermitState::Consumed);
}

#[test]
fn a_permit_presented_for_something_else_is_refused_and_burnt() {
    type Change = fn(&mut VerifyRequest);
    let cases: [(Change, &str); 5] = [
        (|q| q.actor_id = Agent::new("other").ok(), "ACTOR_MISMATCH"),
        (
            |q| q.action_type = Some("other".into()),
            "ACTION_TYPE_MISMATCH",
        ),
        (
            |q| q.execution_hash = Some("other".into()),
            "EXECUTION_HASH_MISMATCH",
        ),
        (
            |q| q.environment = Some("other".into()),
            "ENVIRONMENT_MISMATCH",
        ),
        (
            |q| q.require_approval = Some(true),
            "APPROVAL_LINKAGE_MISSING",
        ),
    ];
    for (change, code) in cases {
        let mut question = verify_request();
        change(&mut question);
        let mut permit = issued();
        let refusal = permit.consume(&question, NOON).unwrap_err();
        assert_eq!(refusal.code(), code);
        assert_eq!(refusal.outcome(), None);
        assert!(refusal.burns());
        assert_eq!(permit.state, PermitState::Consumed, "{code}");
    }
}

#[test]
fn a_permit_without_an_environment_is_not_good_for_one() {
    let action = AnyAction::new("deploy").unwrap();
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    let grant = PermitGrant::new(&request, None, "digest");
    let mut permit = PermitEntry::issue(grant, ("event", 1), NOON, after(60));
    let mut question = VerifyRequest::new(PermitToken::new("permit").unwrap());
    question.environment = Some("production".to_owned());
    let mismatch = VerifyRefusal::Mismatch(PermitMismatch::Environment);
    assert_eq!(permit.consume(&question, NOON), Err(mismatch));
}

#[test]
fn a_permit_of_a_test_key_does_not_exist_for_a_live_key() {
    let mut grant = PermitGrant::new(&request(), None, "digest");
    assert!(grant.is_known_to(Some("live")) && grant.is_known_to(None));
    grant.key_environment = Some("test".into());
    assert!(!grant.is_known_to(Some("live")));
    assert!(grant.is_known_to(Some("test")) && grant.is_known_to(None));
}

#[test]
fn what_is_not_restated_is_not_compared() {
    let bare = VerifyRequest::new(PermitToken::new("permit").unwrap());
    assert_eq!(issued().consume(&bare, NOON), Ok(()));
}
