//! [`LocalAuthority`]: it decides by policy, keeps the permit ledger, and records both.

pub(crate) mod approvals;
#[cfg(feature = "console")]
pub(crate) mod budget_use;
mod budgets;
mod builder;
pub(crate) mod caller;
mod complete;
pub(crate) mod current;
pub(crate) mod evaluate;
mod killed;
pub(crate) mod limits;
mod pending;
mod permit_cells;
mod revoke;
pub(crate) mod schema;
mod shadows;
mod stop;
mod verify;

pub use builder::LocalAuthorityBuilder;
pub use caller::Caller;
pub use evaluate::EvaluateOutcome;
pub use limits::StorageLimit;
pub use schema::SchemaMismatch;

use std::fmt;
use std::sync::Arc;

use atlasent::approval::TrustedIssuers;
use atlasent::audit::{Event, Trail};
use atlasent::authority::Issuer;
use atlasent::error::{Code, Failure};
use atlasent::{Error, blocking};
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::local::approvals::{Due, Waiters};
use crate::local::current::{CurrentPolicies, Replacement};
use crate::local::limits::CurrentLimits;
#[cfg(any(feature = "server", test))]
use crate::local::limits::TotalLimits;
use crate::policy::{Policies, PolicyError};
use crate::sealing::Sealing;
use crate::signing::KeyRing;
use crate::store::{CellKey, Changeset, MemoryStore, Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::chain::NewEvent;
use crate::trail::export::{Bundle, export};
use crate::trail::record;

/// An authority in this process: policies decide, a ledger keeps the permits, and a hash chain
/// records both.
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
    pub(crate) policies: Arc<CurrentPolicies>,
    /// Shared with the receipts that are being recorded.
    pub(crate) store: Arc<S>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) permit_ttl: SignedDuration,
    pub(crate) limits: CurrentLimits,
    pub(crate) record_context: bool,
    /// The digest of the schema that every set of policies has to have.
    required_schema: Option<String>,
    /// The secret that permit tokens are derived from for callers without a secret of their own.
    pub(crate) secret: [u8; 32],
    pub(crate) issuer: Issuer,
    /// The issuers whose signed approvals count.
    pub(crate) trusted_issuers: Arc<TrustedIssuers>,
    pub(crate) sealing: Sealing,
    pub(crate) waiters: Waiters,
    pub(crate) due: Arc<Due>,
    /// The address of the page where people approve, with `{id}` in the place of the id.
    pub(crate) approval_url: Option<Arc<str>>,
}

impl LocalAuthority {
    /// Creates an authority with the defaults: permits last an hour, and everything is kept in
    /// memory.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the first event cannot be recorded.
    pub fn in_memory(policies: Policies) -> Result<Self, Error> {
        blocking::wait(Self::builder(policies).build())
    }

    /// Returns a builder. The default store is in memory.
    pub fn builder(policies: Policies) -> LocalAuthorityBuilder {
        LocalAuthorityBuilder::new(policies)
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Returns the whole audit trail that the store holds, to be exported or verified.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the events cannot be read.
    pub async fn trail(&self) -> Result<Trail, Error> {
        Ok(Trail::new(
            self.events(0, usize::MAX, &EventFilter::default()).await?,
        ))
    }

    /// Returns at most `limit` events that pass the filter and have a sequence number above
    /// `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the events cannot be read.
    pub async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Event>, Error> {
        let events = self.store.events(after, limit, filter).await;
        let events = events.map_err(unreadable)?;
        let events = events.iter().map(|event| event.to_event());
        events
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(StoreError::failed(error)))
    }

    /// Returns a signed export of the events that pass the filter, up to the newest event at the
    /// time of the call.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the events cannot be read, or the export cannot be written to a
    /// temporary file.
    pub async fn export(&self, filter: &EventFilter, keys: &KeyRing) -> Result<Bundle, Error> {
        let exported = export(&*self.store, filter, keys, &*self.clock).await;
        exported.map_err(|error| unavailable(failed::EXPORT, error))
    }

    /// Returns the policies in force.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.policies.get()
    }

    /// Puts other policies in force, and records their digest.
    ///
    /// A permit that was granted before stays valid only if the policies of its action are
    /// unchanged: see [`Policies::action_digest`]. A decision that waits for approvers ends
    /// otherwise, the next time that it is looked at; those who wait for it look at once.
    ///
    /// ```
    /// # use atlasent::wire::{EvaluateRequest, VerifyRequest};
    /// # use atlasent::{Agent, AnyAction, Authority};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// let authority = LocalAuthority::in_memory(Policies::parse("permit (principal, action, resource);")?)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let permit = authority.evaluate(&request).await?.permit_token.unwrap();
    ///
    /// authority.replace_policies(Policies::parse("forbid (principal, action, resource);")?).await?;
    /// let refused = authority.verify(&VerifyRequest::restating(&request, permit)).await?;
    /// assert_eq!(refused.verify_error_code.as_deref(), Some("POLICY_CHANGED"));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the policies have another schema than the
    /// [required one](LocalAuthorityBuilder::require_schema); the refusal is recorded.
    /// [`Error::Failed`] when the replacement or the refusal cannot be recorded. The former
    /// policies stay in force after each error.
    pub async fn replace_policies(&self, policies: Policies) -> Result<(), Error> {
        self.replace_shared_policies(Arc::new(policies)).await
    }

    /// Replaces the policies by a set that other authorities may use as well.
    pub(crate) async fn replace_shared_policies(
        &self,
        policies: Arc<Policies>,
    ) -> Result<(), Error> {
        let required = self.required_schema.as_deref();
        if let Err(mismatch) = SchemaMismatch::check(&policies, required) {
            self.policies_refused(&PolicyError::from(&mismatch)).await?;
            return Err(mismatch.into_config_error());
        }
        let event = record::policies_loaded(&policies);
        let (current, replacement) = (Arc::clone(&self.policies), Replacement::default());
        let by = replacement.clone();
        let former = self.policies.in_force();
        let change = move |changeset: &mut Changeset<'_>| {
            changeset.record(event);
            current.replace(policies, changeset.time(), by);
        };
        let recorded = self.commit(failed::POLICIES, Vec::new(), change).await;
        // The change may have run although the store did not keep it.
        if recorded.is_err() && self.policies.are_by(&replacement) {
            self.policies.put_back(former);
        }
        if recorded.is_ok() {
            self.policies.announce();
            // Decisions of the former policies end: by the next look for due ones, and at once
            // where somebody waits for one.
            self.due.policies_changed();
            self.waiters.wake_all();
        }
        recorded
    }

    /// Returns a receiver that is notified each time that other policies took effect, by
    /// [`replace_policies`](Self::replace_policies) or because a server read a changed folder.
    ///
    /// ```
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// let authority = LocalAuthority::in_memory(Policies::parse("permit (principal, action, resource);")?)?;
    /// let changes = authority.watch_policies();
    /// assert!(!changes.has_changed()?);
    /// authority.replace_policies(Policies::parse("forbid (principal, action, resource);")?).await?;
    /// assert!(changes.has_changed()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn watch_policies(&self) -> watch::Receiver<()> {
        self.policies.watch()
    }

    /// Records that policies were rejected, and why. The policies in force do not change.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the rejection cannot be recorded.
    pub async fn policies_refused(&self, error: &PolicyError) -> Result<(), Error> {
        self.record(record::policies_refused(error)).await
    }

    /// Replaces the limits of all agents together. Requests that are in progress may still be
    /// decided under the former ones.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn set_limits(&self, limits: TotalLimits) {
        self.limits.set(limits);
    }

    /// Returns the store of permits and events.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    pub(crate) async fn record(&self, event: NewEvent) -> Result<(), Error> {
        let change = move |changeset: &mut Changeset<'_>| drop(changeset.record(event));
        self.commit(failed::POLICIES, Vec::new(), change).await
    }

    /// Commits a change. `operation` is the error text when the commit fails.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        operation: &'static str,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
    ) -> Result<T, Error> {
        commit(&*self.store, &*self.clock, operation, reads, change).await
    }
}

/// Commits a change of a store. `operation` is the error text when the commit fails.
pub(crate) async fn commit<S: Store, T: Send + 'static>(
    store: &S,
    clock: &dyn Clock,
    operation: &'static str,
    reads: Vec<CellKey>,
    change: impl FnOnce(&mut Changeset<'_>) -> T + Clone + Send + 'static,
) -> Result<T, Error> {
    store
        .commit(clock.now(), reads, change)
        .await
        .map_err(|error| unavailable(operation, error))
}

/// The error for events that could not be read.
pub(crate) fn unreadable(error: StoreError) -> Error {
    unavailable(failed::EVENTS, error)
}

/// Error texts that name the operation that failed. A server sends them to callers, so they contain
/// no file and no host.
pub(crate) mod failed {
    pub(crate) const START: &str = "the authority's start could not be recorded";
    pub(crate) const DECISION: &str =
        "the decision could not be recorded, so the request is not decided";
    pub(crate) const VERIFICATION: &str =
        "the verification could not be recorded, so the permit is not verified";
    pub(crate) const RECEIPT: &str = "the receipt could not be recorded";
    pub(crate) const REVOCATION: &str =
        "the revocation could not be recorded, so the permit is not revoked";
    pub(crate) const PERMIT: &str = "the permit could not be read";
    #[cfg(feature = "console")]
    pub(crate) const BUDGETS: &str = "the budgets could not be read";
    #[cfg(feature = "server")]
    pub(crate) const BACKUP: &str = "the store could not be backed up";
    pub(crate) const APPROVAL: &str =
        "the change could not be recorded, so the escalation stays as it was";
    pub(crate) const APPROVALS: &str = "the escalations could not be read";
    pub(crate) const STOP: &str = "the stop could not be recorded, so it is not in effect";
    pub(crate) const LIFTING: &str =
        "the lifting could not be recorded, so the stop stays in effect";
    pub(crate) const STOPS: &str = "the stops could not be read";
    #[cfg(feature = "server")]
    pub(crate) const KEYS: &str = "the changes of API keys could not be recorded";
    pub(crate) const EVENTS: &str = "the events could not be read";
    #[cfg(feature = "server")]
    pub(crate) const COUNT: &str = "the events could not be counted";
    pub(crate) const EXPORT: &str = "the events could not be exported";
    pub(crate) const ARCHIVE: &str = "the old events could not be archived";
    pub(crate) const POLICIES: &str = "the policies could not be recorded";
}

/// The error for an operation that failed because the store failed.
pub(crate) fn unavailable(operation: &'static str, error: StoreError) -> Error {
    Failure::new(Code::ServerError, operation)
        .with_source(error)
        .into()
}

impl<S: Store> fmt::Debug for LocalAuthority<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAuthority")
            .field("policies", &self.policies())
            .field("permit_ttl", &self.permit_ttl)
            .field("record_context", &self.record_context)
            .finish_non_exhaustive()
    }
}
