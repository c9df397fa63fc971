//! The client for code that is not async: the same calls, waited for.

use std::pin::Pin;

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
use crate::wire::{
    EvaluateRequest, Evaluation, PermitInfo, PermitStatus, PermitToken, Revocation, StopScope,
    Verification, VerifyRequest,
};
use crate::{Action, Authority, Error, Permit, ToAgent};

/// [`atlasent::Client`](crate::Client) for code that is not async. It works on plain threads and
/// inside an async runtime, and may be dropped in either.
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
/// It is an [`Authority`] as well, so `#[protect]` takes it. Settings of its own come from the one
/// [builder](crate::client::ClientBuilder):
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
pub struct Client(crate::Client);

impl From<crate::Client> for Client {
    fn from(client: crate::Client) -> Self {
        Self(client)
    }
}

impl Client {
    /// As [`Client::new`](crate::Client::new).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn new(api_key: impl Into<String>) -> Result<Self, Error> {
        crate::Client::new(api_key).map(Self)
    }

    /// As [`Client::from_env`](crate::Client::from_env).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_env() -> Result<Self, Error> {
        crate::Client::from_env().map(Self)
    }

    /// As [`AuthorityExt::protect`](crate::AuthorityExt::protect).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn protect<A: Action>(&self, agent: impl ToAgent, action: A) -> Result<Permit<A>, Error> {
        super::protect(&self.0, agent, action)
    }

    /// As [`AuthorityExt::gate`](crate::AuthorityExt::gate).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn gate<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> Result<PermitWithAnswers<A>, Error> {
        super::gate(&self.0, agent, action)
    }

    /// As [`AuthorityExt::authorize`](crate::AuthorityExt::authorize).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn authorize<A: Action>(
        &self,
        agent: impl ToAgent,
        action: A,
    ) -> Result<Authorization, Error> {
        super::authorize(&self.0, agent, action)
    }

    /// As [`AuthorityExt::with_permit`](crate::AuthorityExt::with_permit), with a body that is not
    /// async.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with_permit<A: Action, T, E: From<Error>>(
        &self,
        agent: impl ToAgent,
        action: A,
        body: impl FnOnce(Permit<A>) -> Result<T, E>,
    ) -> Result<T, E> {
        super::with_permit(&self.0, agent, action, body)
    }

    /// As [`require_permit`](crate::protected_action::require_permit), with a body that is not async.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn require_permit<T, E: From<Error>>(
        &self,
        action: ProtectedAction,
        body: impl FnOnce(Permit<ProtectedAction>) -> Result<T, E>,
    ) -> Result<T, E> {
        super::require_permit(&self.0, action, body)
    }

    /// As [`Client::evaluate`](crate::Client::evaluate).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        wait(self.0.evaluate(request))
    }

    /// As [`Client::require_allow`](crate::Client::require_allow).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn require_allow(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        wait(self.0.require_allow(request))
    }

    /// As [`Client::evaluate_preflight`](crate::Client::evaluate_preflight).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn evaluate_preflight(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        wait(self.0.evaluate_preflight(request))
    }

    /// As [`Client::evaluate_stream`](crate::Client::evaluate_stream): each step waits for the next
    /// event.
    pub fn evaluate_stream(
        &self,
        request: &EvaluateRequest,
    ) -> impl Iterator<Item = Result<StreamEvent, Error>> + use<> {
        Waiting(Box::pin(self.0.evaluate_stream(request)))
    }

    /// As [`Client::verify`](crate::Client::verify).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        wait(self.0.verify(request))
    }

    /// As [`Client::revoke_permit`](crate::Client::revoke_permit).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn revoke_permit(&self, token: &PermitToken, reason: &str) -> Result<Revocation, Error> {
        wait(self.0.revoke_permit(token, reason))
    }

    /// As [`Client::evaluate_batch`](crate::Client::evaluate_batch).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn evaluate_batch(&self, batch: &Batch) -> Result<BatchAnswer, Error> {
        wait(self.0.evaluate_batch(batch))
    }

    /// As [`Client::get_permit`](crate::Client::get_permit).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_permit(&self, id: &str) -> Result<PermitInfo, Error> {
        wait(self.0.get_permit(id))
    }

    /// As [`Client::list_permits`](crate::Client::list_permits).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn list_permits(&self, filter: &PermitFilter) -> Result<PermitPage, Error> {
        wait(self.0.list_permits(filter))
    }

    /// As [`Client::permit_stream`](crate::Client::permit_stream): each step waits for its page.
    pub fn permit_stream(
        &self,
        filter: PermitFilter,
    ) -> impl Iterator<Item = Result<PermitInfo, Error>> + use<> {
        Waiting(Box::pin(self.0.permit_stream(filter)))
    }

    /// As [`Client::inspect_permit`](crate::Client::inspect_permit).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn inspect_permit(&self, id: &str) -> Result<PermitInspection, Error> {
        wait(self.0.inspect_permit(id))
    }

    /// As [`Client::set_stop`](crate::Client::set_stop).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_stop(
        &self,
        scope: &StopScope,
        reason: &str,
        expires_at: Option<&str>,
    ) -> Result<StopInfo, Error> {
        wait(self.0.set_stop(scope, reason, expires_at))
    }

    /// As [`Client::stops`](crate::Client::stops).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stops(&self) -> Result<Vec<StopInfo>, Error> {
        wait(self.0.stops())
    }

    /// As [`Client::lift_stop`](crate::Client::lift_stop).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn lift_stop(&self, id: &str, reason: &str) -> Result<StopInfo, Error> {
        wait(self.0.lift_stop(id, reason))
    }

    /// As [`Client::revoke_permit_by_id`](crate::Client::revoke_permit_by_id).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn revoke_permit_by_id(&self, id: &str, reason: Option<&str>) -> Result<PermitInfo, Error> {
        wait(self.0.revoke_permit_by_id(id, reason))
    }

    /// As [`Client::key_self`](crate::Client::key_self).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn key_self(&self) -> Result<ApiKeyInfo, Error> {
        wait(self.0.key_self())
    }

    /// As [`Client::signing_keys`](crate::Client::signing_keys).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn signing_keys(&self) -> Result<SigningKeys, Error> {
        wait(self.0.signing_keys())
    }

    /// As [`Client::audit_events`](crate::Client::audit_events).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn audit_events(&self, filter: &EventFilter) -> Result<EventPage, Error> {
        wait(self.0.audit_events(filter))
    }

    /// As [`Client::audit_head`](crate::Client::audit_head).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn audit_head(&self) -> Result<SignedHead, Error> {
        wait(self.0.audit_head())
    }

    /// As [`Client::audit_event_stream`](crate::Client::audit_event_stream): each step waits for
    /// its page.
    pub fn audit_event_stream(
        &self,
        filter: EventFilter,
    ) -> impl Iterator<Item = Result<Event, Error>> + use<> {
        Waiting(Box::pin(self.0.audit_event_stream(filter)))
    }

    /// As [`Client::audit_export`](crate::Client::audit_export).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn audit_export(&self, filter: &EventFilter) -> Result<AuditExport, Error> {
        wait(self.0.audit_export(filter))
    }
}

impl Authority for Client {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        Authority::evaluate(&self.0, request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        Authority::verify(&self.0, request).await
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        Authority::permit_status(&self.0, permit).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.0.issuer()
    }
}

/// A stream whose items are waited for.
struct Waiting<S>(Pin<Box<S>>);

impl<T, S: Stream<Item = Result<T, Error>>> Iterator for Waiting<S> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        wait(async { Ok::<_, Error>(self.0.next().await) }).unwrap_or_else(|error| Some(Err(error)))
    }
}
