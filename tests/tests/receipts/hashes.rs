//! The `receipt` argument: the hash of a result.

use std::pin::Pin;

use atlasent::testing::MockAuthority;
use atlasent::wire::{ReceiptOutcome, ResultHash};
use atlasent::{Authority, Error, Permit, protect};
use atlasent_tests::quiet_panics;
use futures_executor::block_on;

#[derive(Debug, PartialEq)]
struct Release {
    id: u32,
    notes: String,
}

fn release() -> Release {
    Release {
        id: 41,
        notes: "fixes".to_owned(),
    }
}

#[protect(
    action = "deploy",
    agent = "deploy-bot",
    authority = authority,
    receipt = |release| release.id.to_string(),
)]
async fn by_text(authority: &impl Authority, fails: bool) -> Result<Release, Error> {
    match fails {
        false => Ok(release()),
        true => Err(Error::Invalid("no".to_owned())),
    }
}

#[protect(
    action = "deploy",
    agent = "deploy-bot",
    authority = authority,
    receipt = |Release { notes, .. }| notes,
)]
fn by_borrowed_text(authority: &impl Authority, _permit: Permit) -> Result<Release, Error> {
    Ok(release())
}

#[protect(
    action = "deploy",
    agent = "deploy-bot",
    authority = authority,
    receipt = |bytes| bytes,
)]
fn by_bytes<'a>(
    authority: &'a (impl Authority + 'a),
) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, Error>> + Send + 'a>> {
    Box::pin(async move { Ok(vec![1, 2, 3]) })
}

#[protect(
    action = "deploy",
    agent = "deploy-bot",
    authority = authority,
    receipt = |release: &Release| if release.id == 41 { panic!("scripted") } else { "" },
)]
async fn by_a_panic(authority: &impl Authority) -> Result<Release, Error> {
    Ok(release())
}

/// Calls a function with a mock, and returns the hash in its receipt.
fn hash_of(call: impl FnOnce(&MockAuthority)) -> Option<ResultHash> {
    let authority = MockAuthority::new().allow("deploy");
    call(&authority);
    let mut receipts = authority.receipts();
    assert_eq!(receipts.len(), 1);
    receipts.remove(0).result_hash
}

#[test]
fn a_receipt_holds_the_hash_of_what_the_closure_returns() {
    let text = hash_of(|authority| drop(block_on(by_text(authority, false)).unwrap()));
    assert_eq!(text, Some(ResultHash::of("41")));
    let borrowed = hash_of(|authority| drop(by_borrowed_text(authority).unwrap()));
    assert_eq!(borrowed, Some(ResultHash::of("fixes")));
    let bytes = hash_of(|authority| drop(block_on(by_bytes(authority)).unwrap()));
    assert_eq!(bytes, Some(ResultHash::of([1, 2, 3])));
}

#[test]
fn a_failed_body_has_no_result_hash() {
    let authority = MockAuthority::new().allow("deploy");
    assert!(block_on(by_text(&authority, true)).is_err());
    let receipt = authority.receipts().remove(0);
    assert_eq!(receipt.outcome, ReceiptOutcome::Failed);
    assert_eq!(receipt.result_hash, None);
}

#[test]
fn a_closure_that_panics_leaves_the_hash_out_and_the_result_as_it_is() {
    quiet_panics();
    let authority = MockAuthority::new().allow("deploy");
    assert_eq!(block_on(by_a_panic(&authority)).unwrap(), release());
    let receipt = authority.receipts().remove(0);
    assert_eq!(receipt.outcome, ReceiptOutcome::Completed);
    assert_eq!(receipt.result_hash, None);
}
