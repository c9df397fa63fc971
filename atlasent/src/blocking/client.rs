//! The client for code that is not async. Each method calls the async one and waits for its result.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt};

use super::wait;
use crate::audit::{Event, SignedHead};
use crate::authority::{Authorization, IssuerId, PermitWithAnswers};
use crate::client::{
    ApiKeyInfo, AuditExport, Batch, BatchAnswer, EventFilter, EventPage, PermitFilter,
    PermitInspection, PermitPage, SigningKeys, StopInfo, StreamEvent,
};
use crate::permit::PermitRecord;
use crate::protected_action::ProtectedAction;
use crate::receipts::ReceiptCounts;
use crate::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitInfo, PermitStatus, PermitToken, Receipt,
    RecordedReceipt, Revocation, StopScope, Verification, VerifyRequest,
};
use crate::{Action, Authority, Error, Permit, ToAgent};

/// [`atlasent::Client`](crate::Client) for code that is not async. It works on plain threads and
/// inside an async runtime, and may be dropped in both.
///
/// ```no_run
/// use atlasent::{AnyAction, blocking};
///
/// let client = blocking::Client::from_env()?;
/// let permit = client.protect("deploy-bot", AnyAction::new("deploy.production")?)?;
/// # drop(permit);
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// The client is an [`Authority`], so `#[protect]` accepts it. For other settings, use the
/// [builder](crate::client::ClientBuilder) of the async client:
///
/// ```
/// use std::time::Duration;
/// use atlasent::{Client, blocking};
///
/// let builder = Client::builder().api_key("ask_test_0123456789").timeout(Duration::from_secs(5));
/// let client = blocking::Client::from(builder.build()?);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client(pub(super) crate::Client);

impl From<crate::Client> for Client {
    fn from(client: crate::Client) -> Self {
        Self(client)
    }
}

impl Client {
    /// Creates a client with this API key and default settings: see
    /// [`Client::new`](crate::Client::new).
    ///
    /// # Errors
    ///
    /// The errors of [`Client::new`](crate::Client::new).
    pub fn new(api_key: impl Into<String>) -> Result<Self, Error> {
        crate::Client::new(api_key).map(Self)
    }

    /// Creates a client from `ATLASENT_API_KEY` and, if set, `ATLASENT_BASE_URL`: see
    /// [`Client::from_env`](crate::Client::from_env).
    ///
    /// # Errors
    ///
    /// The errors of [`Client::from_env`](crate::Client::from_env).
    pub fn from_env() -> Result<Self, Error> {
        crate::Client::from_env().map(Self)
    }

    /// Calls [`AuthorityExt::protect`](crate::AuthorityExt::protect), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`AuthorityExt::protect`](crate::AuthorityExt::protect), and [`Error::Config`]
    /// when the system has no resources for the runtime.
    pub fn protect<A: Action>(&self, agent: impl ToAgent, action: A) -> Result<Permit<A>, Error> {
        super::protect(&self.0, agent, action)
    }

    /// Calls [`AuthorityExt::gate`](crate::AuthorityExt::gate), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`AuthorityExt::gate`](crate::AuthorityExt::gate), and [`Error::Config`] when
    /// the system has no resources for the runtime.
    pub fn gate<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> Result<PermitWithAnswers<A>, Error> {
        super::gate(&self.0, agent, action)
    }

    /// Calls [`AuthorityExt::authorize`](crate::AuthorityExt::authorize), and blocks until it
    /// returns.
    ///
    /// # Errors
    ///
    /// The errors of [`AuthorityExt::authorize`](crate::AuthorityExt::authorize), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn authorize<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> Result<Authorization, Error> {
        super::authorize(&self.0, agent, action)
    }

    /// Obtains a permit and calls `body` with it:
    /// [`AuthorityExt::with_permit`](crate::AuthorityExt::with_permit) with a body that is not
    /// async.
    ///
    /// # Errors
    ///
    /// The errors of [`AuthorityExt::with_permit`](crate::AuthorityExt::with_permit), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn with_permit<A: Action, T, E: From<Error>>(
        &self,
        agent: impl ToAgent,
        action: A,
        body: impl FnOnce(Permit<A>) -> Result<T, E>,
    ) -> Result<T, E> {
        super::with_permit(&self.0, agent, action, body)
    }

    /// Obtains a permit and calls `body` with it:
    /// [`require_permit`](crate::protected_action::require_permit) with a body that is not async.
    ///
    /// # Errors
    ///
    /// The errors of [`require_permit`](crate::protected_action::require_permit), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn require_permit<T, E: From<Error>>(
        &self,
        action: ProtectedAction,
        body: impl FnOnce(Permit<ProtectedAction>) -> Result<T, E>,
    ) -> Result<T, E> {
        super::require_permit(&self.0, action, body)
    }

    /// Calls [`Client::evaluate`](crate::Client::evaluate), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::evaluate`](crate::Client::evaluate), and [`Error::Config`] when the
    /// system has no resources for the runtime.
    pub fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        wait(self.0.evaluate(request))
    }

    /// Calls [`Client::require_allow`](crate::Client::require_allow), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::require_allow`](crate::Client::require_allow), and [`Error::Config`]
    /// when the system has no resources for the runtime.
    pub fn require_allow(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        wait(self.0.require_allow(request))
    }

    /// Calls [`Client::evaluate_preflight`](crate::Client::evaluate_preflight), and blocks until it
    /// returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::evaluate_preflight`](crate::Client::evaluate_preflight), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn evaluate_preflight(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        wait(self.0.evaluate_preflight(request))
    }

    /// Iterates over the items of [`Client::evaluate_stream`](crate::Client::evaluate_stream). Each
    /// step blocks until its item arrives.
    pub fn evaluate_stream(
        &self,
        request: &EvaluateRequest,
    ) -> impl Iterator<Item = Result<StreamEvent, Error>> + use<> {
        BlockingIter(Box::pin(self.0.evaluate_stream(request)))
    }

    /// Calls [`Client::verify`](crate::Client::verify), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::verify`](crate::Client::verify), and [`Error::Config`] when the
    /// system has no resources for the runtime.
    pub fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        wait(self.0.verify(request))
    }

    /// Calls [`Client::revoke_permit`](crate::Client::revoke_permit), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::revoke_permit`](crate::Client::revoke_permit), and [`Error::Config`]
    /// when the system has no resources for the runtime.
    pub fn revoke_permit(&self, token: &PermitToken, reason: &str) -> Result<Revocation, Error> {
        wait(self.0.revoke_permit(token, reason))
    }

    /// Calls [`Client::evaluate_batch`](crate::Client::evaluate_batch), and blocks until it
    /// returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::evaluate_batch`](crate::Client::evaluate_batch), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn evaluate_batch(&self, batch: &Batch) -> Result<BatchAnswer, Error> {
        wait(self.0.evaluate_batch(batch))
    }

    /// Calls [`Client::get_permit`](crate::Client::get_permit), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::get_permit`](crate::Client::get_permit), and [`Error::Config`] when
    /// the system has no resources for the runtime.
    pub fn get_permit(&self, id: &str) -> Result<PermitInfo, Error> {
        wait(self.0.get_permit(id))
    }

    /// Calls [`Client::list_permits`](crate::Client::list_permits), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::list_permits`](crate::Client::list_permits), and [`Error::Config`]
    /// when the system has no resources for the runtime.
    pub fn list_permits(&self, filter: &PermitFilter) -> Result<PermitPage, Error> {
        wait(self.0.list_permits(filter))
    }

    /// Iterates over the items of [`Client::permit_stream`](crate::Client::permit_stream). Each
    /// step blocks until its item arrives.
    pub fn permit_stream(
        &self,
        filter: PermitFilter,
    ) -> impl Iterator<Item = Result<PermitInfo, Error>> + use<> {
        BlockingIter(Box::pin(self.0.permit_stream(filter)))
    }

    /// Calls [`Client::inspect_permit`](crate::Client::inspect_permit), and blocks until it
    /// returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::inspect_permit`](crate::Client::inspect_permit), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn inspect_permit(&self, id: &str) -> Result<PermitInspection, Error> {
        wait(self.0.inspect_permit(id))
    }

    /// Calls [`Client::set_stop`](crate::Client::set_stop), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::set_stop`](crate::Client::set_stop), and [`Error::Config`] when the
    /// system has no resources for the runtime.
    pub fn set_stop(
        &self,
        scope: &StopScope,
        reason: &str,
        expires_at: Option<&str>,
    ) -> Result<StopInfo, Error> {
        wait(self.0.set_stop(scope, reason, expires_at))
    }

    /// Calls [`Client::stops`](crate::Client::stops), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::stops`](crate::Client::stops), and [`Error::Config`] when the system
    /// has no resources for the runtime.
    pub fn stops(&self) -> Result<Vec<StopInfo>, Error> {
        wait(self.0.stops())
    }

    /// Calls [`Client::lift_stop`](crate::Client::lift_stop), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::lift_stop`](crate::Client::lift_stop), and [`Error::Config`] when
    /// the system has no resources for the runtime.
    pub fn lift_stop(&self, id: &str, reason: &str) -> Result<StopInfo, Error> {
        wait(self.0.lift_stop(id, reason))
    }

    /// Calls [`Client::revoke_permit_by_id`](crate::Client::revoke_permit_by_id), and blocks until
    /// it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::revoke_permit_by_id`](crate::Client::revoke_permit_by_id), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn revoke_permit_by_id(&self, id: &str, reason: Option<&str>) -> Result<PermitInfo, Error> {
        wait(self.0.revoke_permit_by_id(id, reason))
    }

    /// Calls [`Client::complete_permit`](crate::Client::complete_permit), and blocks until it
    /// returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::complete_permit`](crate::Client::complete_permit), and
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn complete_permit(&self, receipt: &Receipt) -> Result<RecordedReceipt, Error> {
        wait(self.0.complete_permit(receipt))
    }

    /// Calls [`Client::flush_receipts`](crate::Client::flush_receipts), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the system has no resources for the runtime.
    pub fn flush_receipts(&self) -> Result<(), Error> {
        wait(async {
            self.0.flush_receipts().await;
            Ok(())
        })
    }

    /// Returns how many receipts were delivered and lost: see
    /// [`Client::receipt_counts`](crate::Client::receipt_counts).
    #[must_use]
    pub fn receipt_counts(&self) -> ReceiptCounts {
        self.0.receipt_counts()
    }

    /// Calls [`Client::key_self`](crate::Client::key_self), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::key_self`](crate::Client::key_self), and [`Error::Config`] when the
    /// system has no resources for the runtime.
    pub fn key_self(&self) -> Result<ApiKeyInfo, Error> {
        wait(self.0.key_self())
    }

    /// Calls [`Client::signing_keys`](crate::Client::signing_keys), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::signing_keys`](crate::Client::signing_keys), and [`Error::Config`]
    /// when the system has no resources for the runtime.
    pub fn signing_keys(&self) -> Result<SigningKeys, Error> {
        wait(self.0.signing_keys())
    }

    /// Calls [`Client::audit_events`](crate::Client::audit_events), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::audit_events`](crate::Client::audit_events), and [`Error::Config`]
    /// when the system has no resources for the runtime.
    pub fn audit_events(&self, filter: &EventFilter) -> Result<EventPage, Error> {
        wait(self.0.audit_events(filter))
    }

    /// Calls [`Client::audit_head`](crate::Client::audit_head), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::audit_head`](crate::Client::audit_head), and [`Error::Config`] when
    /// the system has no resources for the runtime.
    pub fn audit_head(&self) -> Result<SignedHead, Error> {
        wait(self.0.audit_head())
    }

    /// Iterates over the items of
    /// [`Client::audit_event_stream`](crate::Client::audit_event_stream). Each step blocks until
    /// its item arrives.
    pub fn audit_event_stream(
        &self,
        filter: EventFilter,
    ) -> impl Iterator<Item = Result<Event, Error>> + use<> {
        BlockingIter(Box::pin(self.0.audit_event_stream(filter)))
    }

    /// Calls [`Client::audit_export`](crate::Client::audit_export), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::audit_export`](crate::Client::audit_export), and [`Error::Config`]
    /// when the system has no resources for the runtime.
    pub fn audit_export(&self, filter: &EventFilter) -> Result<AuditExport, Error> {
        wait(self.0.audit_export(filter))
    }
}

impl Authority for Client {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        Authority::evaluate(&self.0, request).await
    }

    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        Authority::evaluate_all(&self.0, requests).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        Authority::verify(&self.0, request).await
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        Authority::permit_status(&self.0, permit).await
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        Authority::complete(&self.0, receipt).await
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        Authority::wait(&self.0, escalation_id, at_most).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.0.issuer()
    }
}

/// Iterates over a stream, and blocks until each item arrives.
pub(super) struct BlockingIter<S>(pub(super) Pin<Box<S>>);

impl<T, S: Stream<Item = Result<T, Error>>> Iterator for BlockingIter<S> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        wait(async { Ok::<_, Error>(self.0.next().await) }).unwrap_or_else(|error| Some(Err(error)))
    }
}
