//! Listing the permits of the ledger, and looking one up by its public id ([`PermitId`]). A public
//! id is not a token: it cannot be verified or used.

pub use crate::ledger::{InvalidPermitId, PermitId};
use std::sync::Arc;

use atlasent::Error;
use atlasent::wire::{PermitInfo, PermitStatus, PermitToken};
use jiff::Timestamp;

use crate::ledger::PermitKey;
use crate::ledger::stops::Stops;
use crate::ledger::validity;
use crate::ledger::{PermitEntry, PermitState, VerifyRefusal};
use crate::local::caller::Caller;
use crate::local::{LocalAuthority, failed, unavailable};
use crate::store::{CellKey, Changeset, Store, StoreError};
use crate::trail::chain::format_time;

/// How many permits are read at a time.
const AT_ONCE: usize = 1_000;

/// A page ends with the permit by which its JSON reaches this many bytes. Over HTTP, a reason has
/// at most 4,096 bytes, of which JSON writes control characters as six bytes each, and the rest of
/// a permit is shorter. So a page stays far below 1 MiB, which is the most that clients of the
/// contract read (part A).
const PAGE_BYTES: usize = 512 * 1024;

/// Selects permits: those that pass every condition that is set. The default passes every permit.
///
/// ```
/// use atlasent::wire::PermitStatus;
/// use atlasent_authority::permits::PermitFilter;
///
/// let filter = PermitFilter::default().status(PermitStatus::Issued).agent("deploy-bot");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct PermitFilter {
    status: Option<PermitStatus>,
    agent: Option<String>,
    action: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl PermitFilter {
    /// Passes only permits with this status. A second call replaces the first.
    pub fn status(mut self, status: PermitStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Passes only permits of this agent. A second call replaces the first.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Passes only permits for this action. A second call replaces the first.
    pub fn action(mut self, action: impl Into<String>) -> Self {
        self.action = Some(action.into());
        self
    }

    /// Passes only permits that were issued at or after this time. Of two calls, the later time
    /// holds.
    pub fn since(mut self, time: Timestamp) -> Self {
        // `None` sorts before every time.
        self.since = self.since.max(Some(time));
        self
    }

    /// Passes only permits that were issued at or before this time. Of two calls, the earlier time
    /// holds.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(self.until.map_or(time, |until| until.min(time)));
        self
    }

    fn passes(&self, entry: &PermitEntry) -> bool {
        let agent = (self.agent.as_deref()).is_none_or(|agent| agent == entry.grant.agent.as_str());
        let action = (self.action.as_deref()).is_none_or(|action| action == &*entry.grant.action);
        let until = self.until.is_none_or(|until| entry.issued_at <= until);
        agent && action && until
    }
}

/// A page of permits, the newest first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PermitPage {
    /// The permits of the page.
    pub permits: Vec<PermitInfo>,
    /// The number of permits on all pages.
    pub total: u64,
    /// The next page starts before this sequence number. Unset on the last page.
    ///
    /// A page before the last one may have fewer permits than requested: it ends when it is large.
    pub next: Option<u64>,
}

/// The time and the stops that the status of a permit depends on.
pub(crate) struct StatusContext {
    org_id: Arc<str>,
    pub(crate) now: Timestamp,
    stops: Stops,
}

impl<S: Store> LocalAuthority<S> {
    /// Returns a page of the permits that pass a filter, the newest first. `before` is the start of
    /// the page: [`PermitPage::next`] of the page before, or `u64::MAX`.
    ///
    /// The ledger forgets permits some time after they have expired.
    ///
    /// ```
    /// # use atlasent::wire::PermitStatus;
    /// # use atlasent::{AnyAction, AuthorityExt};
    /// # use atlasent_authority::permits::PermitFilter;
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let permit = authority.protect("bot", AnyAction::new("deploy")?).await?;
    ///
    /// let page = authority.permits(&PermitFilter::default().agent("bot"), u64::MAX, 50).await?;
    /// assert_eq!(page.permits[0].id, permit.id());
    /// assert_eq!(page.permits[0].status, PermitStatus::Consumed);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the ledger cannot be read.
    pub async fn permits(
        &self,
        filter: &PermitFilter,
        before: u64,
        limit: usize,
    ) -> Result<PermitPage, Error> {
        let caller = Caller::embedded(&self.secret);
        self.permits_for(&caller, filter, before, limit).await
    }

    /// Returns a page of the permits that a caller may see.
    pub(crate) async fn permits_for(
        &self,
        caller: &Caller<'_>,
        filter: &PermitFilter,
        before: u64,
        limit: usize,
    ) -> Result<PermitPage, Error> {
        let environment = caller.attribution().environment;
        let context = self.status_context().await?;
        let mut page = PermitPage {
            permits: Vec::new(),
            total: 0,
            next: None,
        };
        let (mut position, mut more, mut is_over) = (u64::MAX, None, false);
        let mut bytes = 0;
        while !is_over {
            let permits = self.store.permits(position, AT_ONCE).await;
            let permits = permits.map_err(unread)?;
            is_over = permits.len() < AT_ONCE;
            for (key, entry) in permits {
                position = entry.sequence;
                // Permits are listed from the newest to the oldest, so the rest is older still.
                if filter.since.is_some_and(|since| entry.issued_at < since) {
                    is_over = true;
                    break;
                }
                if !filter.passes(&entry) || !entry.grant.is_known_to(environment.as_deref()) {
                    continue;
                }
                let info = context.info(key, &entry);
                if (filter.status.as_ref()).is_some_and(|status| *status != info.status) {
                    continue;
                }
                page.total += 1;
                if entry.sequence < before {
                    if page.permits.len() < limit && bytes < PAGE_BYTES {
                        more = Some(entry.sequence);
                        bytes += answer_bytes(&info);
                        page.permits.push(info);
                    } else if page.next.is_none() {
                        page.next = more;
                    }
                }
            }
        }
        Ok(page)
    }

    /// Returns the permit with a public id, or `None` for an unknown permit.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the ledger cannot be read.
    pub async fn permit(&self, id: PermitId) -> Result<Option<PermitInfo>, Error> {
        let caller = Caller::embedded(&self.secret);
        let found = self.find_permit(&caller, id).await?;
        Ok(found.map(|(context, key, entry)| context.info(key, &entry)))
    }

    /// Revokes the permit with a public id, as [`revoke`](Self::revoke) revokes one by its token.
    /// Returns the permit after the revocation, or `None` for an unknown permit.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the revocation cannot be recorded; the permit is not revoked then.
    pub async fn revoke_permit(
        &self,
        id: PermitId,
        reason: &str,
    ) -> Result<Option<PermitInfo>, Error> {
        let caller = Caller::embedded(&self.secret);
        self.revoke_permit_for(&caller, id, reason).await
    }

    /// Revokes the permit with a public id for a caller.
    pub(crate) async fn revoke_permit_for(
        &self,
        caller: &Caller<'_>,
        id: PermitId,
        reason: &str,
    ) -> Result<Option<PermitInfo>, Error> {
        let Some((context, key, entry)) = self.find_permit(caller, id).await? else {
            return Ok(None);
        };
        // A permit that is revoked already needs no second event. One that a stop has killed may
        // still count against limits and budgets.
        if matches!(entry.state, PermitState::Revoked | PermitState::Recalled) {
            return Ok(Some(context.info(key, &entry)));
        }
        let revoked = self.revoke_key(caller, key, reason).await?;
        let entry = revoked.entry.unwrap_or(entry);
        Ok(Some(self.status_context().await?.info(key, &entry)))
    }

    /// Returns the permit with a public id, if the caller may see it, with what its status depends
    /// on.
    pub(crate) async fn find_permit(
        &self,
        caller: &Caller<'_>,
        id: PermitId,
    ) -> Result<Option<(StatusContext, PermitKey, PermitEntry)>, Error> {
        let environment = caller.attribution().environment;
        let key = self.store.permit_key(id).await.map_err(unread)?;
        let Some(key) = key else {
            return Ok(None);
        };
        let look = move |changeset: &mut Changeset<'_>| {
            (
                StatusContext::new(changeset),
                changeset.permit(key).cloned(),
            )
        };
        let reads = vec![CellKey::Permit(key), CellKey::Stops];
        let (context, entry) = self.commit(failed::PERMIT, reads, look).await?;
        let entry = entry.filter(|entry| entry.grant.is_known_to(environment.as_deref()));
        Ok(entry.map(|entry| (context, key, entry)))
    }

    pub(crate) async fn status_context(&self) -> Result<StatusContext, Error> {
        let look = |changeset: &mut Changeset<'_>| StatusContext::new(changeset);
        self.commit(failed::PERMIT, vec![CellKey::Stops], look)
            .await
    }

    /// Returns why the permit would be refused, if it were verified now for the request that it was
    /// issued for.
    #[cfg_attr(
        not(feature = "server"),
        allow(dead_code, reason = "a route of the server calls it")
    )]
    pub(crate) fn verify_refusal(
        &self,
        context: &StatusContext,
        entry: &PermitEntry,
    ) -> Option<VerifyRefusal> {
        let valid = validity::check(entry, &context.stops, &self.policies(), context.now);
        valid.err().map(|invalid| invalid.refusal())
    }
}

impl StatusContext {
    fn new(changeset: &Changeset<'_>) -> Self {
        Self {
            org_id: changeset.head().org_id.clone(),
            now: changeset.time(),
            stops: changeset.stops(),
        }
    }

    fn status(&self, entry: &PermitEntry) -> PermitStatus {
        match self.is_killed(entry) {
            true => PermitStatus::Revoked,
            false => entry.status(self.now),
        }
    }

    /// Whether a permit could be used, if no stop or recall had killed it.
    pub(crate) fn is_killed(&self, entry: &PermitEntry) -> bool {
        entry.check_open(self.now).is_ok() && self.stops.kill_cause(entry, self.now).is_some()
    }

    /// Returns what the API tells about a permit (contract, part D).
    pub(crate) fn info(&self, key: PermitKey, entry: &PermitEntry) -> PermitInfo {
        let mut info = PermitInfo::new(
            key.id().to_string(),
            &*self.org_id,
            entry.grant.agent.as_str(),
            &*entry.grant.action,
            self.status(entry),
            format_time(entry.issued_at),
            format_time(entry.expires_at),
        );
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        info.target_id = text(&entry.grant.resource);
        info.environment = text(&entry.grant.environment);
        info.consumed_at = entry.consumed_at.map(format_time);
        if let Some(revoked) = &entry.revoked {
            info.revoked_at = Some(format_time(revoked.at));
            info.revoked_by.clone_from(&revoked.by);
            info.revoke_reason = Some(revoked.reason.clone());
        } else if info.status == PermitStatus::Revoked
            && let Some(killed) = self.stops.kill_cause(entry, self.now)
        {
            info.revoked_at = Some(format_time(killed.at));
            info.revoked_by = killed.by;
            info.revoke_reason = Some(killed.reason);
        }
        info.payload_hash = Some((*entry.grant.execution_hash).to_owned());
        info.decision_id = PermitToken::new(Arc::clone(&entry.evaluation_id)).ok();
        info
    }
}

/// Returns how many bytes a permit has in an answer of the server.
fn answer_bytes(permit: &PermitInfo) -> usize {
    // A permit that cannot be written ends its page.
    serde_json::to_vec(permit).map_or(PAGE_BYTES, |json| json.len())
}

fn unread(error: StoreError) -> Error {
    unavailable(failed::PERMIT, error)
}
