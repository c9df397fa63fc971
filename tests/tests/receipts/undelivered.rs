//! Receipts that cannot be delivered: they are counted and logged, and change no result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atlasent::authority::WithIssuer;
use atlasent::error::{Code, Failure};
use atlasent::wire::{
    EvaluateRequest, Evaluation, PermitToken, Receipt, Verification, VerifyRequest,
};
use atlasent::{Authority, AuthorityExt, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::faulty::{Call, FAULTS, Fault, FaultyStore, StoreFaults, TIMES};
use atlasent_tests::{Driven, Kind, capture, drive, quiet_panics};
use futures_executor::block_on;

use crate::{AGENT, action};

const TOKEN: &str = "permit_7c1e55d0a9b84f33";

/// Allows everything, and fails each receipt in its own way.
#[derive(Default)]
struct Forgetful {
    asked: AtomicU64,
}

impl Authority for Forgetful {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        Ok(Evaluation::allow(PermitToken::new(TOKEN)?))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Ok(Verification::valid())
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        match self.asked.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Failure::new(
                Code::ServerError,
                format!("cannot keep {}", receipt.permit_token.expose()),
            )
            .into()),
            1 => panic!("scripted"),
            _ => Ok(()),
        }
    }
}

#[test]
fn an_authority_that_fails_a_receipt_changes_no_result() {
    quiet_panics();
    let forgetful = Arc::new(Forgetful::default());
    let authority = WithIssuer::sending_receipts(Arc::clone(&forgetful));
    let queue = authority.receipts().unwrap();
    for _ in 0..3 {
        let call = authority.with_permit(AGENT, action(), async |_| Ok::<_, Error>(7));
        assert_eq!(block_on(call).unwrap(), 7);
        block_on(queue.flush());
    }
    let counts = queue.counts();
    assert_eq!((counts.failed, counts.delivered), (2, 1));
    assert_eq!(forgetful.asked.load(Ordering::Relaxed), 3);
}

#[test]
fn an_authority_without_a_queue_gets_no_receipts() {
    let forgetful = Forgetful::default();
    let call = forgetful.with_permit(AGENT, action(), async |_| Ok::<_, Error>(7));
    assert_eq!(block_on(call).unwrap(), 7);
    assert_eq!(forgetful.asked.load(Ordering::Relaxed), 0);
    // The default of `complete` does nothing.
    let receipt = Receipt::new(
        "pt_1",
        PermitToken::new(TOKEN).unwrap(),
        atlasent::wire::ReceiptOutcome::Completed,
        std::time::Duration::ZERO,
    );
    struct Plain;
    impl Authority for Plain {
        async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
            Ok(Evaluation::allow(PermitToken::new(TOKEN)?))
        }

        async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
            Ok(Verification::valid())
        }
    }
    assert!(block_on(Plain.complete(&receipt)).is_ok());
    let shared: Arc<dyn atlasent::authority::DynAuthority> = Arc::new(forgetful);
    assert!(block_on(shared.complete(&receipt)).is_err());
}

#[test]
fn a_store_that_fails_a_receipt_changes_no_result() {
    quiet_panics();
    let policies = || Policies::parse("permit (principal, action, resource);").unwrap();
    for fault in FAULTS {
        for when in TIMES {
            let faults = StoreFaults::default();
            let store = FaultyStore::new(faults.clone());
            let authority = block_on(LocalAuthority::builder(policies()).store(store).build());
            let authority = authority.unwrap();
            // After the evaluation and the verification, which are one transaction.
            faults.plan(Call::Commit, fault, when, 1);
            let call = authority.with_permit(AGENT, action(), async |_| Ok::<_, Error>(7));
            let case = format!("{fault:?} {when:?}");
            assert!(matches!(drive(call, 1), Driven::Done(Ok(7))), "{case}");
            assert!(faults.have_happened(), "{case}");
            let counts = authority.receipt_counts();
            match fault {
                // The delivery is given up after a minute.
                Fault::Hangs => assert_eq!(counts.waiting, 1, "{case}"),
                _ => assert_eq!((counts.failed, counts.waiting), (1, 0), "{case}"),
            }
            let call = authority.with_permit(AGENT, action(), async |_| Ok::<_, Error>(7));
            assert!(matches!(drive(call, 1), Driven::Done(Ok(7))), "{case}");
            assert_eq!(authority.receipt_counts().delivered, 1, "{case}");
        }
    }
}

#[test]
fn a_lost_receipt_is_logged_without_its_token() {
    let (_, seen) = capture(|| {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let authority = LocalAuthority::in_memory(policies).unwrap();
        let permit = block_on(authority.protect(AGENT, action())).unwrap();
        let execution = permit.execution();
        drop(authority);
        let _ = execution.finish(false);
    });
    let lost = seen.iter().find(|seen| {
        seen.kind == Kind::Event && format!("{seen:?}").contains("receipt not recorded")
    });
    let lost = format!("{:?}", lost.unwrap());
    assert!(lost.contains("the authority was dropped"), "{lost}");
}
