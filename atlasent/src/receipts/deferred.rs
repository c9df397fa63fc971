//! The receipt of a body that ends in another process.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::redact::Redacted;
use crate::wire::{PermitToken, Receipt, ReceiptOutcome};

/// What a permit needs to send its receipt from another process, from
/// [`Permit::defer_receipt`](crate::Permit::defer_receipt).
///
/// It serializes with the permit's token, which the verification used up. The token opens nothing,
/// but everyone who has it can send the receipt. Keep it where only its owner can read it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeferredReceipt {
    permit_id: String,
    permit_token: PermitToken,
}

impl DeferredReceipt {
    pub(super) fn new(permit_id: String, permit_token: PermitToken) -> Self {
        Self {
            permit_id,
            permit_token,
        }
    }

    /// Returns the receipt of the body, which
    /// [`Authority::complete`](crate::Authority::complete) records.
    #[must_use]
    pub fn ended(self, outcome: ReceiptOutcome, duration: Duration) -> Receipt {
        Receipt::new(self.permit_id, self.permit_token, outcome, duration)
    }
}

/// Redacts the token, and the id where it is the used-up token.
impl fmt::Debug for DeferredReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredReceipt")
            .field("permit_id", &Redacted(&self.permit_id))
            .field("permit_token", &self.permit_token)
            .finish()
    }
}
