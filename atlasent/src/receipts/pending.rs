//! The receipt that a permit still owes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{DeferredReceipt, ReceiptQueue};
use crate::permit::PermitRecord;
use crate::wire::{PermitToken, Receipt, ReceiptOutcome};

/// What a permit needs to send its receipt. The executions of a permit share it, and the first one
/// sends the receipt.
#[derive(Debug)]
pub(crate) struct PendingReceipt {
    queue: ReceiptQueue,
    /// Used up by the verification, so it opens nothing. The authority accepts a receipt with it
    /// only.
    token: PermitToken,
    is_claimed: AtomicBool,
}

impl PendingReceipt {
    pub(crate) fn new(queue: ReceiptQueue, token: PermitToken) -> Self {
        Self {
            queue,
            token,
            is_claimed: AtomicBool::new(false),
        }
    }

    /// Returns whether the caller is the first one to claim the receipt.
    pub(crate) fn claim(&self) -> bool {
        !self.is_claimed.swap(true, Ordering::Relaxed)
    }

    /// Creates the receipt of a permit.
    pub(crate) fn receipt(
        &self,
        permit: &PermitRecord,
        outcome: ReceiptOutcome,
        duration: Duration,
    ) -> Receipt {
        Receipt::new(&*permit.id, self.token.clone(), outcome, duration)
    }

    /// Returns what another process needs to send the receipt of a permit.
    pub(crate) fn deferred(&self, permit: &PermitRecord) -> DeferredReceipt {
        DeferredReceipt::new(permit.id.to_string(), self.token.clone())
    }

    /// Returns a text without the token.
    pub(crate) fn without_token(&self, text: &str) -> String {
        self.token.scrub(text)
    }

    /// Hands the receipt of a permit over to be delivered.
    pub(crate) fn send(&self, receipt: Receipt, permit: &Arc<PermitRecord>) {
        self.queue.send(receipt, permit);
    }
}
