//! The authority, which decides on requests and verifies permits.
//!
//! - [`Authority`]: the trait of every authority. `Client`, `LocalAuthority` and `MockAuthority`
//!   implement it, and so can your own type. [`DynAuthority`] is its object-safe form.
//! - [`AuthorityExt`]: the methods that return permits, such as
//!   [`protect`](AuthorityExt::protect). Every authority has them.
//! - [`Ask`]: a request with optional fields and scopes, from [`AuthorityExt::ask`].
//! - [`Issuer`], [`IssuerId`], [`WithIssuer`]: tell the permits of one authority from those of
//!   another.
//! - [`hand_on`]: hands the permit of a guard on to the protected function that it runs.
//! - [`configure`] and [`default_authority`]: the default authority of the process.

mod ask;
pub(crate) mod config;
pub(crate) mod issuer;
mod pointer;

pub use crate::protect::{PermitWithAnswers, hand_on};
pub use ask::{Ask, Authorization};
pub use config::{configure, default_authority};
pub use issuer::{Issuer, IssuerId, WithIssuer, issuer_of};
pub use pointer::DynAuthority;

use std::future::Future;
use std::time::Duration;

use crate::agent::ToAgent;
use crate::permit::PermitRecord;
use crate::protect::evaluate_allowed;
use crate::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, Receipt, Verification,
    VerifyRequest,
};
use crate::{Action, Error, Permit};

/// Decides on requests and verifies permits.
///
/// An implementation returns answers; it cannot make a [`Permit`]. Every method of [`AuthorityExt`]
/// that returns a permit checks both answers first.
///
/// ```
/// use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
/// use atlasent::{Authority, Decision, Error};
///
/// /// Puts every request on hold during a maintenance window.
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

    /// Decides on several requests, each by itself, and returns one result for each in their order.
    ///
    /// The default evaluates one after the other. An authority that can decide on many at once, or
    /// ask for many in one message, overrides it.
    ///
    /// # Errors
    ///
    /// [`Error`] when the authority gave no usable answer to the whole. The result of one request
    /// may be an error, too.
    fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> impl Future<Output = Result<Vec<Result<Evaluation, Error>>, Error>> + Send {
        async move {
            let mut evaluations = Vec::with_capacity(requests.len());
            for request in requests {
                evaluations.push(self.evaluate(request).await);
            }
            Ok(evaluations)
        }
    }

    /// Verifies a permit and consumes it.
    fn verify(
        &self,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<Verification, Error>> + Send;

    /// Decides on a request, and may verify the permit of an allow in the same step. The second
    /// answer is that of [`verify`](Self::verify) to `restated` with the token of the allow. Where
    /// it is missing, the caller verifies the permit.
    ///
    /// For the embedded authority, which records both answers in one transaction, and for wrappers
    /// that pass all answers on. Both answers are checked as those of the two methods are.
    #[doc(hidden)]
    fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> impl Future<Output = Result<(Evaluation, Option<Verification>), Error>> + Send {
        let _ = restated;
        async { Ok((self.evaluate(request).await?, None)) }
    }

    /// Looks up the status of a verified permit, for [`Permit::recheck`]. The call consumes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] by default, for authorities without a ledger; `recheck` then fails.
    /// Another [`Error`] when the authority gave no usable answer.
    fn permit_status(
        &self,
        permit: &PermitRecord,
    ) -> impl Future<Output = Result<PermitStatus, Error>> + Send {
        let _ = permit;
        async {
            Err(Error::config(
                "this authority cannot look up a verified permit: \
                 implement `Authority::permit_status`, or do not call `recheck`",
            ))
        }
    }

    /// Records how the body of a permit ended. Recording the same receipt again changes nothing.
    ///
    /// Bodies do not call this method: a body that ends in a `Drop` cannot wait for it. The permits
    /// of an authority send their receipts to the queue of its issuer
    /// ([`Issuer::with_receipts`], [`WithIssuer::sending_receipts`]), and an authority without a
    /// queue gets none. See [`receipts`](crate::receipts). The default does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the receipt was refused or not recorded. The error never reaches the
    /// caller of the body.
    fn complete(&self, receipt: &Receipt) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = receipt;
        async { Ok(()) }
    }

    /// Waits until people decided on an escalation, for at most `at_most`, and returns its status.
    /// An open status says that the time is over. `at_most` of zero looks the status up.
    ///
    /// [`Ask::wait`] calls this after a hold or an escalation. Only
    /// [`Approved`](EscalationStatus::Approved) makes it ask for a decision again, and that decision
    /// counts. Dropping the future must leave the escalation as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] by default, for authorities without approvals. Another [`Error`] when the
    /// authority gave no usable answer.
    fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> impl Future<Output = Result<EscalationStatus, Error>> + Send {
        let _ = (escalation_id, at_most);
        async {
            Err(Error::config(
                "this authority has no approvals that can be waited for: \
                 implement `Authority::wait`, or do not wait for one",
            ))
        }
    }

    /// Returns the id of the [`Issuer`] that marks this authority's permits. A
    /// [`Guarded`](crate::Guarded) accepts the permits of one issuer.
    ///
    /// An authority that forwards to another one returns the issuer of that authority, whose mark
    /// passes through with the answer. The default is no issuer: permits are then not marked, and a
    /// `Guarded` refuses them unless the authority is the process default or wrapped in
    /// [`WithIssuer`].
    fn issuer(&self) -> Option<IssuerId> {
        None
    }
}

/// The methods of every [`Authority`]. Implementations of `Authority` cannot replace them.
///
/// All methods but [`require_allow`](Self::require_allow) evaluate, check the answer, verify and
/// check again. They differ in what they return.
pub trait AuthorityExt: Authority {
    /// Obtains a permit for one execution of `action` by `agent`.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for every refusal, another [`Error`] when the authority gave no usable
    /// answer.
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

    /// Obtains a permit and runs `body` with it. Without a permit, `body` does not run.
    ///
    /// # Errors
    ///
    /// As [`protect`](Self::protect), and the errors of `body`.
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

    /// Obtains a permit and returns it together with the answers of `evaluate` and `verify`.
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

    /// Returns the outcome as data, for dashboards and dry runs. A refusal is an outcome, not an
    /// error. A permit that was granted is used up and not returned.
    ///
    /// # Errors
    ///
    /// When the authority gave no usable answer.
    fn authorize<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> impl Future<Output = Result<Authorization, Error>> + Send {
        self.ask(agent, action).authorize()
    }

    /// Evaluates a request and returns the allow, whose permit is not verified yet. It calls
    /// [`Authority::evaluate`], and turns a refusal into an error.
    ///
    /// No decision cache is read. To run the action, obtain a permit with
    /// [`protect`](Self::protect).
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for every refusal, another [`Error`] when the authority gave no usable
    /// answer. An allow without a permit token is an error, so pass a
    /// [shadow](EvaluateRequest::shadow) request to `evaluate`.
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

    /// Starts a request with optional fields; see [`Ask`].
    fn ask<A: Action>(&self, agent: impl ToAgent, action: A) -> Ask<'_, Self, A> {
        Ask::new(self, agent.to_agent(), action)
    }
}

impl<P: Authority + ?Sized> AuthorityExt for P {}
