//! Tests that a store that fails, hangs or panics at any call opens no body and stays usable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use atlasent::error::{Code, PermitOutcome};
use atlasent::wire::VerifyRequest;
use atlasent::{Authority, AuthorityExt, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::faulty::{Call, FAULTS, Fault, FaultyStore, StoreFaults, TIMES, When};
use atlasent_tests::{Driven, Ran, drive, quiet_panics};

use crate::support::{AGENT, TwoSteps, action, deploy, deploy_sync, now, permit_all, request};

/// The calls of a store: the start of the authority, then for each body an evaluation with its
/// verification, or each in a call of its own.
const START: usize = 1;
const EVALUATE: usize = 2;
const VERIFY: usize = 3;

fn build(
    nth: usize,
    fault: Fault,
    when: When,
) -> impl Future<Output = Result<LocalAuthority<FaultyStore>, Error>> {
    let faults = StoreFaults::default();
    faults.plan(Call::Commit, fault, when, nth - 1);
    let store = FaultyStore::new(faults);
    LocalAuthority::builder(permit_all()).store(store).build()
}

fn matches_fault(happened: &Driven<Result<(), Error>>, fault: Fault) -> bool {
    match (happened, fault) {
        (Driven::Done(Err(error)), Fault::Fails) => error.code() == Some(Code::ServerError),
        (Driven::Pending, Fault::Hangs) | (Driven::Panicked, Fault::Panics) => true,
        _ => false,
    }
}

type Path<P> = fn(&P, &Ran) -> Driven<Result<(), Error>>;

fn calls<P: Authority>() -> [(&'static str, Path<P>); 4] {
    fn done(call: impl FnOnce() -> Result<(), Error>) -> Driven<Result<(), Error>> {
        catch_unwind(AssertUnwindSafe(call)).map_or(Driven::Panicked, Driven::Done)
    }
    [
        ("async fn", |authority, ran| {
            drive(deploy(authority, ran), 3)
        }),
        ("with_permit", |authority, ran| {
            let call = authority.with_permit(AGENT, action(), async |_permit| {
                ran.hit();
                Ok(())
            });
            drive(call, 3)
        }),
        ("protect", |authority, ran| {
            let call = async {
                let _permit = authority.protect(AGENT, action()).await?;
                ran.hit();
                Ok(())
            };
            drive(call, 3)
        }),
        // Last, since this call would block on a store that hangs.
        ("fn", |authority, ran| done(|| deploy_sync(authority, ran))),
    ]
}

#[test]
fn a_store_that_fails_at_any_call_opens_no_body() {
    quiet_panics();
    for fault in FAULTS {
        for when in TIMES {
            for nth in EVALUATE..VERIFY + 3 {
                opens_no_body(nth, (fault, when), EVALUATE, |authority| authority);
                opens_no_body(nth, (fault, when), VERIFY, TwoSteps);
            }
        }
    }
}

/// Asserts that a fault at the `nth` call of the store opens no body, where `last` is the last call
/// before a body runs.
fn opens_no_body<P: Authority>(
    nth: usize,
    (fault, when): (Fault, When),
    last: usize,
    asked: impl Fn(Arc<LocalAuthority<FaultyStore>>) -> P,
) {
    for (path, call) in calls() {
        if path == "fn" && fault == Fault::Hangs {
            continue;
        }
        let case = format!("{path}: {fault:?} {when:?} of call {nth}, {last} calls");
        let authority = Arc::new(now(build(nth, fault, when)));
        let ran = Ran::new();
        let happened = call(&asked(Arc::clone(&authority)), &ran);
        if nth <= last {
            assert!(matches_fault(&happened, fault), "{case}: {happened:?}");
            assert_eq!(ran.count(), 0, "{case}");
        } else {
            assert!(matches!(happened, Driven::Done(Ok(()))), "{case}");
            assert_eq!(ran.count(), 1, "{case}");
        }
        stays_usable(&authority, nth > last, &case);
    }
}

#[test]
fn a_permit_is_issued_and_used_up_in_one_transaction() {
    let authority = now(build(EVALUATE + 1, Fault::Fails, When::Before));
    let _permit = now(authority.protect(AGENT, action()));
    let trail = now(authority.trail());
    assert!(trail.verify().is_intact());
    let kinds = trail
        .events
        .iter()
        .map(|event| event.envelope.kind.as_str());
    let kinds: Vec<&str> = kinds.collect();
    assert_eq!(
        kinds,
        ["policy.loaded", "evaluate.allow", "permit.verified"]
    );
    // The fault is still to come, so one transaction recorded both.
    let next = drive(authority.evaluate(&request()), 1);
    assert!(matches!(next, Driven::Done(Err(_))), "{next:?}");
}

/// Asserts that the authority answers after its fault and that its trail is intact.
fn stays_usable(authority: &LocalAuthority<FaultyStore>, is_to_come: bool, case: &str) {
    let ran = Ran::new();
    // The fault may still come, once.
    let attempts = if is_to_come { 2 } else { 1 };
    let passed = (0..attempts)
        .filter(|_| matches!(drive(deploy(authority, &ran), 1), Driven::Done(Ok(()))))
        .count();
    assert!(passed > 0, "{case}");
    assert_eq!(ran.count(), passed, "{case}");
    assert!(now(authority.trail()).verify().is_intact(), "{case}");
}

#[test]
fn an_authority_that_cannot_record_its_start_does_not_start() {
    quiet_panics();
    for fault in FAULTS {
        for when in TIMES {
            let happened = match drive(build(START, fault, when), 3) {
                Driven::Done(result) => Driven::Done(result.map(drop)),
                Driven::Pending => Driven::Pending,
                Driven::Panicked => Driven::Panicked,
            };
            assert!(matches_fault(&happened, fault), "{fault:?} {when:?}");
        }
    }
}

#[test]
fn a_permit_whose_verification_was_lost_is_still_used_up() {
    quiet_panics();
    for fault in FAULTS {
        let authority = now(build(VERIFY, fault, When::After));
        let token = now(authority.evaluate(&request())).permit_token.unwrap();
        let question = VerifyRequest::restating(&request(), token);
        let lost = drive(authority.verify(&question), 3);
        assert!(!matches!(lost, Driven::Done(Ok(_))));
        let again = now(authority.verify(&question));
        assert_eq!(again.permit_outcome(), Some(PermitOutcome::Consumed));
    }
}

#[test]
fn a_verification_that_was_not_kept_did_not_happen() {
    quiet_panics();
    for fault in FAULTS {
        let authority = now(build(VERIFY, fault, When::Before));
        let token = now(authority.evaluate(&request())).permit_token.unwrap();
        let question = VerifyRequest::restating(&request(), token);
        let lost = drive(authority.verify(&question), 3);
        assert!(!matches!(lost, Driven::Done(Ok(_))));
        assert_eq!(now(authority.trail()).events.len(), 2);
        assert!(now(authority.verify(&question)).valid);
        assert!(!now(authority.verify(&question)).valid);
    }
}

#[test]
fn a_revocation_that_was_not_kept_is_an_error() {
    let authority = now(build(VERIFY, Fault::Fails, When::Before));
    let token = now(authority.evaluate(&request())).permit_token.unwrap();
    let failed = drive(authority.revoke(&token, "stop"), 1);
    assert!(matches!(failed, Driven::Done(Err(error)) if error.code() == Some(Code::ServerError)));
}

#[test]
fn policies_that_cannot_be_recorded_do_not_decide() {
    const REPLACE: usize = START + 1;
    for when in TIMES {
        let authority = now(build(REPLACE, Fault::Fails, when));
        let before = authority.policies().digest().to_owned();
        let shut = Policies::parse("forbid (principal, action, resource);").unwrap();
        assert!(matches!(
            drive(authority.replace_policies(shut), 1),
            Driven::Done(Err(_))
        ));
        assert_eq!(authority.policies().digest(), before, "{when:?}");
        let ran = Ran::new();
        assert!(matches!(
            drive(deploy(&authority, &ran), 3),
            Driven::Done(Ok(()))
        ));
        assert_eq!(ran.count(), 1, "{when:?}");
    }
}
