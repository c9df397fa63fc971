//! Receipts in a durable store, and after a restart.

use std::path::Path;

use atlasent::wire::{EvaluateRequest, Receipt, ReceiptOutcome, VerifyRequest};
use atlasent::{Agent, Authority, AuthorityExt, Error};
use atlasent_authority::trail::EventFilter;
use atlasent_authority::{LocalAuthority, Policies, ReceiptRefusal, RedbStore};
use futures_executor::block_on;

use crate::{AGENT, action};

fn open(folder: &Path) -> LocalAuthority<RedbStore> {
    let store = RedbStore::open(folder.join("authority.redb")).unwrap();
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    block_on(LocalAuthority::builder(policies).store(store).build()).unwrap()
}

fn count(authority: &LocalAuthority<RedbStore>, kind: &str) -> usize {
    let filter = EventFilter::default().types([kind]);
    block_on(authority.events(0, usize::MAX, &filter))
        .unwrap()
        .len()
}

#[test]
fn bodies_of_a_durable_store_are_recorded_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    for _ in 0..20 {
        block_on(authority.with_permit(AGENT, action(), async |_| Ok::<_, Error>(()))).unwrap();
    }
    block_on(authority.flush_receipts());
    assert_eq!(count(&authority, "permit.completed"), 20);
    assert_eq!(authority.receipt_counts().delivered, 20);
    assert!(block_on(authority.trail()).unwrap().verify().is_intact());
}

#[tokio::test(flavor = "current_thread")]
async fn a_dropped_future_of_a_single_threaded_runtime_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    let hanging = async |_| std::future::pending::<Result<(), Error>>().await;
    let call = authority.with_permit(AGENT, action(), hanging);
    let timeout = std::time::Duration::from_millis(500);
    assert!(tokio::time::timeout(timeout, call).await.is_err());
    authority.flush_receipts().await;
    assert_eq!(count(&authority, "permit.cancelled"), 1);
}

#[test]
fn a_receipt_outlives_a_restart_and_is_recorded_once() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    let request = EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action()).unwrap();
    let mut pairs = Vec::new();
    for _ in 0..2 {
        let allow = block_on(authority.evaluate(&request)).unwrap();
        let token = allow.permit_token.unwrap();
        block_on(authority.verify(&VerifyRequest::restating(&request, token.clone()))).unwrap();
        pairs.push((allow.permit_id.unwrap(), token));
    }
    let receipts = pairs.into_iter().map(|(id, token)| {
        let lasted = std::time::Duration::from_secs(3);
        Receipt::new(id, token, ReceiptOutcome::Failed, lasted).with_error("the disk is full")
    });
    let [before, after] = <[Receipt; 2]>::try_from(receipts.collect::<Vec<_>>()).unwrap();
    let first = block_on(authority.complete_permit(&before)).unwrap();
    drop(authority);

    let authority = open(folder.path());
    assert_eq!(block_on(authority.complete_permit(&before)).unwrap(), first);
    let mut other = before;
    other.outcome = ReceiptOutcome::Completed;
    let error = block_on(authority.complete_permit(&other)).unwrap_err();
    let refusal = std::error::Error::source(&error).unwrap();
    assert_eq!(
        refusal.downcast_ref::<ReceiptRefusal>(),
        Some(&ReceiptRefusal::Conflict)
    );
    // A body that ended while the authority restarted.
    block_on(authority.complete_permit(&after)).unwrap();
    assert_eq!(count(&authority, "permit.failed"), 2);
}

#[test]
fn a_permit_that_outlives_its_authority_does_not_keep_the_store_open() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path());
    let permit = block_on(authority.protect(AGENT, action())).unwrap();
    let execution = permit.execution();
    drop(authority);
    let authority = open(folder.path());
    // Its receipt has no authority any more. It is lost, and does no harm.
    let _ = execution.finish(false);
    assert_eq!(count(&authority, "permit.completed"), 0);
}
