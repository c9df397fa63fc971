//! The expansion breaks no lint that a user may have on.
#![forbid(unsafe_code)]
#![deny(
    warnings,
    unused,
    nonstandard_style,
    future_incompatible,
    rust_2018_idioms,
    keyword_idents
)]
#![deny(
    unused_qualifications,
    unused_results,
    unused_lifetimes,
    unused_import_braces,
    single_use_lifetimes
)]
#![deny(
    unreachable_code,
    unreachable_pub,
    let_underscore_drop,
    redundant_lifetimes,
    unit_bindings,
    variant_size_differences
)]
#![deny(
    trivial_casts,
    trivial_numeric_casts,
    missing_docs,
    missing_debug_implementations,
    missing_copy_implementations
)]
#![deny(
    absolute_paths_not_starting_with_crate,
    explicit_outlives_requirements,
    elided_lifetimes_in_paths
)]
#![deny(
    tail_expr_drop_order,
    if_let_rescope,
    ambiguous_negative_literals,
    redundant_imports,
    meta_variable_misuse
)]

mod support;

use std::pin::Pin;

use async_trait::async_trait;
use atlasent::testing::MockAuthority;
use atlasent::{Action, Error, Permit, protect};
use futures_executor::block_on;
use support::{asked, refused};

#[derive(Action, Debug)]
#[action("transfer")]
struct Transfer<T> {
    #[action(resource)]
    account: T,
    amount: u64,
}

#[protect(
    action = "deploy",
    agent = "bot",
    context = { commit, length: commit.len() },
    resource = commit,
    authority = authority,
    request = |r| r.environment("production")
)]
async fn asynchronous(
    authority: &MockAuthority,
    commit: &str,
    permit: Permit,
) -> Result<String, Error> {
    let name = permit.agent().to_string();
    Ok(name + commit)
}

#[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
async fn returning(authority: &MockAuthority, commit: &str) -> Result<String, Error> {
    if commit.is_empty() {
        return Ok(String::new());
    }
    return Err(Error::Invalid(commit.to_owned()));
}

#[protect(action = Transfer { account, amount }, agent = "bot", authority = authority)]
fn synchronous(
    authority: &MockAuthority,
    account: String,
    amount: u64,
    permit: Permit<Transfer<String>>,
) -> Result<u64, Error> {
    Ok(permit.amount)
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn diverging(authority: &MockAuthority) -> Result<String, Error> {
    loop {
        std::thread::yield_now();
    }
}

#[protect(action = "deploy", agent = "bot", authority = authority)]
fn boxed(authority: &MockAuthority) -> Pin<Box<dyn Future<Output = Result<u8, Error>> + '_>> {
    Box::pin(async move { Ok(1) })
}

#[async_trait]
trait Deploy {
    async fn deploy(&self, commit: &str) -> Result<String, Error>;
}

#[async_trait]
impl Deploy for MockAuthority {
    #[protect(action = "deploy", agent = "bot", context = { commit }, authority = self)]
    async fn deploy(&self, commit: &str, permit: Permit) -> Result<String, Error> {
        Ok(format!("{commit} {}", permit.agent()))
    }
}

#[test]
fn an_expansion_breaks_no_lint() {
    let yes = &MockAuthority::new().allow("deploy").allow("transfer");
    let no = &MockAuthority::new();
    assert_eq!(block_on(asynchronous(yes, "4f2a")).unwrap(), "bot4f2a");
    assert_eq!(asked(yes)["context"]["length"], 4);
    assert_eq!(block_on(returning(yes, "")).unwrap(), "");
    assert_eq!(synchronous(yes, "a".to_owned(), 5).unwrap(), 5);
    assert!(refused(block_on(diverging(no))));
    assert_eq!(block_on(boxed(yes)).unwrap(), 1);
    assert_eq!(block_on(yes.deploy("4f2a")).unwrap(), "4f2a bot");
}
