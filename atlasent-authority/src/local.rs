//! The authority: it decides by policy, keeps the permit ledger, and records both.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atlasent::audit::{Event, Trail};
use atlasent::{
    Authority, Code, Decision, Error, EvaluateRequest, Evaluation, Failure, PermitToken,
    Revocation, Verification, VerifyRequest, blocking,
};
use jiff::{SignedDuration, Timestamp};

use crate::chain::{NewEvent, SealedEvent, format_time};
use crate::clock::{Clock, SystemClock};
use crate::ledger::{Grant, PermitEntry, PermitKey, Refusal};
use crate::memory::MemoryStore;
use crate::policy::{Policies, Question, Verdict};
use crate::record;
use crate::store::{Store, StoreError};

/// An authority in this process: policies decide, a ledger keeps the permits, a hash chain records it all.
///
/// ```
/// use atlasent::{AnyAction, AuthorityExt};
/// use atlasent_authority::{LocalAuthority, Policies};
///
/// # futures_executor::block_on(async {
/// let policies = Policies::parse(
///     r#"permit (principal == Agent::"deploy-bot", action == Action::"deploy", resource);"#,
/// )?;
/// let authority = LocalAuthority::in_memory(policies)?;
///
/// let permit = authority.protect("deploy-bot", AnyAction::new("deploy")?).await?;
/// assert_eq!(permit.agent().as_str(), "deploy-bot");
/// assert!(authority.protect("intern-bot", AnyAction::new("deploy")?).await.is_err());
/// assert!(authority.trail().await?.verify().is_intact());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct LocalAuthority<S = MemoryStore> {
    policies: Policies,
    store: S,
    clock: Arc<dyn Clock>,
    permit_ttl: SignedDuration,
    record_context: bool,
}

impl LocalAuthority {
    /// An authority with the defaults: permits for an hour, everything in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the first event cannot be recorded.
    pub fn in_memory(policies: Policies) -> Result<Self, Error> {
        blocking::wait(Self::builder(policies).build())
    }

    /// A builder, with everything in memory unless it is told otherwise.
    pub fn builder(policies: Policies) -> LocalAuthorityBuilder {
        LocalAuthorityBuilder(Self {
            policies,
            store: MemoryStore::new(),
            clock: Arc::new(SystemClock),
            permit_ttl: SignedDuration::from_hours(1),
            record_context: false,
        })
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Takes back a permit that was not used yet.
    ///
    /// ```
    /// # use atlasent::{Agent, AnyAction, Authority, EvaluateRequest};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let token = authority.evaluate(&request).await?.permit_token.unwrap();
    ///
    /// assert!(authority.revoke(&token, "the bot misbehaved").await?.revoked);
    /// assert!(!authority.revoke(&token, "again").await?.revoked);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the revocation cannot be recorded; then it did not happen.
    pub async fn revoke(&self, token: &PermitToken, reason: &str) -> Result<Revocation, Error> {
        let key = PermitKey::of(token);
        let reason = reason.to_owned();
        let change = move |now: Timestamp, entry: &mut Option<PermitEntry>| {
            let revoked = entry.as_mut().is_some_and(|entry| entry.revoke(now));
            (
                record::revocation(key, entry.as_ref(), revoked, reason),
                revoked,
            )
        };
        let (event, revoked) = self.commit(Some(key), change).await?;
        let mut revocation = Revocation::new(token.clone(), revoked);
        revocation.revoked_at = Some(event.occurred_at.clone());
        revocation.audit_hash = Some(event.hash.clone());
        Ok(revocation)
    }

    /// The audit trail that the store holds, whole, ready to be exported and verified.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when it cannot be read.
    pub async fn trail(&self) -> Result<Trail, Error> {
        Ok(Trail::new(self.events(0, usize::MAX).await?))
    }

    /// At most `limit` events of the audit trail whose sequence number is above `after`, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when they cannot be read.
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        self.store.events(after, limit).await.map_err(unavailable)
    }

    /// The policies that decide.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    async fn commit<T: Send + 'static>(
        &self,
        permit: Option<PermitKey>,
        change: impl FnOnce(Timestamp, &mut Option<PermitEntry>) -> (NewEvent, T) + Send + 'static,
    ) -> Result<(Arc<SealedEvent>, T), Error> {
        self.store
            .commit(self.clock.now(), permit, change)
            .await
            .map_err(unavailable)
    }

    fn decide(&self, request: &EvaluateRequest) -> Verdict {
        let verdict = self.policies.decide(Question {
            agent: request.actor_id.as_str(),
            action: &request.action_type,
            resource: request.resource_id.as_deref(),
            context: request.context.as_object(),
        });
        // Nobody here can approve, so what must be approved has to wait for somebody who can.
        if verdict.decision.is_allow() && request.options.require_approval == Some(true) {
            return Verdict {
                decision: Decision::Hold,
                reason: "the request asks for an approval, which this authority cannot give".into(),
                code: Some("APPROVAL_REQUIRED".into()),
                ..verdict
            };
        }
        verdict
    }
}

impl<S: Store> Authority for LocalAuthority<S> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let verdict = self.decide(request);
        let allows = verdict.decision.is_allow();
        let mints = allows && request.shadow != Some(true);
        let token = mints.then(new_token).transpose()?;
        let key = token.as_ref().map(PermitKey::of);
        let grant = mints.then(|| Grant::of(request));
        let ttl = self.permit_ttl;
        let event = record::evaluation(request, &verdict, key, self.record_context);
        let change = move |now: Timestamp, entry: &mut Option<PermitEntry>| {
            let expires_at = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
            *entry = grant.map(|grant| PermitEntry::issue(grant, expires_at));
            let expires_at = entry.as_ref().map(|entry| format_time(entry.expires_at));
            (
                event.with_some("expires_at", expires_at.clone()),
                expires_at,
            )
        };
        let (event, expires_at) = self.commit(key, change).await?;

        let mut evaluation = Evaluation::new(verdict.decision);
        evaluation.permit_token = token;
        evaluation.reason = Some(verdict.reason.as_ref().to_owned());
        if !allows {
            evaluation.code = verdict.code.map(|code| code.as_ref().to_owned());
            evaluation.retry_after = verdict.retry_after;
        }
        evaluation.expires_at = expires_at;
        evaluation.request_id = request
            .options
            .request_id
            .clone()
            .or_else(|| Some(event.id.clone()));
        evaluation.timestamp = Some(event.occurred_at.clone());
        evaluation.audit_hash = Some(event.hash.clone());
        Ok(evaluation)
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let key = PermitKey::of(&request.permit_token);
        let request = request.clone();
        let change = move |now: Timestamp, entry: &mut Option<PermitEntry>| {
            let result = judge(&request, entry.as_mut(), now);
            (
                record::verification(request, key, entry.as_ref(), result),
                result,
            )
        };
        let (event, result) = self.commit(Some(key), change).await?;

        let mut verification = match result {
            Ok(()) => Verification::valid(),
            Err(refusal) => {
                let mut refused = Verification::refuse(refusal.outcome(), refusal.reason());
                refused.verify_error_code = Some(refusal.code().to_owned());
                refused.consumed = Some(refusal.burns());
                refused
            }
        };
        verification.permit_hash = Some(key.to_hex());
        verification.timestamp = Some(event.occurred_at.clone());
        Ok(verification)
    }
}

fn judge(
    request: &VerifyRequest,
    entry: Option<&mut PermitEntry>,
    now: Timestamp,
) -> Result<(), Refusal> {
    if request.permit_token.is_empty() {
        return Err(Refusal::Missing);
    }
    entry
        .ok_or(Refusal::Permit(atlasent::PermitOutcome::NotFound))?
        .consume(request, now)
}

/// 256 random bits.
fn new_token() -> Result<PermitToken, Error> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|error| {
        Failure::new(
            Code::ServerError,
            "the system has no randomness for a permit",
        )
        .with_source(std::io::Error::other(error))
    })?;
    PermitToken::new(format!("permit_{}", base16ct::lower::encode_string(&bits)))
}

fn unavailable(error: StoreError) -> Error {
    Failure::new(Code::ServerError, "the authority's store kept nothing")
        .with_source(error)
        .into()
}

impl<S> fmt::Debug for LocalAuthority<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAuthority")
            .field("policies", &self.policies)
            .field("permit_ttl", &self.permit_ttl)
            .field("record_context", &self.record_context)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`LocalAuthority`].
///
/// ```
/// use std::time::Duration;
/// use atlasent_authority::{LocalAuthority, MemoryStore, Policies};
///
/// # futures_executor::block_on(async {
/// let policies = Policies::parse("permit (principal, action, resource);")?;
/// let authority = LocalAuthority::builder(policies)
///     .permit_ttl(Duration::from_secs(60))
///     .store(MemoryStore::with_limits(1_000, 10_000))
///     .build()
///     .await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct LocalAuthorityBuilder<S = MemoryStore>(LocalAuthority<S>);

impl<S: Store> LocalAuthorityBuilder<S> {
    /// How long a permit may wait to be used. One hour by default.
    pub fn permit_ttl(mut self, ttl: Duration) -> Self {
        self.0.permit_ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
        self
    }

    /// Records the context of each request in full, not only its hash. The audit trail then holds whatever
    /// callers put into their contexts.
    pub fn record_context(mut self, record: bool) -> Self {
        self.0.record_context = record;
        self
    }

    /// Where the time comes from. The system's clock by default.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.0.clock = Arc::new(clock);
        self
    }

    /// Where permits and events are kept. In memory by default.
    pub fn store<T: Store>(self, store: T) -> LocalAuthorityBuilder<T> {
        LocalAuthorityBuilder(LocalAuthority {
            store,
            policies: self.0.policies,
            clock: self.0.clock,
            permit_ttl: self.0.permit_ttl,
            record_context: self.0.record_context,
        })
    }

    /// Builds the authority, and records which policies it starts with.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when that cannot be recorded.
    pub async fn build(self) -> Result<LocalAuthority<S>, Error> {
        let loaded = record::policies_loaded(&self.0.policies);
        self.0.commit(None, move |_, _| (loaded, ())).await?;
        Ok(self.0)
    }
}
