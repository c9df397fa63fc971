//! What the embedded authority records.

use std::time::Duration;

use atlasent::audit::Event;
use atlasent::wire::{
    EvaluateRequest, PermitToken, Receipt, ReceiptOutcome, ResultHash, VerifyRequest,
};
use atlasent::{Agent, Authority, AuthorityExt, Error};
use atlasent_authority::{LocalAuthority, Policies, ReceiptRefusal};
use atlasent_tests::{Driven, drive, quiet_panics};
use futures_executor::block_on;

use crate::{AGENT, action};

fn policies() -> Policies {
    Policies::parse("permit (principal, action, resource);").unwrap()
}

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(policies()).unwrap()
}

fn request() -> EvaluateRequest {
    let action = action().with_resource("api");
    EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action).unwrap()
}

/// Issues a permit: its id and its token.
fn issued(authority: &LocalAuthority) -> (String, PermitToken) {
    let allow = block_on(authority.evaluate(&request())).unwrap();
    (allow.permit_id.unwrap(), allow.permit_token.unwrap())
}

/// Issues and verifies a permit: its id and its token.
fn used(authority: &LocalAuthority) -> (String, PermitToken) {
    let (id, token) = issued(authority);
    let question = VerifyRequest::restating(&request(), token.clone());
    assert!(block_on(authority.verify(&question)).unwrap().valid);
    (id, token)
}

fn completed((id, token): (String, PermitToken)) -> Receipt {
    let duration = Duration::from_millis(12);
    Receipt::new(id, token, ReceiptOutcome::Completed, duration)
}

fn last_event(authority: &LocalAuthority) -> Event {
    let trail = block_on(authority.trail()).unwrap();
    assert!(trail.verify().is_intact());
    trail.events.into_iter().next_back().unwrap()
}

fn refusal(result: Result<impl std::fmt::Debug, Error>) -> ReceiptRefusal {
    let error = result.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    *source.downcast_ref::<ReceiptRefusal>().unwrap()
}

#[test]
fn a_receipt_is_an_event_with_everything_about_the_end() {
    let authority = authority();
    let receipt = completed(used(&authority)).with_result_hash(ResultHash::of("release 41"));
    let recorded = block_on(authority.complete_permit(&receipt)).unwrap();
    let event = last_event(&authority);
    assert_eq!(event.envelope.kind, "permit.completed");
    let text = |name| event.payload.text(name).map(|text| text.into_owned());
    assert_eq!(text("action_type").as_deref(), Some("deploy"));
    assert_eq!(text("actor_id").as_deref(), Some(AGENT));
    assert_eq!(text("resource_id").as_deref(), Some("api"));
    assert_eq!(text("id").as_ref(), Some(&recorded.receipt_id));
    let hash = ResultHash::of("release 41");
    assert_eq!(text("result_hash").as_deref(), Some(hash.as_str()));
    assert!(
        text("permit_hash")
            .unwrap()
            .starts_with(receipt.permit_id.trim_start_matches("pt_"))
    );
    assert_eq!(event.payload.get("duration_ms").unwrap().get(), "12");
    assert_eq!(recorded.permit_id, receipt.permit_id);
    let all = serde_json::to_string(&event).unwrap();
    assert!(!all.contains(receipt.permit_token.expose()));
}

#[test]
fn each_outcome_has_its_event() {
    quiet_panics();
    let authority = authority();
    let _ = block_on(authority.with_permit(AGENT, action(), async |_| Ok::<_, Error>(())));
    assert_eq!(last_event(&authority).envelope.kind, "permit.completed");
    let failing = async |_| Err::<(), _>(Error::Invalid("card 4111".to_owned()));
    let _ = block_on(authority.with_permit(AGENT, action(), failing));
    assert_eq!(last_event(&authority).envelope.kind, "permit.failed");
    assert!(
        !serde_json::to_string(&last_event(&authority))
            .unwrap()
            .contains("4111")
    );
    let hanging = async |_| std::future::pending::<Result<(), Error>>().await;
    assert!(matches!(
        drive(authority.with_permit(AGENT, action(), hanging), 2),
        Driven::Pending
    ));
    assert_eq!(last_event(&authority).envelope.kind, "permit.cancelled");
    let panicking = async |_| -> Result<(), Error> { panic!("scripted") };
    assert!(matches!(
        drive(authority.with_permit(AGENT, action(), panicking), 2),
        Driven::Panicked
    ));
    let event = last_event(&authority);
    assert_eq!(event.envelope.kind, "permit.failed");
    assert_eq!(
        event.payload.text("error").as_deref(),
        Some("the body panicked")
    );
    assert_eq!(authority.receipt_counts().delivered, 4);
}

#[test]
fn the_same_receipt_again_gets_the_same_answer_and_records_nothing() {
    let authority = authority();
    let receipt = completed(used(&authority));
    let first = block_on(authority.complete_permit(&receipt)).unwrap();
    let events = block_on(authority.trail()).unwrap().events.len();
    assert_eq!(
        block_on(authority.complete_permit(&receipt)).unwrap(),
        first
    );
    assert_eq!(block_on(authority.trail()).unwrap().events.len(), events);
}

#[test]
fn another_receipt_of_the_same_permit_is_refused() {
    let authority = authority();
    let receipt = completed(used(&authority));
    block_on(authority.complete(&receipt)).unwrap();
    let mut failed = receipt.clone();
    failed.outcome = ReceiptOutcome::Failed;
    let mut longer = receipt.clone();
    longer.duration_ms += 1;
    let hashed = receipt.clone().with_result_hash(ResultHash::of("other"));
    let reasoned = receipt.clone().with_error("other");
    let before = last_event(&authority);
    for other in [failed, longer, hashed, reasoned] {
        let refused = refusal(block_on(authority.complete_permit(&other)));
        assert_eq!(refused, ReceiptRefusal::Conflict, "{other:?}");
    }
    assert_eq!(last_event(&authority).envelope, before.envelope);
}

#[test]
fn a_permit_that_no_verification_passed_takes_no_receipt() {
    let authority = authority();
    let unused = completed(issued(&authority));
    let revoked = completed(issued(&authority));
    block_on(authority.revoke(&revoked.permit_token, "why")).unwrap();
    let burnt = completed(issued(&authority));
    let mut for_another = VerifyRequest::restating(&request(), burnt.permit_token.clone());
    for_another.action_type = Some("other".into());
    let verification = block_on(authority.verify(&for_another)).unwrap();
    assert_eq!(verification.consumed, Some(true));
    for receipt in [unused, revoked, burnt] {
        let refused = refusal(block_on(authority.complete_permit(&receipt)));
        assert_eq!(refused, ReceiptRefusal::NotUsed);
    }
}

#[test]
fn a_body_whose_permit_was_revoked_or_stopped_meanwhile_is_recorded() {
    let authority = authority();
    let receipt = completed(used(&authority));
    block_on(authority.revoke(&receipt.permit_token, "too late")).unwrap();
    block_on(authority.complete(&receipt)).unwrap();
    assert_eq!(last_event(&authority).envelope.kind, "permit.completed");
}

#[test]
fn a_receipt_needs_the_token_of_its_permit() {
    let authority = authority();
    let (one, other) = (completed(used(&authority)), completed(used(&authority)));
    let mut mixed = one.clone();
    mixed.permit_token = other.permit_token;
    let mut by_id = one.clone();
    by_id.permit_token = PermitToken::new(one.permit_id.clone()).unwrap();
    let mut by_token = one.clone();
    by_token.permit_id = one.permit_token.expose().to_owned();
    for wrong in [mixed, by_id, by_token] {
        let refused = refusal(block_on(authority.complete_permit(&wrong)));
        assert_eq!(refused, ReceiptRefusal::OtherToken);
    }
    let elsewhere = self::authority();
    let unknown = refusal(block_on(elsewhere.complete_permit(&one)));
    assert_eq!(unknown, ReceiptRefusal::UnknownPermit);
}

#[test]
fn an_error_that_is_too_long_is_refused() {
    let authority = authority();
    let mut receipt = completed(used(&authority));
    receipt.error = Some("x".repeat(501));
    let refused = block_on(authority.complete_permit(&receipt)).unwrap_err();
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
}

#[test]
fn receipts_can_be_turned_off() {
    let builder = LocalAuthority::builder(policies()).receipts(false);
    let authority = block_on(builder.build()).unwrap();
    let _ = block_on(authority.with_permit(AGENT, action(), async |_| Ok::<_, Error>(())));
    assert_eq!(last_event(&authority).envelope.kind, "permit.verified");
    assert_eq!(authority.receipt_counts(), Default::default());
    // One by hand is accepted all the same.
    block_on(authority.complete(&completed(used(&authority)))).unwrap();
    assert_eq!(last_event(&authority).envelope.kind, "permit.completed");
}
