//! Functions for code that is not async.
//!
//! Every function calls the async function with the same name, and blocks until its future is
//! ready. This works on plain threads and inside an async runtime: the future's timers and sockets
//! belong to a small runtime of this module, so they never depend on the blocked thread. That
//! runtime starts its thread when a future is first not ready at once. An authority that answers at
//! once, such as the embedded one, needs no thread switch.
//!
//! Inside an async runtime, a blocking call holds up a worker thread: prefer the async functions
//! there.
//!
//! ```
//! use atlasent::{AnyAction, blocking, testing::MockAuthority};
//!
//! let authority = MockAuthority::new().allow("deploy");
//! let permit = blocking::protect(&authority, "deploy-bot", AnyAction::new("deploy")?)?;
//! assert_eq!(permit.agent().as_str(), "deploy-bot");
//! # Ok::<(), atlasent::Error>(())
//! ```

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod escalations;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::error::ConfigError;
use crate::protect::run::{returns, run_blocking};
#[cfg(feature = "client")]
pub use client::Client;

use crate::authority::{Authorization, PermitWithAnswers};
use crate::protected_action::ProtectedAction;
use crate::wire::{EvaluateRequest, Evaluation};
use crate::{Action, Authority, AuthorityExt, Error, Permit, ToAgent};

/// Calls [`AuthorityExt::protect`], and blocks until it returns.
///
/// # Errors
///
/// The errors of [`AuthorityExt::protect`], and [`Error::Config`] when the system has no resources
/// for the runtime.
pub fn protect<P: Authority + ?Sized, A: Action>(
    authority: &P,
    agent: impl ToAgent,
    action: A,
) -> Result<Permit<A>, Error> {
    wait(authority.protect(agent, action))
}

/// Obtains a permit and calls `body` with it: [`AuthorityExt::with_permit`] with a body that is not
/// async.
///
/// # Errors
///
/// The errors of [`protect`], and those of `body`.
pub fn with_permit<P: Authority + ?Sized, A: Action, T, E: From<Error>>(
    authority: &P,
    agent: impl ToAgent,
    action: A,
    body: impl FnOnce(Permit<A>) -> Result<T, E>,
) -> Result<T, E> {
    let permit = protect(authority, agent, action);
    run_blocking(permit.into(), returns(), body)
}

/// Obtains a permit and calls `body` with it:
/// [`require_permit`](crate::protected_action::require_permit) with a body that is not async.
///
/// # Errors
///
/// The errors of [`protect`], and those of `body`.
pub fn require_permit<P: Authority + ?Sized, T, E: From<Error>>(
    authority: &P,
    action: ProtectedAction,
    body: impl FnOnce(Permit<ProtectedAction>) -> Result<T, E>,
) -> Result<T, E> {
    with_permit(authority, action.agent().clone(), action, body)
}

/// Calls [`AuthorityExt::gate`], and blocks until it returns.
///
/// # Errors
///
/// The errors of [`protect`].
pub fn gate<P: Authority + ?Sized, A: Action>(
    authority: &P,
    agent: impl ToAgent,
    action: A,
) -> Result<PermitWithAnswers<A>, Error> {
    wait(authority.gate(agent, action))
}

/// Calls [`AuthorityExt::require_allow`], and blocks until it returns.
///
/// # Errors
///
/// The errors of [`AuthorityExt::require_allow`], and [`Error::Config`] when the system has no
/// resources for the runtime.
pub fn require_allow<P: Authority + ?Sized>(
    authority: &P,
    request: &EvaluateRequest,
) -> Result<Evaluation, Error> {
    wait(authority.require_allow(request))
}

/// Calls [`AuthorityExt::authorize`], and blocks until it returns.
///
/// # Errors
///
/// The errors of [`AuthorityExt::authorize`], and [`Error::Config`] when the system has no
/// resources for the runtime.
pub fn authorize<P: Authority + ?Sized, A: Action>(
    authority: &P,
    agent: impl ToAgent,
    action: A,
) -> Result<Authorization, Error> {
    wait(authority.authorize(agent, action))
}

/// Blocks the current thread until a future is ready, for instance that of an
/// [`Ask`](crate::authority::Ask) with options:
///
/// ```
/// use atlasent::{AnyAction, AuthorityExt, blocking, testing::MockAuthority};
///
/// let authority = MockAuthority::new().allow("deploy");
/// let ask = authority.ask("deploy-bot", AnyAction::new("deploy")?);
/// let permit = blocking::wait(ask.options(|o| o.environment("production")).protect())?;
/// # drop(permit);
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// # Errors
///
/// The errors of the future, and [`Error::Config`] when the system has no resources for the
/// runtime.
pub fn wait<T, E: From<Error>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let no_runtime = |error: io::Error| {
        let error = ConfigError::new(
            "`atlasent::blocking` cannot start its runtime: check the limits of this process, \
             such as those of threads and open files",
        )
        .with_source(error);
        E::from(Error::from(error))
    };
    let driver = Driver::get().map_err(no_runtime)?;
    // Timers and sockets of the future register with the driver's runtime, and not with a runtime
    // whose thread is about to block.
    let _entered = driver.runtime.enter();
    let mut future = pin!(future);
    pollster::block_on(poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Pending => match driver.start() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(no_runtime(error))),
        },
        ready => ready,
    }))
}

/// Runs a future as a task of this module's runtime.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let driver = Driver::get()?;
    driver.start()?;
    drop(driver.runtime.spawn(task));
    Ok(())
}

/// A runtime that drives the timers and sockets of the futures that [`wait`] polls, and runs the
/// tasks of [`spawn`]. It polls none of the futures of `wait`.
struct Driver {
    runtime: Runtime,
    thread: OnceLock<()>,
}

impl Driver {
    /// Returns the driver of the process, and builds it at the first call.
    fn get() -> io::Result<&'static Self> {
        static DRIVER: OnceLock<Driver> = OnceLock::new();
        static FIRST: Mutex<()> = Mutex::new(());
        if let Some(driver) = DRIVER.get() {
            return Ok(driver);
        }
        // The lock makes sure that only one runtime is built: dropping a second one panics in async
        // code.
        let _first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = DRIVER.get() {
            return Ok(driver);
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(DRIVER.get_or_init(|| Self {
            runtime,
            thread: OnceLock::new(),
        }))
    }

    /// Starts the thread that drives the runtime, unless it is already running.
    fn start(&'static self) -> io::Result<()> {
        static STARTING: Mutex<()> = Mutex::new(());
        if self.thread.get().is_some() {
            return Ok(());
        }
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if self.thread.get().is_none() {
            thread::Builder::new()
                .name("atlasent-blocking".to_owned())
                .spawn(|| self.runtime.block_on(std::future::pending::<()>()))?;
            self.thread.get_or_init(|| ());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::AnyAction;
    use crate::wire::{PermitToken, Verification, VerifyRequest};

    /// An authority whose answers need a runtime with a timer.
    struct Slow;

    impl Authority for Slow {
        async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Evaluation::allow(PermitToken::new("permit")?))
        }

        async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Verification::valid())
        }
    }

    fn ask() -> Result<Permit, Error> {
        protect(&Slow, "agent", AnyAction::new("action")?)
    }

    #[test]
    fn a_slow_authority_is_waited_for_on_a_plain_thread() {
        assert!(ask().is_ok());
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(ask)).collect();
        assert!(threads.into_iter().all(|t| t.join().unwrap().is_ok()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_slow_authority_is_waited_for_inside_a_single_threaded_runtime() {
        assert!(ask().is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_slow_authority_is_waited_for_inside_a_worker() {
        assert!(tokio::spawn(async { ask() }).await.unwrap().is_ok());
    }

    #[test]
    fn waiting_may_be_nested() {
        let permit = wait(async { ask() });
        assert!(permit.is_ok());
    }
}
