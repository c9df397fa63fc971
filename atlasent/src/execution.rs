//! The execution of a protected body: it holds the permit's record and emits one closing event.

use std::sync::Arc;
use std::time::Instant;

use crate::permit::PermitRecord;
use crate::{Error, trace};

/// A protected body on its way. When it is over, one closing event tells `tracing` how it ended, and how long it took.
///
/// ```
/// # use atlasent::{AnyAction, Permit};
/// async fn serve(permit: Permit) -> Result<u8, std::io::Error> {
///     // Dropped without an outcome, say because the caller went away, it was cancelled.
///     let execution = permit.execution();
///     let result = async { Ok(7) }.await;
///     let record = execution.finish(result.is_err());
///     println!("{} is done", record.action);
///     result
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropped at once, it says that the execution was cancelled"]
pub struct Execution {
    record: Arc<PermitRecord>,
    started: Instant,
    outcome: Option<&'static str>,
}

impl Execution {
    pub(crate) fn new(record: Arc<PermitRecord>) -> Self {
        Self {
            record,
            started: Instant::now(),
            outcome: None,
        }
    }

    /// The body is over: it `failed`, or it completed. What is left is the permit's record.
    #[must_use]
    pub fn finish(mut self, failed: bool) -> Arc<PermitRecord> {
        self.outcome = Some(if failed { "failed" } else { "completed" });
        Arc::clone(&self.record)
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(if std::thread::panicking() {
            "failed"
        } else {
            "cancelled"
        });
        trace::executed(&self.record, outcome, self.started.elapsed());
    }
}

/// Runs an async body to its end, or to the point where it is dropped.
pub async fn run<R, F: Future<Output = R>>(
    execution: Execution,
    failed: fn(&R) -> bool,
    body: F,
) -> R {
    let result = body.await;
    let _ = execution.finish(failed(&result));
    result
}

/// Runs a sync body.
pub fn run_blocking<R, F: FnOnce() -> R>(
    execution: Execution,
    failed: fn(&R) -> bool,
    body: F,
) -> R {
    let result = body();
    let _ = execution.finish(failed(&result));
    result
}

/// What a protected function returns: a `Result` that can carry a refusal.
#[diagnostic::on_unimplemented(
    message = "a `#[protect]` function must return a `Result`, not `{Self}`",
    label = "this return type cannot carry a refusal",
    note = "return `Result<T, E>` with an error type that implements `From<atlasent::Error>`"
)]
pub trait Fallible {
    /// The value that says that the body did not run.
    fn from_refusal(error: Error) -> Self;
    /// Whether the body reported a failure.
    fn has_failed(&self) -> bool;
}

impl<T, E: Refusable> Fallible for Result<T, E> {
    fn from_refusal(error: Error) -> Self {
        Err(E::from_refusal(error))
    }

    fn has_failed(&self) -> bool {
        self.is_err()
    }
}

/// The error of a protected function. It is `From<Error>` under a name that can say what to do.
#[diagnostic::on_unimplemented(
    message = "a refusal cannot be returned as `{Self}`",
    label = "this function's error does not implement `From<atlasent::Error>`",
    note = "implement it; with thiserror, give the error a variant such as `Refused(#[from] atlasent::Error)`",
    note = "where the error is a type parameter, bound it by `From<atlasent::Error>`"
)]
pub trait Refusable {
    /// The error that says that the body did not run.
    fn from_refusal(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> Refusable for E {
    fn from_refusal(error: Error) -> Self {
        error.into()
    }
}

/// Whether a body reported a failure.
pub fn failed<R: Fallible>(result: &R) -> bool {
    result.has_failed()
}
