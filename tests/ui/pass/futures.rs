//! Sync functions that return a future: the permit is obtained when the future runs.
#![deny(warnings)]

#[path = "../support.rs"]
mod support;

use std::future::Future;
use std::pin::Pin;

use atlasent::testing::MockAuthority;
use atlasent::{Error, Permit, protect};
use futures_executor::block_on;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use support::refused;

#[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
fn boxed<'a>(
    authority: &'a MockAuthority,
    commit: &'a str,
    permit: Permit,
) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + 'a>> {
    Box::pin(async move { Ok(format!("{commit} by {}", permit.agent())) })
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn implied(
    authority: &MockAuthority,
    mut count: u8,
) -> impl Future<Output = Result<u8, Error>> + Send {
    async move {
        count += 1;
        Ok(count)
    }
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn aliased<'a>(
    authority: &'a MockAuthority,
    commit: &'a str,
) -> BoxFuture<'a, Result<&'a str, Error>> {
    use std::convert::identity;

    async move { Ok(identity(commit)) }.boxed()
}

trait Deploy {
    fn deploy<'a>(&'a self, commit: &'a str) -> BoxFuture<'a, Result<usize, Error>>;
    fn rollback(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Deploy for MockAuthority {
    #[protect(action = "deploy", agent = "bot", context = { commit }, authority = self)]
    fn deploy<'a>(&'a self, commit: &'a str) -> BoxFuture<'a, Result<usize, Error>> {
        Box::pin(async move {
            let calls = self.calls().len();
            Ok(calls)
        })
    }

    #[protect(action = "deploy", agent = "bot", authority = self)]
    async fn rollback(&self, _permit: Permit) -> Result<(), Error> {
        Ok(())
    }
}

fn main() {
    let yes = &MockAuthority::new().allow("deploy");
    let no = &MockAuthority::new();

    let future = boxed(yes, "4f2a");
    assert!(yes.calls().is_empty());
    assert_eq!(block_on(future).unwrap(), "4f2a by bot");
    assert!(refused(block_on(boxed(no, "4f2a"))));

    assert_eq!(block_on(implied(yes, 1)).unwrap(), 2);
    assert!(refused(block_on(implied(no, 1))));
    assert_eq!(block_on(aliased(yes, "4f2a")).unwrap(), "4f2a");
    assert!(refused(block_on(aliased(no, "4f2a"))));
    assert_eq!(block_on(yes.deploy("4f2a")).unwrap(), yes.calls().len());
    assert!(refused(block_on(no.deploy("4f2a"))));
    block_on(yes.rollback()).unwrap();
    assert!(refused(block_on(no.rollback())));
}
