//! Authorities behind pointers: [`DynAuthority`], references, `Arc` and `Box`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Authority, IssuerId};
use crate::Error;
use crate::permit::PermitRecord;
use crate::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, Receipt, Verification,
    VerifyRequest,
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The object-safe form of [`Authority`], which every authority implements. `Arc<dyn DynAuthority>`
/// implements `Authority`.
pub trait DynAuthority: Send + Sync {
    /// Calls [`Authority::evaluate`] and boxes the future.
    fn dyn_evaluate<'a>(&'a self, request: &'a EvaluateRequest) -> BoxFuture<'a, Evaluation>;

    /// Calls [`Authority::evaluate_all`] and boxes the future.
    fn dyn_evaluate_all<'a>(
        &'a self,
        requests: &'a [EvaluateRequest],
    ) -> BoxFuture<'a, Vec<Result<Evaluation, Error>>>;

    /// Calls [`Authority::verify`] and boxes the future.
    fn dyn_verify<'a>(&'a self, request: &'a VerifyRequest) -> BoxFuture<'a, Verification>;

    /// Calls `Authority::evaluate_and_verify` and boxes the future.
    #[doc(hidden)]
    fn dyn_evaluate_and_verify<'a>(
        &'a self,
        request: &'a EvaluateRequest,
        restated: &'a VerifyRequest,
    ) -> BoxFuture<'a, (Evaluation, Option<Verification>)>;

    /// Calls [`Authority::permit_status`] and boxes the future.
    fn dyn_permit_status<'a>(&'a self, permit: &'a PermitRecord) -> BoxFuture<'a, PermitStatus>;

    /// Calls [`Authority::complete`] and boxes the future.
    fn dyn_complete<'a>(&'a self, receipt: &'a Receipt) -> BoxFuture<'a, ()>;

    /// Calls [`Authority::wait`] and boxes the future.
    fn dyn_wait<'a>(
        &'a self,
        escalation_id: &'a str,
        at_most: Duration,
    ) -> BoxFuture<'a, EscalationStatus>;

    /// Calls [`Authority::issuer`].
    fn dyn_issuer(&self) -> Option<IssuerId>;
}

impl<P: Authority> DynAuthority for P {
    fn dyn_evaluate<'a>(&'a self, request: &'a EvaluateRequest) -> BoxFuture<'a, Evaluation> {
        Box::pin(self.evaluate(request))
    }

    fn dyn_evaluate_all<'a>(
        &'a self,
        requests: &'a [EvaluateRequest],
    ) -> BoxFuture<'a, Vec<Result<Evaluation, Error>>> {
        Box::pin(self.evaluate_all(requests))
    }

    fn dyn_verify<'a>(&'a self, request: &'a VerifyRequest) -> BoxFuture<'a, Verification> {
        Box::pin(self.verify(request))
    }

    fn dyn_evaluate_and_verify<'a>(
        &'a self,
        request: &'a EvaluateRequest,
        restated: &'a VerifyRequest,
    ) -> BoxFuture<'a, (Evaluation, Option<Verification>)> {
        Box::pin(self.evaluate_and_verify(request, restated))
    }

    fn dyn_permit_status<'a>(&'a self, permit: &'a PermitRecord) -> BoxFuture<'a, PermitStatus> {
        Box::pin(self.permit_status(permit))
    }

    fn dyn_complete<'a>(&'a self, receipt: &'a Receipt) -> BoxFuture<'a, ()> {
        Box::pin(self.complete(receipt))
    }

    fn dyn_wait<'a>(
        &'a self,
        escalation_id: &'a str,
        at_most: Duration,
    ) -> BoxFuture<'a, EscalationStatus> {
        Box::pin(self.wait(escalation_id, at_most))
    }

    fn dyn_issuer(&self) -> Option<IssuerId> {
        self.issuer()
    }
}

impl Authority for dyn DynAuthority + '_ {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.dyn_evaluate(request).await
    }

    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        self.dyn_evaluate_all(requests).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.dyn_verify(request).await
    }

    async fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> Result<(Evaluation, Option<Verification>), Error> {
        self.dyn_evaluate_and_verify(request, restated).await
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.dyn_permit_status(permit).await
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.dyn_complete(receipt).await
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        self.dyn_wait(escalation_id, at_most).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.dyn_issuer()
    }
}

macro_rules! authority_behind {
    ($($pointer:ty),*) => {$(
        impl<P: Authority + ?Sized> Authority for $pointer {
            fn evaluate(
                &self,
                request: &EvaluateRequest,
            ) -> impl Future<Output = Result<Evaluation, Error>> + Send {
                P::evaluate(self, request)
            }

            fn evaluate_all(
                &self,
                requests: &[EvaluateRequest],
            ) -> impl Future<Output = Result<Vec<Result<Evaluation, Error>>, Error>> + Send {
                P::evaluate_all(self, requests)
            }

            fn verify(
                &self,
                request: &VerifyRequest,
            ) -> impl Future<Output = Result<Verification, Error>> + Send {
                P::verify(self, request)
            }

            fn evaluate_and_verify(
                &self,
                request: &EvaluateRequest,
                restated: &VerifyRequest,
            ) -> impl Future<Output = Result<(Evaluation, Option<Verification>), Error>> + Send
            {
                P::evaluate_and_verify(self, request, restated)
            }

            fn permit_status(
                &self,
                permit: &PermitRecord,
            ) -> impl Future<Output = Result<PermitStatus, Error>> + Send {
                P::permit_status(self, permit)
            }

            fn complete(
                &self,
                receipt: &Receipt,
            ) -> impl Future<Output = Result<(), Error>> + Send {
                P::complete(self, receipt)
            }

            fn wait(
                &self,
                escalation_id: &str,
                at_most: Duration,
            ) -> impl Future<Output = Result<EscalationStatus, Error>> + Send {
                P::wait(self, escalation_id, at_most)
            }

            fn issuer(&self) -> Option<IssuerId> {
                P::issuer(self)
            }
        }
    )*};
}

authority_behind!(&P, Arc<P>, Box<P>);
