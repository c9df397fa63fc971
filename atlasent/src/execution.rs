//! The execution of a protected body: it holds the permit's record and emits one closing event.

use std::sync::Arc;
use std::time::Instant;

use crate::permit::PermitRecord;
use crate::{Action, Error, Permit, trace};

/// A guard around one protected body. Dropped without an outcome, it was cancelled.
#[derive(Debug)]
pub struct Execution {
    record: Arc<PermitRecord>,
    started: Instant,
    outcome: Option<&'static str>,
}

impl Execution {
    pub(crate) fn start<A: Action>(permit: &Permit<A>) -> Self {
        Self {
            record: permit.shared_record(),
            started: Instant::now(),
            outcome: None,
        }
    }

    fn finish<R>(mut self, result: R, failed: fn(&R) -> bool) -> R {
        self.outcome = Some(if failed(&result) {
            "failed"
        } else {
            "completed"
        });
        result
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
    execution.finish(result, failed)
}

/// Runs a sync body.
pub fn run_blocking<R, F: FnOnce() -> R>(
    execution: Execution,
    failed: fn(&R) -> bool,
    body: F,
) -> R {
    let result = body();
    execution.finish(result, failed)
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
