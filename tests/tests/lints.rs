//! Tests that expansions break no lint that users may enable: every shape of function and action,
//! under every lint of clippy and the compiler that is off by default. `cargo clippy
//! --all-targets`, a part of `.ci/run`, checks it.

// All lints are enabled. The exceptions below are lints that contradict another lint or tool, and
// lints that the code of this file breaks without the macros.
#![deny(
    warnings,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction
)]
#![deny(
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    closure_returning_async_block,
    deprecated_in_future,
    deprecated_safe_2024,
    edition_2024_expr_fragment_specifier,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    ffi_unwind_calls,
    future_incompatible,
    if_let_rescope,
    impl_trait_overcaptures,
    impl_trait_redundant_captures,
    keyword_idents,
    let_underscore_drop,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    missing_unsafe_on_extern,
    non_ascii_idents,
    nonstandard_style,
    redundant_imports,
    redundant_lifetimes,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    single_use_lifetimes,
    tail_expr_drop_order,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![expect(
    clippy::blanket_clippy_restriction_lints,
    reason = "all of them at once is the point"
)]
#![allow(
    clippy::allow_attributes,
    clippy::else_if_without_else,
    clippy::missing_trait_methods,
    clippy::needless_return,
    clippy::pub_with_shorthand,
    clippy::question_mark_used,
    clippy::self_named_module_files,
    clippy::semicolon_inside_block,
    clippy::separated_literal_suffix,
    clippy::tests_outside_test_module,
    reason = "each contradicts another one, the formatter or the language"
)]

/// The same shapes without `return`.
#[deny(clippy::needless_return)]
#[allow(
    clippy::implicit_return,
    reason = "the two lints contradict each other"
)]
mod tails {
    use super::{Error, MockAuthority, Permit, Pin, identity, protect};

    /// Items come first in a body, as the lints require.
    #[protect(action = "deploy", agent = "bot", context = { commit }, authority = authority)]
    pub(crate) async fn asynchronous(
        authority: &MockAuthority,
        commit: &str,
    ) -> Result<usize, Error> {
        use core::num::NonZeroUsize;

        let length = NonZeroUsize::new(commit.len());
        length.map_or_else(
            || Err(Error::Invalid("no commit".to_owned())),
            |found| Ok(found.get()),
        )
    }

    /// Returns a value.
    #[protect(action = "deploy", agent = "bot", authority = authority)]
    pub(crate) fn synchronous(authority: &MockAuthority, permit: Permit) -> Result<String, Error> {
        Ok(permit.agent().to_string())
    }

    /// A boxed future, with an import in front.
    #[protect(action = "deploy", agent = "bot", authority = authority)]
    pub(crate) fn boxed(
        authority: &MockAuthority,
    ) -> Pin<Box<dyn Future<Output = Result<u8, Error>> + '_>> {
        Box::pin(async move { Ok(identity(1)) })
    }
}

use core::convert::identity;
use core::fmt::Display;
use core::hint::spin_loop;
use core::pin::Pin;

use async_trait::async_trait;
use atlasent::testing::MockAuthority;
use atlasent::{Action, Error, Permit, boundary, protect};
use futures_executor::block_on;
use serde::Serialize;

/// An action with fields of every kind.
#[derive(Action, Debug, Clone)]
#[action("transfer")]
#[non_exhaustive]
struct Transfer<T> {
    /// The resource.
    #[action(resource)]
    account: T,
    /// Context.
    amount: u64,
    /// Not context.
    #[action(skip)]
    #[expect(dead_code, reason = "only the struct's shape counts")]
    note: String,
}

/// An action without fields.
#[derive(Action, Debug, Clone, Copy)]
#[action("flush")]
#[non_exhaustive]
struct Flush;

/// A trait with methods to protect.
trait Deploy {
    /// Async.
    fn deploy(&self, commit: &str) -> impl Future<Output = Result<String, Error>>;

    /// Sync, with a default body.
    ///
    /// # Errors
    ///
    /// The refusal.
    #[protect(action = "deploy", agent = "bot", authority = MockAuthority::new())]
    fn roll_back(&self) -> Result<u8, Error> {
        return Ok(1);
    }
}

/// A trait whose methods a macro turns into futures.
#[async_trait]
trait Boxed {
    /// Async.
    async fn deploy(&self, commit: &str) -> Result<String, Error>;
}

/// A type with methods.
#[derive(Debug)]
struct Cluster {
    /// The authority.
    authority: MockAuthority,
}

impl Deploy for Cluster {
    #[protect(action = "deploy", agent = "bot", context = { commit }, authority = self.authority)]
    async fn deploy(&self, commit: &str, permit: Permit) -> Result<String, Error> {
        return Ok(format!("{commit} {}", permit.agent()));
    }
}

#[async_trait]
impl Boxed for Cluster {
    #[protect(action = "deploy", agent = "bot", context = { commit }, authority = self.authority)]
    async fn deploy(&self, commit: &str, permit: Permit) -> Result<String, Error> {
        return Ok(format!("{commit} {}", permit.agent()));
    }
}

impl Cluster {
    /// Consumes `self`.
    #[protect(action = Flush, agent = "bot", authority = self.authority)]
    async fn flush(self, _permit: Permit<Flush>) -> Result<Self, Error> {
        return Ok(self);
    }

    /// Changes `self`.
    #[protect(action = "deploy", agent = "bot", authority = self.authority)]
    fn change(&mut self, authority: MockAuthority) -> Result<(), Error> {
        self.authority = authority;
        return Ok(());
    }
}

/// Something with a boundary.
#[derive(Debug)]
struct Bank {
    /// Who is asked.
    authority: MockAuthority,
}

#[boundary(authority = self.authority, agent = "bot")]
impl Bank {
    /// Sync.
    #[protect(action = "deploy", context = { amount })]
    pub(crate) fn pay(&self, amount: u64) -> Result<u64, Error> {
        return Ok(amount);
    }

    /// Behind the permit of the caller.
    #[inline]
    pub(crate) fn execute(&self, permit: Permit<Flush>) -> bool {
        drop(permit);
        return self.is_open();
    }

    /// Open.
    #[open("has no effect")]
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        return self.authority.calls().is_empty();
    }
}

/// A trait with a boundary.
#[boundary(front = Branch, authority = self.authority(), agent = "bot")]
trait BranchBackend {
    /// Open.
    #[open("names the authority that decides")]
    fn authority(&self) -> &MockAuthority;

    /// Declared.
    fn execute_flush(&self, permit: Permit<Flush>) -> bool;

    /// Protected.
    ///
    /// # Errors
    ///
    /// The refusal.
    #[protect(action = Flush)]
    fn flush_all(&self, permit: Permit<Flush>) -> Result<bool, Error> {
        return Ok(self.execute_flush(permit));
    }
}

#[boundary]
impl BranchBackend for Bank {
    #[open("names the authority that decides")]
    fn authority(&self) -> &MockAuthority {
        return &self.authority;
    }

    fn execute_flush(&self, permit: Permit<Flush>) -> bool {
        return self.execute(permit);
    }
}

/// Has every argument, an early return, and a question mark.
#[protect(
    action = "deploy",
    agent = "bot",
    context = { commit, length: commit.len() },
    resource = commit,
    authority = authority,
    request = |request| return request.environment("production"),
)]
async fn asynchronous(
    authority: &MockAuthority,
    commit: &str,
    permit: Permit,
) -> Result<String, Error> {
    if commit.is_empty() {
        return Err(Error::Invalid(commit.to_owned()));
    }
    let flushed = without_permit(authority).await?;
    return Ok(format!("{flushed} {}", permit.agent()));
}

/// Has no parameter for the permit.
#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn without_permit(authority: &MockAuthority) -> Result<u8, Error> {
    return Ok(7);
}

/// Is generic, with a typed action.
#[protect(action = Transfer { account, amount, note: String::new() }, agent = "bot", authority = authority)]
fn synchronous<T: Send + Sync + Serialize + Display + 'static>(
    authority: &MockAuthority,
    account: T,
    amount: u64,
    mut permit: Permit<Transfer<T>>,
) -> Result<u64, Error> {
    permit = identity(permit);
    if permit.amount == 0 {
        return Err(Error::Invalid("nothing to transfer".to_owned()));
    }
    return Ok(permit.into_action().amount);
}

/// Has only the required arguments.
#[protect(action = "deploy", agent = "bot", authority = authority)]
fn synchronous_without_permit(authority: &MockAuthority) -> Result<u8, Error> {
    return Ok(7);
}

/// Never returns.
#[expect(clippy::infinite_loop, reason = "the shape of a body that diverges")]
#[protect(action = "deploy", agent = "bot", authority = authority)]
async fn diverging(authority: &MockAuthority) -> Result<u8, Error> {
    loop {
        spin_loop();
    }
}

/// Returns a boxed future.
#[protect(action = "deploy", agent = "bot", authority = authority)]
fn boxed(authority: &MockAuthority) -> Pin<Box<dyn Future<Output = Result<u8, Error>> + '_>> {
    return Box::pin(async move {
        return Ok(1);
    });
}

/// Returns a future.
#[protect(action = "deploy", agent = "bot", authority = authority)]
fn implied(
    authority: &MockAuthority,
    permit: Permit,
) -> impl Future<Output = Result<String, Error>> {
    return async move {
        return Ok(permit.agent().to_string());
    };
}

#[test]
fn functions_under_every_lint_run() {
    let authority = MockAuthority::new()
        .allow("deploy")
        .allow("flush")
        .allow("transfer");
    let mut cluster = Cluster {
        authority: MockAuthority::new().allow("deploy"),
    };
    assert!(
        cluster.change(authority).is_ok(),
        "an allow changes the cluster"
    );
    let mock = &cluster.authority;
    let ran = block_on(async {
        let _commit = asynchronous(mock, "4f2a").await?;
        let _deployed = Deploy::deploy(&cluster, "4f2a").await?;
        let _in_a_box = Boxed::deploy(&cluster, "4f2a").await?;
        let _amount = synchronous(mock, 7_u8, 5)?;
        let _seven = synchronous_without_permit(mock)?;
        let _one = boxed(mock).await?;
        let _agent = implied(mock).await?;
        let _length = tails::asynchronous(mock, "4f2a").await?;
        let _name = tails::synchronous(mock)?;
        let _last = tails::boxed(mock).await?;
        return Ok::<_, Error>(());
    });
    assert!(ran.is_ok(), "an allow runs every body: {ran:?}");
    assert!(
        cluster.roll_back().is_err(),
        "an empty authority allows nothing"
    );
    assert!(
        block_on(diverging(&MockAuthority::new())).is_err(),
        "an empty authority allows nothing"
    );
    let bank = Bank {
        authority: MockAuthority::new().allow("deploy").allow("flush"),
    };
    assert!(bank.pay(5).is_ok(), "an allow runs a method of a boundary");
    assert!(
        bank.flush_all().is_ok(),
        "an allow runs a method of a front"
    );
    let flushed = block_on(cluster.flush());
    assert!(flushed.is_ok(), "an allow runs a method that consumes");
}
