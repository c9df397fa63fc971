//! The client of the AtlaSent HTTP API: an [`Authority`] on the other side of a network.
//!
//! ```no_run
//! use atlasent::{AnyAction, AuthorityExt, Client};
//!
//! # async fn f() -> Result<(), atlasent::Error> {
//! let client = Client::from_env()?; // ATLASENT_API_KEY, and ATLASENT_BASE_URL where it is not the hosted service
//! let permit = client.protect("deploy-bot", AnyAction::new("deploy.production")?).await?;
//! # drop(permit); Ok(()) }
//! ```
//!
//! The client retries a call when it cannot connect (except for TLS errors), the server fails, or
//! no answer arrives in time, with growing random waits, until the
//! [deadline](ClientBuilder::deadline). It does not retry after a connection broke during a
//! request, because the server may have processed that request. It follows no redirects. Any answer
//! other than a readable success is an [`Error`], so it opens nothing.
//!
//! An error repeats the server's message without the secrets that the call has sent or received:
//! the key, tokens, approvals, and members of the body whose names mark them as secrets. A body
//! that is not JSON is not repeated, because its secrets cannot be told from the rest. A secret
//! that a server has encoded as base64 or hex is not recognized.
//!
//! Code that is not async uses [`blocking::Client`](crate::blocking::Client), which has the same
//! calls.

mod audit;
mod batch;
mod builder;
mod cache;
mod credential;
mod endpoint;
mod escalations;
mod failure;
pub(crate) mod headers;
mod http;
mod keys;
mod message;
mod pages;
mod path;
mod permits;
mod receipts;
mod retry;
mod schema;
pub(crate) mod secrets;
mod stops;
pub(crate) mod stream;
mod time;
mod transport;
mod wait;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

pub use audit::{AuditExport, EventFilter, EventPage};
pub use batch::{Batch, BatchAnswer};
pub use builder::ClientBuilder;
pub use cache::DecisionCache;
pub use keys::{ApiKeyInfo, KeyApprover, SigningKeys};
pub use permits::{PermitFilter, PermitInspection, PermitPage};
pub use stops::StopInfo;
pub use stream::{StreamDecision, StreamEvent, StreamProgress};

use cache::AllowCache;
use transport::Transport;

use crate::authority::{Issuer, IssuerId};
use crate::permit::PermitRecord;
use crate::protect::is_public_id;
use crate::wire::SentRequestId;
use crate::wire::evaluate::ShadowEvaluation;
use crate::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, PermitToken, Receipt, Revocation,
    Verification, VerifyRequest,
};
use crate::{Authority, AuthorityExt, Error};

/// A client of the AtlaSent HTTP API.
///
/// The client is an [`Authority`], so `#[protect]`, [`protect`](fn@crate::protect) and all other
/// functions that take one accept it. Cloning is cheap and shares connections. `Debug` does not
/// print the key.
///
/// ```no_run
/// use std::time::Duration;
/// use atlasent::Client;
///
/// let client = Client::builder()
///     .api_key("ask_test_0123456789")
///     .timeout(Duration::from_secs(5))
///     .build()?;
/// atlasent::configure(client)?;
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Arc<Transport>,
    cache: Option<AllowCache>,
    snapshot_source: Option<String>,
    export_limit: usize,
    stream_limit: usize,
    issuer: Issuer,
}

impl Client {
    /// Creates a client with this API key and default settings.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the key or `ATLASENT_BASE_URL` is invalid.
    pub fn new(api_key: impl Into<String>) -> Result<Self, Error> {
        Self::builder().api_key(api_key).build()
    }

    /// Creates a client from `ATLASENT_API_KEY` and, if set, `ATLASENT_BASE_URL`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when `ATLASENT_API_KEY` is not set, or either variable is invalid.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// Returns a builder for a client with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Asks for a decision, without verifying the permit: `POST /v1-evaluate`.
    ///
    /// A refusal is returned as an [`Evaluation`], not as an error;
    /// [`require_allow`](Self::require_allow) returns it as an error. With a
    /// [cache](ClientBuilder::cache), an allow may be an earlier one, whose permit may be used up.
    /// `protect` and the other functions that return a permit never read the cache.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    ///
    /// ```no_run
    /// use atlasent::wire::EvaluateRequest;
    /// use atlasent::{Agent, AnyAction, Client, Decision};
    ///
    /// # async fn f(client: Client) -> Result<(), atlasent::Error> {
    /// let action = AnyAction::new("deploy.production")?;
    /// let request = EvaluateRequest::new(Agent::new("deploy-bot")?, &action)?;
    /// match client.evaluate(&request).await?.decision {
    ///     Decision::Hold => println!("somebody has to look at it"),
    ///     decision => println!("{decision}"),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let Some(cache) = &self.shared.cache else {
            return Authority::evaluate(self, request).await;
        };
        let request = self.with_snapshot(request);
        let key = AllowCache::key(&request)?;
        let now = self.shared.transport.time.now();
        if let Some(allow) = cache.get(&key, now) {
            return Ok(allow);
        }
        let evaluation = self.ask(&request, &[]).await?;
        cache.insert(key, &evaluation, now);
        Ok(evaluation)
    }

    /// Asks for a decision, and returns it if it is an allow: see [`AuthorityExt::require_allow`].
    /// It never reads the cache.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for every refusal. Another [`Error`] when the server gave no usable
    /// answer.
    ///
    /// ```no_run
    /// use atlasent::wire::EvaluateRequest;
    /// use atlasent::Client;
    ///
    /// # async fn f(client: Client, request: &EvaluateRequest) -> Result<(), atlasent::Error> {
    /// let evaluation = client.require_allow(request).await?; // a refusal ends here
    /// println!("allowed until {:?}", evaluation.expires_at);
    /// # Ok(()) }
    /// ```
    pub async fn require_allow(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        AuthorityExt::require_allow(self, request).await
    }

    /// Asks for a decision and its [trace](Evaluation::constraint_trace). Servers without traces
    /// leave it out.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub async fn evaluate_preflight(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let request = self.with_snapshot(request);
        self.ask(&request, &[("include", "constraint_trace")]).await
    }

    /// Verifies a permit, and uses it up: `POST /v1-verify-permit`.
    ///
    /// The call sends only the fields of `request`. The caller must name agent and action in it,
    /// and compare the answer with them; `protect` does both.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer. An invalid permit is returned as a
    /// [`Verification`], not as an error.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let transport = &self.shared.transport;
        let call = transport
            .post("/v1-verify-permit", request)?
            .deciding()
            .with_permit(&request.permit_token)
            .without_other_secrets();
        let (mut verification, metadata) = transport.fetch::<Verification>(&call).await?;
        verification.rate_limit = metadata.rate_limit;
        verification.retried = metadata.retried;
        verification.sent_request_id = SentRequestId(Some(metadata.request_id));
        Ok(verification)
    }

    /// Revokes an unused permit by its token: `POST /v1-revoke-permit`. To revoke it by its public
    /// id, use [`revoke_permit_by_id`](Self::revoke_permit_by_id).
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    pub async fn revoke_permit(
        &self,
        token: &PermitToken,
        reason: &str,
    ) -> Result<Revocation, Error> {
        let transport = &self.shared.transport;
        let body = json!({
            "decision_id": token,
            "reason": reason,
            "api_key": transport.credential.as_api_key(),
        });
        let call = transport
            .post("/v1-revoke-permit", &body)?
            .with_permit(token);
        let (mut revocation, metadata) = transport.fetch::<Revocation>(&call).await?;
        revocation.rate_limit = metadata.rate_limit;
        Ok(revocation)
    }

    async fn ask(
        &self,
        request: &EvaluateRequest,
        query: &[(&'static str, &str)],
    ) -> Result<Evaluation, Error> {
        let transport = &self.shared.transport;
        let call = transport.post("/v1-evaluate", request)?;
        let call = call.deciding().with_query(query);
        let (mut evaluation, metadata) = match request.shadow {
            Some(true) => {
                let (ShadowEvaluation(evaluation), metadata) = transport.fetch(&call).await?;
                (evaluation, metadata)
            }
            _ => transport.fetch::<Evaluation>(&call).await?,
        };
        evaluation.rate_limit = metadata.rate_limit;
        evaluation.sent_request_id = SentRequestId(Some(metadata.request_id));
        if !evaluation.decision.is_allow() {
            evaluation.retry_after = metadata.retry_after;
        }
        Ok(evaluation.scrubbed())
    }

    /// Adds the configured snapshot to a request without one, because hosted policies require one.
    fn with_snapshot<'a>(&self, request: &'a EvaluateRequest) -> Cow<'a, EvaluateRequest> {
        match &self.shared.snapshot_source {
            Some(source) if request.options.state_snapshot.is_none() => {
                let mut request = request.clone();
                request.options.state_snapshot = Some(json!({"source": source, "complete": true}));
                Cow::Owned(request)
            }
            _ => Cow::Borrowed(request),
        }
    }
}

/// Sends every request to the server. Nothing that leads to a permit is read from the cache.
impl Authority for Client {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.ask(&self.with_snapshot(request), &[]).await
    }

    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        let mut evaluations = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(batch::MAX_REQUESTS) {
            let batch = Batch::new(chunk.iter().cloned())?;
            let items = self.evaluate_batch(&batch).await?.items.into_iter();
            evaluations.extend(items.map(|item| item.map(Evaluation::scrubbed)));
        }
        Ok(evaluations)
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let answer = Client::verify(self, request).await?;
        Ok(self.shared.issuer.vouch(request, answer))
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        if !is_public_id(&permit.id) {
            return Err(Error::config(
                "the service sent no public id (`pt_…`) with this permit, so it cannot be looked up: \
                 do not use `recheck` with this service",
            ));
        }
        let found = self.get_permit(&permit.id).await?;
        let is_this = found.actor_id == permit.agent.as_str() && found.action_id == permit.action;
        Ok(match is_this {
            true => found.status,
            false => PermitStatus::Unknown("another permit".to_owned()),
        })
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.complete_permit(receipt).await.map(drop)
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        Client::wait(self, escalation_id, at_most).await
    }

    /// Returns the issuer of this client and its clones. Another client is another authority, even
    /// if it uses the same service.
    fn issuer(&self) -> Option<IssuerId> {
        Some(self.shared.issuer.id())
    }
}
