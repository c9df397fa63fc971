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
//! Every call is sent again when the server fails or does not answer in time, with growing random
//! waits, until the [deadline](ClientBuilder::deadline) is over. Nothing else is: a connection that
//! broke after the request went out may have been heard. Redirects are not followed. An answer that
//! is anything but a readable success is an [`Error`], and so opens nothing.
//!
//! An error repeats what the server says of it, without any secret that the call has sent or
//! received: the key, tokens, approvals, and what the body itself names as a secret. Nothing is
//! repeated of a body that is not JSON, since no secret can be told from the rest of it. A secret
//! that a server has encoded as base64 or hex is not recognized.
//!
//! From code that is not async, use [`blocking::Client`](crate::blocking::Client), which has the
//! same calls.

mod audit;
mod batch;
mod builder;
mod cache;
mod endpoint;
mod failure;
pub(crate) mod headers;
mod http;
mod key;
mod keys;
mod pages;
mod permits;
mod retry;
pub(crate) mod secrets;
mod stops;
pub(crate) mod stream;
mod time;
mod transport;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

pub use audit::{AuditExport, EventFilter, EventPage};
pub use batch::{Batch, BatchAnswer};
pub use builder::ClientBuilder;
pub use cache::DecisionCache;
pub use keys::{ApiKeyInfo, SigningKeys};
pub use permits::{PermitFilter, PermitInspection, PermitPage};
pub use stops::StopInfo;
pub use stream::{StreamDecision, StreamEvent, StreamProgress};

use cache::Allows;
use transport::Transport;

use crate::authority::{Issuer, IssuerId};
use crate::permit::PermitRecord;
use crate::protect::is_public_id;
use crate::wire::SentRequestId;
use crate::wire::evaluate::ShadowEvaluation;
use crate::wire::{
    EvaluateRequest, Evaluation, PermitStatus, PermitToken, Revocation, Verification, VerifyRequest,
};
use crate::{Authority, AuthorityExt, Error};

/// A client of the AtlaSent HTTP API.
///
/// It is an [`Authority`], so `#[protect]`, [`protect`](fn@crate::protect) and everything else
/// takes it. Cloning is cheap and shares connections. `Debug` shows no key.
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
    transport: Transport,
    cache: Option<Allows>,
    snapshot_source: Option<String>,
    export_limit: usize,
    stream_limit: usize,
    issuer: Issuer,
}

impl Client {
    /// A client with this key and the defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the key is none, or `ATLASENT_BASE_URL` is wrong.
    pub fn new(api_key: impl Into<String>) -> Result<Self, Error> {
        Self::builder().api_key(api_key).build()
    }

    /// A client from `ATLASENT_API_KEY` and, where it is set, `ATLASENT_BASE_URL`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the first is not set, or either is wrong.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// A client with settings of its own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Asks for a decision, and leaves it at that: `POST /v1-evaluate`.
    ///
    /// A refusal is an answer here, and no error: [`require_allow`](Self::require_allow) makes it
    /// one. With a [cache](ClientBuilder::cache), an allow may be an earlier one, whose permit may
    /// be used by now; `protect` and its kin never read the cache.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer.
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
        let key = Allows::key(&request)?;
        let now = self.shared.transport.time.now();
        if let Some(allow) = cache.get(&key, now) {
            return Ok(allow);
        }
        let evaluation = self.ask(&request, "/v1-evaluate").await?;
        cache.keep(key, &evaluation, now);
        Ok(evaluation)
    }

    /// Asks for a decision, and returns the allow; a refusal is an error:
    /// [`AuthorityExt::require_allow`]. It never reads the cache.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for every refusal, another [`Error`] when there was no usable answer.
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

    /// Asks for a decision and for how it came about: [`Evaluation::constraint_trace`]. A server
    /// that does not know how to tell leaves that out.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub async fn evaluate_preflight(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let request = self.with_snapshot(request);
        self.ask(&request, "/v1-evaluate?include=constraint_trace")
            .await
    }

    /// Verifies a permit, and uses it up: `POST /v1-verify-permit`.
    ///
    /// It sends what it is given and nothing more. `protect` restates agent and action, and refuses
    /// an answer that contradicts them; here that is up to the caller.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer. A permit that is not good is an answer.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let transport = &self.shared.transport;
        let call = transport
            .post("/v1-verify-permit", request)?
            .with_permit(&request.permit_token);
        let (mut verification, about) = transport.fetch::<Verification>(&call).await?;
        verification.rate_limit = about.rate_limit;
        verification.retried = about.retried;
        verification.sent_request_id = SentRequestId(Some(about.request_id));
        Ok(verification)
    }

    /// Takes a permit back before it is used, by its token: `POST /v1-revoke-permit`. By its public
    /// id, [`revoke_permit_by_id`](Self::revoke_permit_by_id) does.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer.
    pub async fn revoke_permit(
        &self,
        token: &PermitToken,
        reason: &str,
    ) -> Result<Revocation, Error> {
        let transport = &self.shared.transport;
        let body = json!({
            "decision_id": token,
            "reason": reason,
            "api_key": transport.key.expose(),
        });
        let call = transport
            .post("/v1-revoke-permit", &body)?
            .with_permit(token);
        let (mut revocation, about) = transport.fetch::<Revocation>(&call).await?;
        revocation.rate_limit = about.rate_limit;
        Ok(revocation)
    }

    async fn ask(&self, request: &EvaluateRequest, path: &str) -> Result<Evaluation, Error> {
        let transport = &self.shared.transport;
        let call = transport.post(path, request)?;
        let (mut evaluation, about) = match request.shadow {
            Some(true) => {
                let (ShadowEvaluation(evaluation), about) = transport.fetch(&call).await?;
                (evaluation, about)
            }
            _ => transport.fetch::<Evaluation>(&call).await?,
        };
        evaluation.rate_limit = about.rate_limit;
        evaluation.sent_request_id = SentRequestId(Some(about.request_id));
        if !evaluation.decision.is_allow() {
            evaluation.retry_after = about.retry_after;
        }
        Ok(evaluation.scrubbed())
    }

    /// The request with the snapshot that stands in where it has none: hosted policies ask for one.
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

/// Every question goes over the wire: what decides over a permit is never read from a cache.
impl Authority for Client {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.ask(&self.with_snapshot(request), "/v1-evaluate").await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let answer = Client::verify(self, request).await?;
        Ok(self.shared.issuer.vouch(request, answer))
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        if !is_public_id(&permit.id) {
            return Err(Error::config(
                "the service sent no public id (`pt_…`) with this permit, so it cannot be looked up: \
                 do without `recheck`",
            ));
        }
        let found = self.get_permit(&permit.id).await?;
        let is_this = found.actor_id == permit.agent.as_str() && found.action_id == permit.action;
        Ok(match is_this {
            true => found.status,
            false => PermitStatus::Unknown("another permit".to_owned()),
        })
    }

    /// The issuer of this client and its clones. Another client is another authority, although it
    /// may ask the same service.
    fn issuer(&self) -> Option<IssuerId> {
        Some(self.shared.issuer.id())
    }
}
