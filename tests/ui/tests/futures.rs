//! Sync functions that return a future: the permit is obtained when the future runs.
#![deny(warnings)]

mod support;

use std::fmt::Display;
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

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn returned(
    authority: &MockAuthority,
    permit: Permit,
) -> Pin<Box<dyn Future<Output = Result<String, Error>> + '_>> {
    return Box::pin(async move { Ok(permit.agent().to_string()) });
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn cast(
    authority: &MockAuthority,
) -> Pin<Box<dyn Future<Output = Result<Box<dyn Display>, Error>> + '_>> {
    Box::pin(async move { Ok(Box::new(7) as _) }) as _
}

/// An alias hides that this is a future; the body shows it.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

#[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
fn under_an_alias<'a>(
    authority: &'a MockAuthority,
    commit: &'a str,
    permit: Permit,
) -> Answer<'a, String> {
    Box::pin(async move {
        if commit.is_empty() {
            return Err(Error::Invalid("no commit".into()));
        }
        let agent = authority_of(&permit)?;
        Ok(format!("{commit} by {agent}"))
    })
}

fn authority_of(permit: &Permit) -> Result<&str, Error> {
    Ok(permit.agent().as_str())
}

/// What stands before the block is in it, after the permit.
#[protect(action = "deploy", agent = "bot", authority = authority)]
fn with_items(authority: &MockAuthority) -> impl Future<Output = Result<u8, Error>> {
    use std::convert::identity;
    const STEP: u8 = 3;
    fn add(count: u8) -> u8 {
        count + STEP
    }
    macro_rules! twice {
        ($value:expr) => {
            $value + $value
        };
    }

    async move { Ok(twice!(add(identity(1)))) }
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

#[test]
fn a_returned_future_obtains_the_permit_when_it_runs() {
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
    assert_eq!(block_on(returned(yes)).unwrap(), "bot");
    assert!(refused(block_on(returned(no))));
    assert_eq!(block_on(cast(yes)).unwrap().to_string(), "7");
    assert!(block_on(cast(no)).is_err());
    let future = under_an_alias(yes, "4f2a");
    assert_eq!(block_on(future).unwrap(), "4f2a by bot");
    assert!(block_on(under_an_alias(yes, "")).is_err());
    assert!(refused(block_on(under_an_alias(no, "4f2a"))));
    assert_eq!(block_on(with_items(yes)).unwrap(), 8);
    assert!(refused(block_on(with_items(no))));
    assert_eq!(block_on(yes.deploy("4f2a")).unwrap(), yes.calls().len());
    assert!(refused(block_on(no.deploy("4f2a"))));
    block_on(yes.rollback()).unwrap();
    assert!(refused(block_on(no.rollback())));
}
