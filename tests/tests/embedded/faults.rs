//! Tests that a store that fails, hangs or panics at any call opens no body and stays usable.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use atlasent::error::{Code, PermitOutcome};
use atlasent::wire::VerifyRequest;
use atlasent::{Authority, AuthorityExt, Error};
use atlasent_authority::permits::PermitId;
use atlasent_authority::store::{
    CellKey, Changeset, PermitEntry, PermitKey, SealedEvent, Store, StoreError, StoreStatus,
};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, MemoryStore, Policies};
use atlasent_tests::{Driven, Ran, drive, quiet_panics};
use jiff::Timestamp;

use crate::support::{AGENT, action, deploy, deploy_sync, now, permit_all, request};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Fails,
    Hangs,
    Panics,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    BeforeCommit,
    AfterCommit,
}

/// A store in memory with a fault at its nth call.
struct Faulty {
    store: MemoryStore,
    calls: AtomicUsize,
    nth: usize,
    fault: Fault,
    when: When,
}

impl Faulty {
    async fn inject_fault(&self, call: usize, when: When) -> Result<(), StoreError> {
        if (call, when) != (self.nth, self.when) {
            return Ok(());
        }
        match self.fault {
            Fault::Fails => Err(StoreError::failed("the disk is gone")),
            Fault::Hangs => pending().await,
            Fault::Panics => panic!("scripted"),
        }
    }
}

impl Store for Faulty {
    async fn commit<T: Send + 'static>(
        &self,
        now: Timestamp,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.inject_fault(call, When::BeforeCommit).await?;
        let committed = self.store.commit(now, reads, change).await?;
        self.inject_fault(call, When::AfterCommit).await?;
        Ok(committed)
    }

    async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Arc<SealedEvent>>, StoreError> {
        self.store.events(after, limit, filter).await
    }

    async fn count_events(&self, filter: &EventFilter) -> Result<u64, StoreError> {
        self.store.count_events(filter).await
    }

    async fn permits(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(PermitKey, PermitEntry)>, StoreError> {
        self.store.permits(before, limit).await
    }

    async fn permit_key(&self, id: PermitId) -> Result<Option<PermitKey>, StoreError> {
        self.store.permit_key(id).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.store.status().await
    }
}

const FAULTS: [Fault; 3] = [Fault::Fails, Fault::Hangs, Fault::Panics];
const TIMES: [When; 2] = [When::BeforeCommit, When::AfterCommit];

/// The calls of a store: the start of the authority, then an evaluation and a verification for each
/// body.
const START: usize = 1;
const EVALUATE: usize = 2;
const VERIFY: usize = 3;

fn build(
    nth: usize,
    fault: Fault,
    when: When,
) -> impl Future<Output = Result<LocalAuthority<Faulty>, Error>> {
    let store = Faulty {
        store: MemoryStore::new(),
        calls: AtomicUsize::new(0),
        nth,
        fault,
        when,
    };
    LocalAuthority::builder(permit_all()).store(store).build()
}

fn matches_fault(happened: &Driven<Result<(), Error>>, fault: Fault) -> bool {
    match (happened, fault) {
        (Driven::Done(Err(error)), Fault::Fails) => error.code() == Some(Code::ServerError),
        (Driven::Pending, Fault::Hangs) | (Driven::Panicked, Fault::Panics) => true,
        _ => false,
    }
}

type Call = fn(&LocalAuthority<Faulty>, &Ran) -> Driven<Result<(), Error>>;

fn calls() -> [(&'static str, Call); 4] {
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
                for (path, call) in calls() {
                    if path == "fn" && fault == Fault::Hangs {
                        continue;
                    }
                    let case = format!("{path}: {fault:?} {when:?} of call {nth}");
                    let authority = now(build(nth, fault, when));
                    let ran = Ran::new();
                    let happened = call(&authority, &ran);
                    if nth <= VERIFY {
                        assert!(matches_fault(&happened, fault), "{case}: {happened:?}");
                        assert_eq!(ran.count(), 0, "{case}");
                    } else {
                        assert!(matches!(happened, Driven::Done(Ok(()))), "{case}");
                        assert_eq!(ran.count(), 1, "{case}");
                    }
                    stays_usable(&authority, nth, &case);
                }
            }
        }
    }
}

/// Asserts that the authority answers after its fault and that its trail is intact.
fn stays_usable(authority: &LocalAuthority<Faulty>, nth: usize, case: &str) {
    let ran = Ran::new();
    // The fault may still come, once.
    let attempts = if nth > VERIFY { 2 } else { 1 };
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
        let authority = now(build(VERIFY, fault, When::AfterCommit));
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
        let authority = now(build(VERIFY, fault, When::BeforeCommit));
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
    let authority = now(build(VERIFY, Fault::Fails, When::BeforeCommit));
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
