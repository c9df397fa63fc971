//! The authority of the load test, which counts its answers in constant memory.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Decision, Error};

/// An authority that allows, refuses or stalls, by the name of the agent.
#[derive(Clone, Default)]
pub(super) struct Judge(pub(super) Arc<Counts>);

#[derive(Default)]
pub(super) struct Counts {
    issued: AtomicU64,
    pub(super) verified: AtomicU64,
    /// The sum of the numbers of these permits, which shows in constant memory that the right ones
    /// ran.
    pub(super) verified_sum: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) abandoned: AtomicU64,
}

pub(super) const ALLOWED: &str = "allowed-bot";
pub(super) const DENIED: &str = "denied-bot";
/// The agent whose evaluation stalls.
pub(super) const PATIENT: &str = "patient-bot";
/// The agent whose verification stalls.
pub(super) const HOPEFUL: &str = "hopeful-bot";

impl Judge {
    /// Stalls, and counts the calls that are dropped.
    async fn keep_waiting(&self) {
        struct Waiting<'a>(&'a AtomicU64);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        let _waiting = Waiting(&self.0.abandoned);
        pending::<()>().await;
    }
}

/// Returns the number of a permit, from its id.
pub(super) fn number_of(permit: &str) -> u64 {
    permit
        .strip_prefix("permit_load_")
        .unwrap()
        .parse()
        .unwrap()
}

impl Authority for Judge {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        match request.actor_id.as_str() {
            PATIENT => self.keep_waiting().await,
            DENIED => {
                self.0.denied.fetch_add(1, SeqCst);
                return Ok(Evaluation::refuse(Decision::Deny, "not you"));
            }
            _ => {}
        }
        let number = self.0.issued.fetch_add(1, SeqCst);
        Ok(Evaluation::allow(PermitToken::new(format!(
            "permit_load_{number}"
        ))?))
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        if request
            .actor_id
            .as_ref()
            .is_some_and(|agent| agent == HOPEFUL)
        {
            self.keep_waiting().await;
        }
        let number = number_of(request.permit_token.expose());
        self.0.verified.fetch_add(1, SeqCst);
        self.0.verified_sum.fetch_add(number, SeqCst);
        Ok(Verification::valid())
    }
}
