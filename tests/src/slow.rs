//! Provides an authority that answers slowly.

use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Error};

use crate::cases::TOKEN;
use crate::yields;

/// An authority that allows everything, after a few polls for each answer.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// How many polls each answer is pending for.
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
