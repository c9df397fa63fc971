//! The default authority of one test: it applies to one future or closure only.
//!
//! A future moves between threads, and a thread polls many futures. So a thread-local holds the
//! scoped authority only while its future is polled:
//!
//! ```text
//! thread 1:  … ├─ poll of test A: A's mock ─┤├─ poll of test B: B's mock ─┤ …
//! thread 2:  … ├─ poll of test C: C's mock ─┤├─ poll of test A: A's mock ─┤ …
//! ```
//!
//! `authority/config.rs` makes sure that a scope opens nothing in production.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::Authority;
use crate::authority::DynAuthority;
use crate::authority::config::{enter_test_scopes, with_issuer};

thread_local! {
    static SCOPED: RefCell<Option<Arc<dyn DynAuthority>>> = const { RefCell::new(None) };
}

/// Runs a future with `authority` as the default authority. With it, tests of functions that use
/// the default authority can run in parallel in one process.
///
/// ```
/// use std::sync::Arc;
/// use atlasent::testing::{MockAuthority, with_authority};
/// use atlasent::{Error, protect};
///
/// #[protect(action = "deploy", agent = "deploy-bot")]
/// async fn deploy() -> Result<&'static str, Error> {
///     Ok("deployed")
/// }
///
/// # futures_executor::block_on(async {
/// let yes = Arc::new(MockAuthority::new().allow("deploy"));
/// let no = MockAuthority::new().deny("deploy", "frozen");
///
/// assert_eq!(with_authority(Arc::clone(&yes), deploy()).await?, "deployed");
/// assert!(with_authority(no, deploy()).await.is_err());
/// assert_eq!(yes.calls().len(), 2);
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
///
/// # Scope
///
/// The scope contains everything that the future runs while it is polled, including
/// [`blocking`](crate::blocking) calls and destructors. An inner scope replaces the authority of an
/// outer one until it ends. A spawned task or thread does **not** inherit the scope: wrap the
/// spawned future, too. A protected call outside of every scope is refused.
///
/// Inside the scope, a [`Guarded::new`](crate::Guarded::new) opens to permits of the scope's
/// authority, even if the `Guarded` was created elsewhere.
///
/// # In production
///
/// Cargo unifies features, so a dependency can enable this feature and call this function. The
/// dependency gains nothing that it could not have by calling [`configure`](crate::configure)
/// first:
///
/// - A process has either a default authority or test scopes; the first one wins. After a call of
///   [`configure`](crate::configure), or after a default was taken from the environment, every call
///   on the default authority inside a scope is refused, and no [`Guarded`](crate::Guarded) opens
///   to a permit of the scope's authority.
/// - After the first scope, `configure` returns an error, and no default is taken from the
///   environment. So a service that calls `configure` at start-up, and stops when it fails, never
///   runs a body that another authority has allowed.
/// - A permit of the scope's authority opens no [`Guarded::granted_by`](crate::Guarded::granted_by)
///   of another authority.
pub fn with_authority<P, F>(authority: P, future: F) -> impl Future<Output = F::Output>
where
    P: Authority + 'static,
    F: Future,
{
    ScopedFuture {
        authority: with_issuer(authority),
        future: Some(future),
    }
}

/// Calls a closure with `authority` as the default authority of this thread. It is
/// [`with_authority`] for code that is not async.
///
/// ```
/// use atlasent::testing::{MockAuthority, with_authority_blocking};
/// use atlasent::{Error, protect};
///
/// #[protect(action = "deploy", agent = "deploy-bot")]
/// fn deploy() -> Result<(), Error> {
///     Ok(())
/// }
///
/// with_authority_blocking(MockAuthority::new().allow("deploy"), deploy)?;
/// # Ok::<(), Error>(())
/// ```
///
/// The scope ends when the closure returns or panics. A future that the closure returns is polled
/// outside of it: give that future to [`with_authority`].
pub fn with_authority_blocking<P, T>(authority: P, body: impl FnOnce() -> T) -> T
where
    P: Authority + 'static,
{
    let _scope = ScopeGuard::enter(with_issuer(authority));
    body()
}

/// Returns the authority of this thread's current scope. `None` outside of a scope.
pub(crate) fn scoped_authority() -> Option<Arc<dyn DynAuthority>> {
    // `try_with` fails in destructors of a thread that ends, where no scope exists any more.
    SCOPED
        .try_with(|scoped| scoped.borrow().clone())
        .ok()
        .flatten()
}

/// Ends a scope when it is dropped, also during a panic.
struct ScopeGuard {
    outer: Option<Arc<dyn DynAuthority>>,
}

impl ScopeGuard {
    fn enter(authority: Arc<dyn DynAuthority>) -> Self {
        enter_test_scopes();
        Self {
            outer: replace(Some(authority)),
        }
    }
}

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        // The authority is dropped after the borrow of the thread-local has ended, since its
        // destructor may use the thread-local.
        drop(replace(self.outer.take()));
    }
}

fn replace(authority: Option<Arc<dyn DynAuthority>>) -> Option<Arc<dyn DynAuthority>> {
    SCOPED
        .try_with(|scoped| scoped.replace(authority))
        .ok()
        .flatten()
}

pin_project! {
    /// A future that is polled and dropped inside a scope.
    struct ScopedFuture<F> {
        authority: Arc<dyn DynAuthority>,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for ScopedFuture<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                let _scope = ScopeGuard::enter(Arc::clone(this.authority));
                this.future.set(None);
            }
        }
    }
}

impl<F: Future> Future for ScopedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _scope = ScopeGuard::enter(Arc::clone(this.authority));
        match this.future.as_mut().as_pin_mut() {
            Some(future) => future.poll(context),
            None => Poll::Pending,
        }
    }
}
