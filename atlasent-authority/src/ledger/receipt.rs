//! The receipt of a permit in the ledger: when one is accepted.

use std::sync::Arc;

use atlasent::wire::{Receipt, ReceiptOutcome, ResultHash};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ledger::{PermitEntry, PermitState};

/// How the body of a permit ended, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEnd {
    /// The id of the event that recorded the receipt.
    pub receipt_id: Arc<str>,
    /// The hash of that event.
    pub audit_hash: Arc<str>,
    /// When the receipt was recorded.
    pub at: Timestamp,
    /// How the body ended.
    pub outcome: ReceiptOutcome,
    /// How long the body ran, in milliseconds.
    pub duration_ms: u64,
    /// The hash of the body's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_hash: Option<ResultHash>,
    /// Why the body failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why a receipt is refused. It is the source of the error that
/// [`complete_permit`](crate::LocalAuthority::complete_permit) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptRefusal {
    /// The token does not belong to the permit that the receipt names.
    #[error("the token is not that of the permit: send the `permit_token` of the same allow")]
    OtherToken,
    /// The ledger does not know the permit, or has forgotten it.
    #[error(
        "no permit has this id: use the permit's `permit_id` (`pt_…`), while the ledger keeps it"
    )]
    UnknownPermit,
    /// The permit was not verified, so no body can have run.
    #[error("the permit was not used: verify it before its body runs")]
    NotUsed,
    /// Another receipt was recorded before.
    #[error("another receipt of this permit was recorded before: the first one counts")]
    Conflict,
}

impl RecordedEnd {
    /// Returns whether a receipt has the same contents as the recorded one.
    pub(crate) fn is(&self, receipt: &Receipt) -> bool {
        let Self {
            outcome,
            duration_ms,
            result_hash,
            error,
            ..
        } = self;
        (*outcome, *duration_ms) == (receipt.outcome, receipt.duration_ms)
            && (result_hash, error) == (&receipt.result_hash, &receipt.error)
    }
}

impl PermitEntry {
    /// Returns the recorded end that `receipt` repeats, or `None` if it is to be recorded now.
    ///
    /// # Errors
    ///
    /// [`ReceiptRefusal::NotUsed`] for a permit that no verification passed, and
    /// [`ReceiptRefusal::Conflict`] where another receipt was recorded.
    pub fn check_receipt(
        &self,
        receipt: &Receipt,
    ) -> Result<Option<&Arc<RecordedEnd>>, ReceiptRefusal> {
        let was_verified = match self.state {
            PermitState::Consumed | PermitState::Recalled => !self.burnt,
            PermitState::Issued | PermitState::Revoked => false,
        };
        match self.end.as_ref() {
            _ if !was_verified => Err(ReceiptRefusal::NotUsed),
            None => Ok(None),
            Some(end) if end.is(receipt) => Ok(Some(end)),
            Some(_) => Err(ReceiptRefusal::Conflict),
        }
    }
}
