//! The execution of a protected body: it holds the permit's record and emits one closing event.

use std::sync::Arc;
use std::time::Instant;

use crate::permit::PermitRecord;
use crate::trace;

/// A protected body on its way. When it is over, one closing event tells `tracing` how it ended,
/// and how long it took.
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
