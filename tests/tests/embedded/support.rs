//! Provides an authority that permits everything, a protected body, and an authority that changes
//! requests in transit.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Agent, AnyAction, Authority, Error, protect};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::{Driven, Ran, drive};
use jiff::Timestamp;

pub(crate) const ACTION: &str = "deploy";
pub(crate) const AGENT: &str = "deploy-bot";

pub(crate) fn permit_all() -> Policies {
    Policies::parse("permit (principal, action, resource);").unwrap()
}

pub(crate) fn action() -> AnyAction {
    let action = AnyAction::new(ACTION).unwrap();
    action.with_field("environment", "production").unwrap()
}

pub(crate) fn request() -> EvaluateRequest {
    EvaluateRequest::new(Agent::new(AGENT).unwrap(), &action()).unwrap()
}

/// Returns the answer of an authority that answers at once.
pub(crate) fn now<T, E: std::fmt::Display>(call: impl Future<Output = Result<T, E>>) -> T {
    match drive(call, 1) {
        Driven::Done(Ok(answer)) => answer,
        Driven::Done(Err(error)) => panic!("{error}"),
        Driven::Pending | Driven::Panicked => panic!("no answer"),
    }
}

/// Returns the answer of an authority that waits for a timer or another thread.
pub(crate) fn now_blocking<T, E: std::fmt::Debug>(call: impl Future<Output = Result<T, E>>) -> T {
    futures_executor::block_on(call).unwrap()
}

/// Returns the error of a refused call.
pub(crate) fn refusal<T>(call: impl Future<Output = Result<T, Error>>) -> Error {
    match drive(call, 1) {
        Driven::Done(Err(error)) => error,
        Driven::Done(Ok(_)) => panic!("it passed"),
        Driven::Pending | Driven::Panicked => panic!("no answer"),
    }
}

#[protect(
    action = "deploy",
    agent = "deploy-bot",
    context = { environment: "production" },
    authority = authority
)]
pub(crate) async fn deploy<P: Authority>(authority: &P, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(
    action = "deploy",
    agent = "deploy-bot",
    context = { environment: "production" },
    authority = authority
)]
pub(crate) fn deploy_sync<P: Authority>(authority: &P, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

/// A clock that tests set.
#[derive(Clone, Default)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    /// Returns a clock that advances by `step` seconds after each reading.
    pub(crate) fn stepping(&self, step: i64) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        let time = self.clone();
        move || Timestamp::from_second(time.0.fetch_add(step, Ordering::SeqCst)).unwrap()
    }
}

/// Asks for evaluation and verification one after the other, as wrappers do that look at each
/// answer.
pub(crate) struct TwoSteps<P>(pub(crate) P);

impl<P: Authority> Authority for TwoSteps<P> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.0.evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.0.verify(request).await
    }
}

/// The embedded authority behind functions that change the requests.
pub(crate) struct Meddled<E, V> {
    pub(crate) authority: LocalAuthority,
    pub(crate) evaluate: E,
    pub(crate) verify: V,
}

impl<E, V> Authority for Meddled<E, V>
where
    E: Fn(&mut EvaluateRequest) + Send + Sync,
    V: Fn(&LocalAuthority, &mut VerifyRequest) + Send + Sync,
{
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let mut request = request.clone();
        (self.evaluate)(&mut request);
        self.authority.evaluate(&request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let mut request = request.clone();
        (self.verify)(&self.authority, &mut request);
        self.authority.verify(&request).await
    }
}
