//! Who decides: the [`Authority`] trait, its object-safe twin, and what every authority can do.

mod ask;
pub(crate) mod config;
pub(crate) mod issuer;

pub use crate::protect::PermitWithAnswers;
pub use ask::{Ask, Authorization};
pub use config::{configure, default_authority};
pub use issuer::{Issuer, IssuerId, WithIssuer, issuer_of};

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::agent::ToAgent;
use crate::permit::PermitRecord;
use crate::protect::evaluate_allowed;
use crate::wire::{EvaluateRequest, Evaluation, PermitStatus, Verification, VerifyRequest};
use crate::{Action, Error, Permit};

/// Someone who answers the two questions: may it be done, and is this permit good.
///
/// Implementors answer; they cannot mint a permit. Both answers are checked on the one path that
/// all of [`AuthorityExt`] takes.
///
/// ```
/// use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
/// use atlasent::{Authority, Decision, Error};
///
/// /// Refuses everything: for a maintenance window.
/// struct Closed;
///
/// impl Authority for Closed {
///     async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
///         Ok(Evaluation::refuse(Decision::Hold, "closed for maintenance"))
///     }
///
///     async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
///         Ok(Verification::refuse(None, "closed for maintenance"))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an authority",
    label = "this type does not implement `atlasent::Authority`",
    note = "pass a `LocalAuthority`, a client, or an `Arc` of one"
)]
pub trait Authority: Send + Sync {
    /// Decides on a request.
    fn evaluate(
        &self,
        request: &EvaluateRequest,
    ) -> impl Future<Output = Result<Evaluation, Error>> + Send;

    /// Verifies a permit, and uses it up.
    fn verify(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<Verification, Error>> + Send;

    /// Looks up what became of a permit since it was verified, for [`Permit::recheck`]. It consumes
    /// nothing and opens nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] by default: an authority without a ledger to look into cannot tell, and
    /// `recheck` then refuses. Another [`Error`] when there was no usable answer.
    fn permit_status(
        &self,
        permit: &PermitRecord,
    ) -> impl Future<Output = Result<PermitStatus, Error>> + Send {
        let _ = permit;
        async {
            Err(Error::config(
                "this authority cannot look up a permit that was verified: \
                 implement `Authority::permit_status`, or do without `recheck`",
            ))
        }
    }

    /// Names the [`Issuer`] that marks this authority's permits, for a
    /// [`Guarded`](crate::Guarded) that takes no other's.
    ///
    /// An authority that wraps another one returns that one's: the mark passes through with the
    /// answer. Without an issuer, which is the default, permits are not marked and open no
    /// `Guarded`, unless the authority is the process default or wrapped in
    /// [`WithIssuer`].
    fn issuer(&self) -> Option<IssuerId> {
        None
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// [`Authority`] behind a pointer: `Arc<dyn DynAuthority>` is an authority too. Every authority is
/// one.
pub trait DynAuthority: Send + Sync {
    /// [`Authority::evaluate`], boxed.
    fn dyn_evaluate<'a>(&'a self, request: &'a EvaluateRequest) -> BoxFuture<'a, Evaluation>;

    /// [`Authority::verify`], boxed.
    fn dyn_verify<'a>(&'a self, request: &'a VerifyRequest) -> BoxFuture<'a, Verification>;

    /// [`Authority::permit_status`], boxed.
    fn dyn_permit_status<'a>(&'a self, permit: &'a PermitRecord) -> BoxFuture<'a, PermitStatus>;

    /// [`Authority::issuer`].
    fn dyn_issuer(&self) -> Option<IssuerId>;
}

impl<P: Authority> DynAuthority for P {
    fn dyn_evaluate<'a>(&'a self, request: &'a EvaluateRequest) -> BoxFuture<'a, Evaluation> {
        Box::pin(self.evaluate(request))
    }

    fn dyn_verify<'a>(&'a self, request: &'a VerifyRequest) -> BoxFuture<'a, Verification> {
        Box::pin(self.verify(request))
    }

    fn dyn_permit_status<'a>(&'a self, permit: &'a PermitRecord) -> BoxFuture<'a, PermitStatus> {
        Box::pin(self.permit_status(permit))
    }

    fn dyn_issuer(&self) -> Option<IssuerId> {
        self.issuer()
    }
}

impl Authority for dyn DynAuthority + '_ {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.dyn_evaluate(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.dyn_verify(request).await
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.dyn_permit_status(permit).await
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

            fn verify(
                &self,
                request: &VerifyRequest,
            ) -> impl Future<Output = Result<Verification, Error>> + Send {
                P::verify(self, request)
            }

            fn permit_status(
                &self,
                permit: &PermitRecord,
            ) -> impl Future<Output = Result<PermitStatus, Error>> + Send {
                P::permit_status(self, permit)
            }

            fn issuer(&self) -> Option<IssuerId> {
                P::issuer(self)
            }
        }
    )*};
}

authority_behind!(&P, Arc<P>, Box<P>);

/// What every [`Authority`] can do. The methods cannot be replaced by an implementor.
///
/// All of them but [`require_allow`](Self::require_allow), which opens nothing, evaluate, check,
/// verify and check again; they differ in what they hand back.
pub trait AuthorityExt: Authority {
    /// A permit for `agent` to do `action`, once.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for every refusal, another [`Error`] when there was no usable answer.
    /// There is no third outcome.
    ///
    /// ```
    /// use atlasent::{AnyAction, AuthorityExt, testing::MockAuthority};
    ///
    /// # futures_executor::block_on(async {
    /// let authority = MockAuthority::new().allow("deploy");
    /// let permit = authority.protect("deploy-bot", AnyAction::new("deploy")?).await?;
    /// assert_eq!(permit.agent().as_str(), "deploy-bot");
    /// # Ok::<(), atlasent::Error>(()) }).unwrap();
    /// ```
    fn protect<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> impl Future<Output = Result<Permit<A>, Error>> + Send {
        self.ask(agent, action).protect()
    }

    /// Runs `body` with a permit, or not at all.
    ///
    /// # Errors
    ///
    /// As [`protect`](Self::protect), and whatever `body` returns.
    fn with_permit<A, T, E, B, F>(
        &self,
        agent: impl ToAgent,
        action: A,
        body: B,
    ) -> impl Future<Output = Result<T, E>> + Send
    where
        A: Action,
        B: FnOnce(Permit<A>) -> F + Send,
        F: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        self.ask(agent, action).with_permit(body)
    }

    /// A permit together with the two answers that it rests on.
    ///
    /// # Errors
    ///
    /// As [`protect`](Self::protect).
    fn gate<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> impl Future<Output = Result<PermitWithAnswers<A>, Error>> + Send {
        self.ask(agent, action).gate()
    }

    /// The outcome as data, refusals included. It opens nothing; the permit, if any, is used up.
    ///
    /// # Errors
    ///
    /// When there was no usable answer. A refusal is no error here.
    fn authorize<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> impl Future<Output = Result<Authorization, Error>> + Send {
        self.ask(agent, action).authorize()
    }

    /// Evaluates a request, and returns the allow; a refusal is an error. It asks as
    /// [`Authority::evaluate`] does, whose refusals are answers.
    ///
    /// It opens nothing, and no decision cache is read: an allow is of now, its permit unused. What
    /// is to run needs [`protect`](Self::protect).
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for every refusal, another [`Error`] when there was no usable answer. An
    /// allow without a permit is one that cannot be used, so a [shadow](EvaluateRequest::shadow)
    /// request that mints none is for `evaluate`.
    ///
    /// ```
    /// use atlasent::testing::MockAuthority;
    /// use atlasent::wire::EvaluateRequest;
    /// use atlasent::{Agent, AnyAction, AuthorityExt};
    ///
    /// # futures_executor::block_on(async {
    /// let authority = MockAuthority::new().allow("deploy").hold("drop", "change freeze");
    /// let ask = |name: &'static str| {
    ///     EvaluateRequest::new(Agent::new("bot").unwrap(), &AnyAction::new(name).unwrap()).unwrap()
    /// };
    /// let evaluation = authority.require_allow(&ask("deploy")).await?;
    /// assert!(evaluation.permit_token.is_some());
    /// let refusal = authority.require_allow(&ask("drop")).await.unwrap_err();
    /// assert_eq!(refusal.denied().unwrap().reason(), "change freeze");
    /// # Ok::<(), atlasent::Error>(()) }).unwrap();
    /// ```
    fn require_allow(
        &self,
        request: &EvaluateRequest,
    ) -> impl Future<Output = Result<Evaluation, Error>> + Send {
        evaluate_allowed(self, request)
    }

    /// Prepares a request with optional fields; see [`Ask`].
    fn ask<A: Action>(&self, agent: impl ToAgent, action: A) -> Ask<'_, Self, A> {
        Ask::new(self, agent.to_agent(), action)
    }
}

impl<P: Authority + ?Sized> AuthorityExt for P {}
