//! The execution of a protected body, which emits one closing event.

use std::sync::Arc;
use std::time::Instant;

use crate::permit::PermitRecord;
use crate::trace;

/// The execution of a protected body. When it ends, it emits one closing event to `tracing` with
/// the outcome (`completed`, `failed` or `cancelled`) and the duration.
///
/// ```
/// # use atlasent::{AnyAction, Permit};
/// async fn serve(permit: Permit) -> Result<u8, std::io::Error> {
///     // An execution that is dropped before `finish`, for example because the client
///     // disconnected, is recorded as cancelled.
///     let execution = permit.execution();
///     let result = async { Ok(7) }.await;
///     let record = execution.finish(result.is_err());
///     println!("{} ended", record.action);
///     drop(permit.into_action());
///     result
/// }
/// ```
#[derive(Debug)]
#[must_use = "an execution that is dropped at once is recorded as cancelled"]
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

    /// Ends the execution as failed or completed, and returns the permit's record.
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
