//! The authority: it decides by policy, keeps the permit ledger, and records both.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use atlasent::audit::{Event, Trail};
use atlasent::{
    Code, Error, Failure, Issuer, PermitRecord, PermitStatus, PermitToken, Revocation, blocking,
};
use jiff::SignedDuration;

use crate::builder::LocalAuthorityBuilder;
use crate::chain::NewEvent;
use crate::clock::Clock;
use crate::export::{Bundle, export};
use crate::ledger::PermitKey;
use crate::policy::{Policies, PolicyError};
use crate::record;
use crate::signing::KeyRing;
use crate::store::{CellKey, Draft, EventFilter, MemoryStore, Store, StoreError};

/// An authority in this process: policies decide, a ledger keeps the permits, a hash chain records
/// it all.
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
    pub(crate) policies: RwLock<Arc<Policies>>,
    pub(crate) store: S,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) permit_ttl: SignedDuration,
    pub(crate) record_context: bool,
    /// What the tokens of this process are derived from, where no caller brings a secret along.
    pub(crate) secret: [u8; 32],
    pub(crate) issuer: Issuer,
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
        LocalAuthorityBuilder::new(policies)
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Takes back a permit that was not used yet.
    ///
    /// One that was used already stays used, and `revoked` is false; but
    /// [`Permit::recheck`](atlasent::Permit::recheck) refuses it from now on, for a body that has
    /// not started.
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
        let change = move |draft: &mut Draft<'_>| {
            let mut entry = draft.permit(key).cloned();
            let now = draft.time();
            let state = entry.as_ref().map(|entry| entry.state);
            let revoked = entry.as_mut().is_some_and(|entry| entry.revoke(now));
            let event = draft.record(record::revocation(key, entry.as_ref(), revoked, reason));
            if let Some(entry) = entry.filter(|entry| Some(entry.state) != state) {
                draft.keep_permit(key, entry);
            }
            (event, revoked)
        };
        let (event, revoked) = self
            .commit(failed::REVOCATION, vec![CellKey::Permit(key)], change)
            .await?;
        let mut revocation = Revocation::new(token.clone(), revoked);
        revocation.revoked_at = revoked.then(|| event.occurred_at.clone());
        revocation.audit_hash = Some(event.hash.clone());
        Ok(revocation)
    }

    /// What the ledger has of a permit that was verified, found by its hash.
    pub(crate) async fn status_of(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        let unknown = || PermitStatus::Unknown("unknown".to_owned());
        let Some(key) = permit.hash.as_deref().and_then(PermitKey::from_hex) else {
            return Ok(unknown());
        };
        let look = move |draft: &mut Draft<'_>| {
            let now = draft.time();
            draft.permit(key).map(|entry| entry.status(now))
        };
        let status = self
            .commit(failed::PERMIT, vec![CellKey::Permit(key)], look)
            .await?;
        Ok(status.unwrap_or_else(unknown))
    }

    /// The audit trail that the store holds, whole, ready to be exported and verified.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when it cannot be read.
    pub async fn trail(&self) -> Result<Trail, Error> {
        Ok(Trail::new(
            self.events(0, usize::MAX, &EventFilter::default()).await?,
        ))
    }

    /// At most `limit` events of the audit trail that pass the filter and whose sequence number is
    /// above `after`, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when they cannot be read.
    pub async fn events(
        &self,
        after: u64,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<Vec<Event>, Error> {
        let events = self.store.events(after, limit, filter).await;
        let unreadable = |error| unavailable(failed::EVENTS, error);
        let events = events.map_err(unreadable)?;
        let events = events.iter().map(|event| event.to_event());
        events
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(StoreError::failed(error)))
    }

    /// A signed export of the events that pass the filter, up to the newest one there is now.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when they cannot be read, or the export cannot be written to a temporary
    /// file.
    pub async fn export(&self, filter: &EventFilter, keys: &KeyRing) -> Result<Bundle, Error> {
        let exported = export(&self.store, filter, keys).await;
        exported.map_err(|error| unavailable(failed::EXPORT, error))
    }

    /// The policies that decide now.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&policies)
    }

    /// Decides by other policies from now on, once the chain has recorded which.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when that cannot be recorded; then the former policies go on deciding.
    pub async fn replace_policies(&self, policies: Policies) -> Result<(), Error> {
        self.record(record::policies_loaded(&policies)).await?;
        let mut current = self
            .policies
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(policies);
        Ok(())
    }

    /// Records that policies were not taken, and why. Those that decide go on deciding.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when it cannot be recorded.
    pub async fn policies_refused(&self, error: &PolicyError) -> Result<(), Error> {
        self.record(record::policies_refused(error)).await
    }

    /// Where permits and events are kept.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    pub(crate) async fn record(&self, event: NewEvent) -> Result<(), Error> {
        let change = move |draft: &mut Draft<'_>| drop(draft.record(event));
        self.commit(failed::POLICIES, Vec::new(), change).await
    }

    /// Makes a change. `operation` is the text of the error when that fails.
    pub(crate) async fn commit<T: Send + 'static>(
        &self,
        operation: &'static str,
        reads: Vec<CellKey>,
        change: impl FnOnce(&mut Draft<'_>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.store
            .commit(self.clock.now(), reads, change)
            .await
            .map_err(|error| unavailable(operation, error))
    }
}

/// What an error says that the store failed at. A server answers callers with these texts, so they
/// name no file and no host.
pub(crate) mod failed {
    pub(crate) const START: &str = "the authority's start could not be recorded";
    pub(crate) const DECISION: &str =
        "the decision could not be recorded, so the request is not decided";
    pub(crate) const VERIFICATION: &str =
        "the verification could not be recorded, so the permit is not verified";
    pub(crate) const REVOCATION: &str =
        "the revocation could not be recorded, so the permit is not revoked";
    pub(crate) const PERMIT: &str = "the permit could not be read";
    pub(crate) const EVENTS: &str = "the events could not be read";
    pub(crate) const EXPORT: &str = "the events could not be exported";
    pub(crate) const ARCHIVE: &str = "the old events could not be archived";
    pub(crate) const POLICIES: &str = "the policies could not be recorded";
}

/// The error of an operation that the store failed at.
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
