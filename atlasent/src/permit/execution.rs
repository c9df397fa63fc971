//! The execution of a protected body, which emits one closing event and sends the receipt.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use crate::permit::PermitRecord;
use crate::receipts::PendingReceipt;
use crate::trace;
use crate::wire::{ReceiptOutcome, ResultHash};

/// The execution of a protected body. When it ends, it emits one closing event to `tracing` with
/// the outcome (`completed`, `failed` or `cancelled`) and the duration. Where the authority takes
/// [receipts](crate::receipts), it sends one with the same contents.
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
    outcome: Option<ReceiptOutcome>,
    /// Whether the body waits to be polled. A panic that drops it then is not its own.
    is_suspended: bool,
    receipt: Option<Arc<PendingReceipt>>,
    // Boxed, since few executions have details and every running future carries this value.
    details: Option<Box<Details>>,
}

/// What a receipt tells beside the outcome and the duration.
#[derive(Debug, Default)]
struct Details {
    result_hash: Option<ResultHash>,
    error: Option<String>,
}

impl Execution {
    pub(crate) fn new(record: Arc<PermitRecord>, receipt: Option<Arc<PendingReceipt>>) -> Self {
        Self {
            record,
            started: Instant::now(),
            outcome: None,
            is_suspended: false,
            receipt,
            details: None,
        }
    }

    /// Marks the body as one that waits to be polled: a drop cancels it, also during a panic.
    pub(crate) fn suspended(mut self) -> Self {
        self.is_suspended = true;
        self
    }

    /// Marks the body as one that is being polled: a drop during a panic is the body's panic.
    pub(crate) fn resumed(mut self) -> Self {
        self.is_suspended = false;
        self
    }

    /// Puts the hash of the result into the receipt. A second call replaces the hash.
    pub fn with_result_hash(mut self, hash: ResultHash) -> Self {
        self.details.get_or_insert_default().result_hash = Some(hash);
        self
    }

    /// Puts the reason for a failure into the receipt, as
    /// [`Receipt::with_error`](crate::wire::Receipt::with_error) does. A second call replaces the
    /// reason.
    ///
    /// `#[protect]` and `with_permit` put no error of a body into a receipt, since it may hold
    /// values of a customer, and the audit chain keeps it for good.
    pub fn with_error(mut self, error: impl Into<String>) -> Self {
        // Without an authority that takes receipts, the reason is of no use.
        if let Some(pending) = &self.receipt {
            let error = pending.without_token(&error.into());
            self.details.get_or_insert_default().error = Some(error);
        }
        self
    }

    /// Ends the execution as failed or completed, and returns the permit's record.
    #[must_use]
    pub fn finish(mut self, failed: bool) -> Arc<PermitRecord> {
        self.outcome = Some(match failed {
            true => ReceiptOutcome::Failed,
            false => ReceiptOutcome::Completed,
        });
        Arc::clone(&self.record)
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let has_panicked = self.outcome.is_none() && !self.is_suspended && std::thread::panicking();
        let outcome = match (self.outcome, has_panicked) {
            (Some(outcome), _) => outcome,
            (None, true) => ReceiptOutcome::Failed,
            (None, false) => ReceiptOutcome::Cancelled,
        };
        // The event and the receipt have the same duration. The clock is read only for one of them.
        let duration = OnceCell::new();
        let duration = || *duration.get_or_init(|| self.started.elapsed());
        trace::executed(&self.record, outcome.as_str(), duration);
        let Some(pending) = self.receipt.take() else {
            return;
        };
        let mut receipt = pending.receipt(&self.record, outcome, duration());
        let Details { result_hash, error } = self.details.take().map(|d| *d).unwrap_or_default();
        receipt.result_hash = result_hash;
        if has_panicked {
            receipt = receipt.with_error("the body panicked");
        } else if let Some(error) = error {
            receipt = receipt.with_error(&error);
        }
        pending.send(receipt, &self.record);
    }
}
