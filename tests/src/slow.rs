//! An authority that takes its time.

use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Error};

use crate::cases::TOKEN;
use crate::yields;

/// Allows everything, after a few polls for each answer.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// How often each answer is pending.
    pub yields: usize,
}

impl Authority for Slow {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        yields(self.yields).await;
        Ok(Evaluation::allow(PermitToken::new(TOKEN)?))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        yields(self.yields).await;
        Ok(Verification::valid())
    }
}
