//! The builder of a [`LocalAuthority`].

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use atlasent::Error;
use atlasent::approval::TrustedIssuers;
use atlasent::authority::Issuer;
use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, SystemClock};
use crate::ledger::replay;
use crate::local::approvals::Waiters;
use crate::local::complete::issuer_with_receipts;
use crate::local::current::CurrentPolicies;
use crate::local::limits::{CurrentLimits, Limits};
use crate::local::schema::SchemaMismatch;
use crate::local::{LocalAuthority, failed};
use crate::policy::Policies;
use crate::sealing::Sealing;
#[cfg(feature = "sealing")]
use crate::sealing::SealingKeys;
use crate::store::{Changeset, MemoryStore, Store};
use crate::trail::record;

/// The default of [`LocalAuthorityBuilder::permits_per_agent`].
const DEFAULT_PERMITS_PER_AGENT: u64 = 1_000;

/// The default of [`LocalAuthorityBuilder::approvals_per_agent`].
const DEFAULT_APPROVALS_PER_AGENT: u64 = 100;

/// The default of [`LocalAuthorityBuilder::max_approvals`].
const DEFAULT_MAX_APPROVALS: u64 = 10_000;

/// Configures and builds a [`LocalAuthority`].
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
#[must_use = "a builder does nothing before `build`"]
pub struct LocalAuthorityBuilder<S = MemoryStore> {
    policies: Arc<Policies>,
    store: S,
    clock: Arc<dyn Clock>,
    permit_ttl: SignedDuration,
    limits: Limits,
    recorded_policies: Option<String>,
    is_stand_in: bool,
    record_context: bool,
    receipts: bool,
    org_id: String,
    required_schema: Option<String>,
    approval_url: Option<Arc<str>>,
    trusted_issuers: Arc<TrustedIssuers>,
    sealing: Sealing,
}

impl LocalAuthorityBuilder {
    pub(crate) fn new(policies: impl Into<Arc<Policies>>) -> Self {
        Self {
            policies: policies.into(),
            store: MemoryStore::new(),
            clock: Arc::new(SystemClock),
            permit_ttl: SignedDuration::from_hours(1),
            limits: Limits {
                permits_per_agent: DEFAULT_PERMITS_PER_AGENT,
                approvals_per_agent: DEFAULT_APPROVALS_PER_AGENT,
                max_approvals: DEFAULT_MAX_APPROVALS,
                max_permits: None,
                max_events: None,
            },
            recorded_policies: None,
            is_stand_in: false,
            record_context: false,
            receipts: true,
            org_id: "local".to_owned(),
            required_schema: None,
            approval_url: None,
            trusted_issuers: Arc::default(),
            sealing: Sealing::default(),
        }
    }
}

impl<S: Store> LocalAuthorityBuilder<S> {
    /// Configures an authority for another organization like `authority`: with the same clock,
    /// permit lifetime, permits per agent and recording of contexts.
    #[cfg(feature = "server")]
    pub(crate) fn like(
        authority: &LocalAuthority<S>,
        policies: Arc<Policies>,
        store: S,
        org: &crate::store::OrgId,
    ) -> Self {
        let mut builder = LocalAuthorityBuilder::new(policies)
            .store(store)
            .org_id(org.as_str());
        builder.clock = Arc::clone(&authority.clock);
        builder.permit_ttl = authority.permit_ttl;
        let limits = authority.limits.get();
        builder.limits.permits_per_agent = limits.permits_per_agent;
        builder.limits.approvals_per_agent = limits.approvals_per_agent;
        builder.limits.max_approvals = limits.max_approvals;
        builder.approval_url.clone_from(&authority.approval_url);
        builder.trusted_issuers = Arc::clone(&authority.trusted_issuers);
        builder.sealing = authority.sealing.clone();
        builder.record_context = authority.record_context;
        builder
    }

    /// Sets how long an unused permit stays valid: one hour by default. A second call replaces the
    /// first.
    pub fn permit_ttl(mut self, ttl: Duration) -> Self {
        self.permit_ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
        self
    }

    /// Limits how many unused permits one agent may hold at a time: 1,000 by default.
    ///
    /// An agent at the limit is denied (`AGENT_PERMIT_LIMIT`) until some of its permits are used,
    /// revoked or expired, so that one agent cannot fill the ledger. A second call replaces the
    /// first.
    pub fn permits_per_agent(mut self, limit: NonZeroU64) -> Self {
        self.limits.permits_per_agent = limit.get();
        self
    }

    /// Limits how many decisions of one agent may wait for approvers at a time: 100 by default.
    ///
    /// A request beyond the limit is denied (`APPROVAL_LIMIT`), so that one agent cannot flood the
    /// approvers. The decided ones of an agent are limited too, to twenty times as many: rejections
    /// that have not expired, and approvals that are not used up. An agent at that limit is denied
    /// (`APPROVAL_LIMIT`) when its request would open a decision. A second call replaces the first.
    pub fn approvals_per_agent(mut self, limit: NonZeroU64) -> Self {
        self.limits.approvals_per_agent = limit.get();
        self
    }

    /// Limits how many decisions of all agents may wait for approvers at a time: 10,000 by default.
    ///
    /// A request beyond the limit is denied (`APPROVAL_LIMIT`). A second call replaces the first.
    pub fn max_approvals(mut self, limit: NonZeroU64) -> Self {
        self.limits.max_approvals = limit.get();
        self
    }

    /// Sets the address of the page where people approve a request, with `{id}` in the place of the
    /// id of its decision. An answer that holds a request names it. A second call replaces the
    /// first.
    pub fn approval_url(mut self, template: &str) -> Self {
        self.approval_url = Some(template.into());
        self
    }

    /// Counts the signed approvals of these issuers, which requests carry (contract, part D,
    /// "Approval artifacts"), beside the votes of approvers. A second call replaces the issuers.
    ///
    /// A signed approval is a vote of its reviewer, with the reviewer's roles: the policies say
    /// whose votes release a request. By default no issuer is trusted, and a request that a policy
    /// holds and that carries a signed approval is denied (`APPROVAL_ARTIFACT_INVALID`).
    pub fn trusted_issuers(mut self, issuers: TrustedIssuers) -> Self {
        self.trusted_issuers = Arc::new(issuers);
        self
    }

    /// Encrypts what approvers see of a held request before it is stored. By default, stores hold
    /// it as it is, without the values that policies redact. A second call replaces the keys.
    ///
    /// The agent, the action, the resource and the reason stay readable, since decisions are listed
    /// by them. A decision whose key is missing can be rejected, and not approved.
    ///
    /// ```
    /// # use atlasent::wire::EvaluateRequest;
    /// # use atlasent::{Action, Agent, AnyAction, Authority};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # use atlasent_authority::sealing::SealingKeys;
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse(r#"@decision("hold") forbid (principal, action, resource);
    /// #     permit (principal, action, resource);"#)?;
    /// let keys = SealingKeys::parse("2026-11 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")?;
    /// let authority = LocalAuthority::builder(policies).sealing_keys(keys).build().await?;
    ///
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let held = authority.evaluate(&request).await?;
    /// let decision = authority.approval(held.escalation_id.unwrap().parse()?).await?.unwrap();
    /// assert!(decision.shown.as_str().unwrap().contains("deploy"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "sealing")]
    pub fn sealing_keys(mut self, keys: SealingKeys) -> Self {
        self.sealing = Sealing::new(keys);
        self
    }

    /// Limits how many unused permits all agents may hold together: no limit by default.
    ///
    /// At the limit, requests that the policies allow are denied (`ORGANIZATION_PERMIT_LIMIT`)
    /// until some permits are used, revoked or expired. `live` and `test` permits are counted
    /// separately, as for [`permits_per_agent`](Self::permits_per_agent). A permit that was granted
    /// without such a limit never counts, so a limit on a store that has such permits holds fully
    /// once these have expired. Processes that share a store have to set the same limit. A second
    /// call replaces the first.
    ///
    /// ```
    /// # use std::num::NonZeroU64;
    /// # use atlasent::wire::EvaluateRequest;
    /// # use atlasent::{Agent, AnyAction, Authority};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::builder(policies)
    ///     .max_permits(NonZeroU64::new(2).unwrap())
    ///     .build()
    ///     .await?;
    /// for bot in ["a", "b", "c"] {
    ///     let request = EvaluateRequest::new(Agent::new(bot)?, &AnyAction::new("deploy")?)?;
    ///     let answer = authority.evaluate(&request).await?;
    ///     assert_eq!(answer.decision.is_allow(), bot != "c");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn max_permits(mut self, limit: NonZeroU64) -> Self {
        self.limits.max_permits = Some(limit);
        self
    }

    /// Limits how many events the store may hold when a request is evaluated: no limit by default.
    ///
    /// At the limit, evaluations fail with a [`StorageLimit`](crate::StorageLimit) and record
    /// nothing, until old events are [archived](LocalAuthority::archive) or the limit is raised.
    /// Permits can still be verified and revoked, stops set and lifted, policies replaced and
    /// events archived, all of which add events beyond the limit. A second call replaces the first.
    ///
    /// ```
    /// # use std::num::NonZeroU64;
    /// # use atlasent::wire::EvaluateRequest;
    /// # use atlasent::{Agent, AnyAction, Authority};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::builder(policies)
    ///     .max_events(NonZeroU64::MIN) // the event of the start
    ///     .build()
    ///     .await?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let refused = authority.evaluate(&request).await.unwrap_err();
    /// assert!(refused.to_string().contains("holds 1 events, and the limit is 1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn max_events(mut self, limit: NonZeroU64) -> Self {
        self.limits.max_events = Some(limit);
        self
    }

    /// Sets the digest of the policies that the chain records as in force. If the policies are
    /// these, [`build`](Self::build) records no start: an authority that is built again and again
    /// leaves one event.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn recorded_policies(mut self, digest: Option<String>) -> Self {
        self.recorded_policies = digest;
        self
    }

    /// Sets whether the policies only stand in for others that cannot be loaded now. Stand-ins end
    /// no decision that waits for approvers.
    #[cfg(feature = "server")]
    pub(crate) fn stand_in(mut self, is_stand_in: bool) -> Self {
        self.is_stand_in = is_stand_in;
        self
    }

    /// Sets whether events record the full context of a request, and its amount, instead of the
    /// context's hash alone: off by default. The audit trail then contains every value that callers
    /// put into their contexts, and its decisions can be replayed by other policies (`atlasent
    /// policy replay`). Values that the policies of a hold redact (`@redact`) stand as `[redacted]`
    /// in the event of the held request, which can then not be replayed. The same holds for the API
    /// key of a caller of `atlasent serve`, which stands as `…`. A second call replaces the first.
    pub fn record_context(mut self, record: bool) -> Self {
        self.record_context = record;
        self
    }

    /// Sets whether bodies that run under this authority's permits record how they ended: on by
    /// default. A second call replaces the first.
    ///
    /// The receipt is an event `permit.completed`, `permit.failed` or `permit.cancelled`, and tells
    /// the duration. It is the only evidence of what ran: a verification shows that a body could
    /// start, and not that it did. So receipts are recorded unless they are turned off.
    ///
    /// A body hands its receipt over and does not wait for the store, so a store that waits for a
    /// disk adds nothing to a call. The receipt is then one more event of the transaction that the
    /// store makes next. Call [`flush_receipts`](LocalAuthority::flush_receipts) before the process
    /// ends. Receipts are recorded beyond [`max_events`](Self::max_events), too.
    ///
    /// ```
    /// # use atlasent::{AnyAction, AuthorityExt, Error};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = || Policies::parse("permit (principal, action, resource);");
    /// for (receipts, ends_with) in [(true, "permit.completed"), (false, "permit.verified")] {
    ///     let builder = LocalAuthority::builder(policies()?).receipts(receipts);
    ///     let authority = builder.build().await?;
    ///     let action = AnyAction::new("deploy")?;
    ///     authority.with_permit("bot", action, async |_| Ok::<_, Error>(())).await?;
    ///     let trail = authority.trail().await?;
    ///     assert_eq!(trail.events.last().unwrap().envelope.kind, ends_with);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn receipts(mut self, record: bool) -> Self {
        self.receipts = record;
        self
    }

    /// Sets the organization that a new chain belongs to: `local` by default. A chain that has
    /// events keeps its organization. A second call replaces the first.
    pub fn org_id(mut self, org_id: impl Into<String>) -> Self {
        self.org_id = org_id.into();
        self
    }

    /// Refuses policies whose schema is not the one that this program was compiled with, when the
    /// authority is built and whenever policies replace others. By default, every schema is
    /// accepted. A second call replaces the digest.
    ///
    /// `digest` is a [`Policies::schema_digest`], which `atlasent::schema_digest!()` returns in a
    /// package whose build script calls `atlasent_build::policies`. A refused replacement is
    /// recorded, and the former policies stay in force.
    ///
    /// ```
    /// use atlasent_authority::{LocalAuthority, Policies};
    ///
    /// # futures_executor::block_on(async {
    /// let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let compiled_with = "5e0c…"; // atlasent::schema_digest!()
    /// let refused = LocalAuthority::builder(policies).require_schema(compiled_with).build().await;
    /// assert!(refused.unwrap_err().to_string().starts_with("the policies have no schema"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn require_schema(mut self, digest: impl Into<String>) -> Self {
        self.required_schema = Some(digest.into());
        self
    }

    /// Sets the clock: the system's clock by default. A second call replaces the first.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the store of permits and events: [`MemoryStore`] by default. A second call replaces the
    /// first.
    pub fn store<T: Store>(self, store: T) -> LocalAuthorityBuilder<T> {
        LocalAuthorityBuilder {
            store,
            policies: self.policies,
            clock: self.clock,
            permit_ttl: self.permit_ttl,
            limits: self.limits,
            recorded_policies: self.recorded_policies,
            is_stand_in: self.is_stand_in,
            record_context: self.record_context,
            receipts: self.receipts,
            org_id: self.org_id,
            required_schema: self.required_schema,
            approval_url: self.approval_url,
            trusted_issuers: self.trusted_issuers,
            sealing: self.sealing,
        }
    }

    /// Builds the authority, and records the policies that it starts with.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the start cannot be recorded, or when the system has no randomness.
    /// [`Error::Config`] when the policies have another schema than the
    /// [required one](Self::require_schema).
    pub async fn build(self) -> Result<LocalAuthority<S>, Error> {
        SchemaMismatch::check(&self.policies, self.required_schema.as_deref())
            .map_err(SchemaMismatch::into_config_error)?;
        let is_recorded = self.recorded_policies.as_deref() == Some(self.policies.digest());
        let loaded = record::policies_loaded(&self.policies);
        let store = Arc::new(self.store);
        let issuer = match self.receipts {
            true => issuer_with_receipts(&store, &self.clock),
            false => Issuer::new(),
        };
        let since = match self.is_stand_in {
            true => Timestamp::MIN,
            false => self.clock.now(),
        };
        let authority = LocalAuthority {
            policies: Arc::new(CurrentPolicies::new(self.policies, since)),
            store,
            clock: self.clock,
            permit_ttl: self.permit_ttl,
            limits: CurrentLimits::new(self.limits),
            record_context: self.record_context,
            required_schema: self.required_schema,
            secret: replay::random_bits()?,
            issuer,
            trusted_issuers: self.trusted_issuers,
            sealing: self.sealing,
            waiters: Waiters::default(),
            due: Arc::default(),
            approval_url: self.approval_url,
        };
        if is_recorded {
            return Ok(authority);
        }
        let org_id = self.org_id;
        let start = move |changeset: &mut Changeset<'_>| {
            changeset.set_org_id(&org_id);
            drop(changeset.record(loaded));
        };
        authority.commit(failed::START, Vec::new(), start).await?;
        Ok(authority)
    }
}

impl<S> fmt::Debug for LocalAuthorityBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAuthorityBuilder")
            .field("policies", &self.policies)
            .field("permit_ttl", &self.permit_ttl)
            .field("record_context", &self.record_context)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
