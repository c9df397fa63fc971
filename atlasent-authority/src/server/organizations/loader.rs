//! Makes the authorities of organizations, and keeps those in memory that are in use.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::due::DueOrganizations;
use super::hosting::PathOf;
use super::medium::Medium;
use super::recorded::Recorded;
use super::unsaved_heads::UnsavedHeads;
use super::{OrgHosting, ServedOrg, SharedPolicies};
use crate::local::LocalAuthorityBuilder;
use crate::policy::Policies;
use crate::server::api_error::ApiError;
use crate::server::log_limit::OUTAGES;
use crate::server::metrics::ReloadCounter;
use crate::server::off_thread::off_thread;
use crate::server::tasks::PolicyFolder;
use crate::store::{ApprovalList, OrgId, Organizations, Store, StoreError};
use crate::trail::head_file::{HeadFile, HeadFileError};

/// How many organizations load their policies at a time. Parsing takes a core each.
const LOADING: usize = 4;

/// How long a folder of policies may take to be read before others are read beside it.
const HANGING: Duration = Duration::from_secs(5);

/// How long a failed load is answered from memory before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How many open decisions are read at a time.
const LISTED: usize = 500;

/// The policies of an organization whose own cannot be loaded.
const NOTHING_IS_PERMITTED: &str = "forbid (principal, action, resource);";

/// Makes the authority of an organization when it is first asked for, and keeps it while it is in
/// use.
///
/// An organization has at most one authority in a process at a time. New policies take effect
/// inside the transaction that records them, which two authorities could not both do. So an
/// organization leaves the memory only when nothing uses it, and requests that arrive while it is
/// loaded wait for that one load.
pub(crate) struct Loader<S> {
    local: Arc<ServedOrg<S>>,
    medium: Medium<S>,
    folders: Arc<PathOf>,
    /// The sets of policies that are in memory.
    policies: Arc<SharedPolicies>,
    heads: Option<Arc<PathOf>>,
    settle: Duration,
    max_loaded: usize,
    idle: Duration,
    parsing: Semaphore,
    loaded: RwLock<HashMap<OrgId, Arc<ServedOrg<S>>>>,
    loads: Mutex<HashMap<OrgId, LoadResult<S>>>,
    /// What this process has recorded of the policies of organizations that were in memory.
    recorded: Mutex<HashMap<OrgId, Recorded>>,
    /// The organizations whose chains have continued their saved heads in this process.
    checked: Mutex<HashSet<OrgId>>,
    /// The organizations that left the memory before their heads were saved.
    unsaved: UnsavedHeads,
    /// When decisions of the organizations that are not in memory are due.
    due: DueOrganizations,
    /// Counts the policies that are refused.
    reloads: ReloadCounter,
}

/// Why an organization could not be loaded. The log gets the text.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The result of a load, once there is one.
type LoadResult<S> = watch::Receiver<Option<Result<Arc<ServedOrg<S>>, ApiError>>>;

impl<S: Store> Loader<S> {
    pub(super) fn new(
        local: Arc<ServedOrg<S>>,
        hosting: &OrgHosting,
        reloads: ReloadCounter,
    ) -> Self
    where
        S: Organizations<Store = S>,
    {
        Self {
            medium: Medium::from_store(local.authority.store()),
            local,
            folders: Arc::clone(&hosting.folders),
            policies: Arc::default(),
            heads: hosting.heads.clone(),
            settle: hosting.settle,
            max_loaded: hosting.max_loaded,
            idle: hosting.idle,
            parsing: Semaphore::new(LOADING),
            loaded: RwLock::default(),
            loads: Mutex::default(),
            recorded: Mutex::default(),
            checked: Mutex::default(),
            unsaved: UnsavedHeads::default(),
            due: DueOrganizations::default(),
            reloads,
        }
    }

    /// Returns an organization, and loads it if it is not in memory.
    pub(super) async fn get(self: &Arc<Self>, id: &OrgId) -> Result<Arc<ServedOrg<S>>, ApiError> {
        if let Some(org) = self.loaded(id) {
            return Ok(org);
        }
        let mut result = self.join_load(id);
        // A load that panicked has no result. The next request starts another one.
        let result = result.wait_for(Option::is_some).await;
        let result = result.ok().and_then(|result| result.clone());
        result.unwrap_or_else(|| Err(not_loaded(id, "the load panicked")))
    }

    /// Returns the organizations in memory.
    pub(crate) fn all_loaded(&self) -> Vec<Arc<ServedOrg<S>>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.values().cloned().collect()
    }

    /// Returns the store of an organization, whether its policies are in memory or not. Refuses a
    /// store whose chain does not continue the saved head: nothing is added to another chain, and
    /// nothing of it replaces an archived bundle.
    pub(crate) async fn store(&self, id: &OrgId) -> Result<S, StoreError> {
        let store = self.medium.store(id).await?;
        let is_checked = lock(&self.checked).contains(id);
        if !is_checked && let Some(head) = self.head_file(id) {
            head.check(&store).await.map_err(StoreError::failed)?;
            lock(&self.checked).insert(id.clone());
        }
        Ok(store)
    }

    /// Accepts the chain of an organization as it is: renames the saved head if the chain does not
    /// continue it. The log gets the new name, since the file is the only trace of the former
    /// chain.
    pub(super) async fn accept_chain(&self, id: &OrgId) {
        match self.set_aside(id).await {
            Ok(None) => {}
            Ok(Some((error, kept))) => tracing::warn!(
                target: "atlasent", org_id = %id, kept = %kept.display(),
                "{error}, which is accepted; the earlier head file is kept"
            ),
            Err(error) => tracing::error!(
                target: "atlasent", org_id = %id, %error,
                "the saved head cannot be compared with the chain"
            ),
        }
    }

    /// Renames a saved head that the chain does not continue. Returns why it does not, and the new
    /// name.
    async fn set_aside(&self, id: &OrgId) -> Result<Option<(HeadFileError, PathBuf)>, Failure> {
        let Some(head) = self.head_file(id).filter(HeadFile::exists) else {
            return Ok(None);
        };
        let store = self.medium.store(id).await?;
        match head.check(&store).await {
            Err(error) if error.is_about_the_chain() => {
                let kept = head.set_aside()?;
                Ok(kept.map(|kept| (error, kept)))
            }
            checked => Ok(checked.map(|()| None)?),
        }
    }

    /// Saves the heads of the organizations that left the memory before theirs was saved, and
    /// returns the results.
    pub(crate) async fn save_heads_of_evicted(&self) -> Vec<(OrgId, Result<(), HeadFileError>)> {
        let mut results = Vec::new();
        for id in self.unsaved.all() {
            let mut saving = self.unsaved.begin(&id);
            let saved = self.save_head(&id).await;
            saving.is_saved = saved.is_ok();
            drop(saving);
            results.push((id, saved));
        }
        results
    }

    async fn save_head(&self, id: &OrgId) -> Result<(), HeadFileError> {
        match self.head_file(id) {
            Some(head) => head.save(&self.medium.store(id).await?).await,
            None => Ok(()),
        }
    }

    fn head_file(&self, id: &OrgId) -> Option<HeadFile> {
        Some(HeadFile::new((self.heads.as_ref()?)(id)))
    }

    /// Drops the organizations that were not used for a while, and those beyond the limit that
    /// were not used for the longest time. An organization with a request under way stays.
    pub(crate) fn evict(&self) {
        // Nothing can take an organization out of the map meanwhile, so one that only the map
        // holds is in no use.
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let mut unused: Vec<_> = (loaded.iter())
            .filter(|(_, org)| Arc::strong_count(org) == 1)
            .map(|(id, org)| (org.idle_for(), id.clone()))
            .collect();
        unused.sort_unstable_by_key(|(idle, _)| std::cmp::Reverse(*idle));
        let excess = loaded.len().saturating_sub(self.max_loaded);
        let mut evicted = Vec::new();
        for (place, (idle, id)) in unused.into_iter().enumerate() {
            if place >= excess && idle < self.idle {
                break;
            }
            let Some(org) = loaded.remove(&id) else {
                continue;
            };
            if org.has_unsaved_head() {
                self.unsaved.note(id.clone());
            }
            // Without policies no decision was ended, and the time of the first one is unknown. The
            // next look into the store finds it. Loading the organization again would be in vain.
            if org.has_policies() {
                if let Some(time) = org.authority.due.first() {
                    self.due.note(id.clone(), time);
                }
                let digest = org.authority.policies().digest().to_owned();
                lock(&self.recorded).insert(id, Recorded::Loaded(digest));
            }
            evicted.push(org);
        }
        // Requests do not wait while large sets of policies are freed.
        drop(loaded);
        drop(evicted);
    }

    /// Returns the organizations whose pending decisions are due, at most `limit`, without those in
    /// memory. None of them is returned again before it is [noted](Self::note_due) again.
    pub(super) fn take_due(&self, now: Timestamp, limit: usize) -> Vec<OrgId> {
        self.due.take(now, limit)
    }

    /// Notes when the first pending decision of an organization that is not in memory is due.
    pub(super) fn note_due(&self, id: &OrgId, time: Timestamp) {
        // An organization cannot be loaded or leave the memory in between.
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        if !loaded.contains_key(id) {
            self.due.note(id.clone(), time);
        }
    }

    /// Returns whether it is known when decisions of an organization are due.
    pub(super) fn knows_due(&self, id: &OrgId) -> bool {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.contains_key(id) || self.due.contains(id)
    }

    /// Reads when the first pending decision of an organization is due. It is noted, unless none is
    /// open.
    pub(super) async fn find_due(&self, id: &OrgId) -> Result<(), StoreError> {
        let store = self.medium.unchecked_store(id);
        let (mut first, mut before) = (None, u64::MAX);
        loop {
            let page = store.approvals(ApprovalList::Open, before, LISTED).await;
            let page = match page {
                // A medium has no store of an organization that was never loaded.
                Err(StoreError::UnknownOrganization(_)) => return Ok(()),
                page => page?,
            };
            let Some(last) = page.last() else { break };
            before = last.sequence;
            let times = page.iter().map(|row| row.timeout_at);
            first = times.chain(first).min();
        }
        if let Some(first) = first {
            self.note_due(id, first);
        }
        Ok(())
    }

    fn loaded(&self, id: &OrgId) -> Option<Arc<ServedOrg<S>>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let org = loaded.get(id)?;
        org.touch();
        Some(Arc::clone(org))
    }

    /// Joins the load of an organization, or starts one. It runs to its end even if every request
    /// that waits for it is cancelled: a second read of a folder that hangs would hang as well.
    fn join_load(self: &Arc<Self>, id: &OrgId) -> LoadResult<S> {
        let mut loads = lock(&self.loads);
        if let Some(result) = loads.get(id) {
            return result.clone();
        }
        let (sender, result) = watch::channel(None);
        loads.insert(id.clone(), result.clone());
        let (loader, id) = (Arc::clone(self), id.clone());
        tokio::spawn(async move {
            let ended = EndOfLoad { loader, id };
            let loaded = ended.loader.load(&ended.id).await;
            let failed = loaded.is_err();
            let _ = sender.send(Some(loaded));
            if failed {
                tokio::time::sleep(RETRY).await;
            }
        });
        result
    }

    async fn load(&self, id: &OrgId) -> Result<Arc<ServedOrg<S>>, ApiError> {
        // A load that ended between the two looks of a request has left the organization here.
        if let Some(org) = self.loaded(id) {
            return Ok(org);
        }
        let store = self.medium.store(id).await;
        let store = store.map_err(|error| not_loaded(id, &error.to_string()))?;
        let org = self.make(id, store).await;
        let org = Arc::new(org.map_err(|error| not_loaded(id, &error.to_string()))?);
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(id.clone(), Arc::clone(&org));
        // Its authority reads the store in the next round.
        self.due.forget(id);
        let is_full = loaded.len() > self.max_loaded;
        drop(loaded);
        if is_full {
            self.evict();
        }
        Ok(org)
    }

    /// Reads the policies of an organization, and makes its authority. If the policies cannot be
    /// loaded, the organization decides nothing, and the chain records why.
    async fn make(&self, id: &OrgId, store: S) -> Result<ServedOrg<S>, Failure> {
        // Two chains with one name could not be told apart in exports.
        let local = self.local.authority.store().status().await?.head.org_id;
        if *local == *id.as_str() {
            return Err("the chain of `local` has this id".into());
        }
        let head = self.check_head(id, &store).await?;
        let path = (self.folders)(id);
        let shared = Arc::clone(&self.policies);
        let reading = off_thread("atlasent-policies", move || {
            PolicyFolder::read(path, shared)
        });
        let (policies, folder) = in_turn(&self.parsing, HANGING, reading).await?;
        let folder = folder.settle(self.settle);
        let (policies, refused) = match policies {
            Ok(policies) => (policies, None),
            Err(error) => {
                let nothing = Policies::builder().source("<policies>", NOTHING_IS_PERMITTED);
                (self.policies.build(nothing)?, Some(error))
            }
        };
        let known = lock(&self.recorded).get(id).cloned();
        let recorded = match (&refused, &known) {
            // The policies that replace those refused are no news for the chain.
            (Some(_), _) => Some(policies.digest().to_owned()),
            (None, Some(Recorded::Loaded(digest))) => Some(digest.clone()),
            (None, _) => None,
        };
        let like = &self.local.authority;
        let authority = LocalAuthorityBuilder::like(like, policies, store, id)
            .recorded_policies(recorded)
            .stand_in(refused.is_some())
            .build()
            .await?;
        if let Some(error) = &refused {
            self.reloads.count("refused");
            for problem in error.problems() {
                tracing::error!(target: "atlasent", org_id = %id, %problem, "policies refused; the organization decides nothing");
            }
            let refusal = Recorded::refused(error);
            if known.as_ref() != Some(&refusal) {
                authority.policies_refused(error).await?;
                lock(&self.recorded).insert(id.clone(), refusal);
            }
        }
        let has_policies = refused.is_none();
        Ok(ServedOrg::new(
            id.clone(),
            authority,
            Some(folder),
            head,
            has_policies,
        ))
    }

    /// Compares an organization's chain with its saved head.
    async fn check_head(&self, id: &OrgId, store: &S) -> Result<Option<HeadFile>, Failure> {
        let Some(head) = self.head_file(id) else {
            return Ok(None);
        };
        head.check(store).await?;
        lock(&self.checked).insert(id.clone());
        head.create_folder()?;
        Ok(Some(head))
    }
}

/// Awaits a read in a turn of its own. A read that hangs gives its turn up, so that those of other
/// organizations go on.
async fn in_turn<T>(turns: &Semaphore, hanging: Duration, read: impl Future<Output = T>) -> T {
    let turn = turns.acquire().await;
    let mut read = pin!(read);
    match timeout(hanging, &mut read).await {
        Ok(result) => result,
        Err(_) => {
            drop(turn);
            read.await
        }
    }
}

/// Removes a load from the list of loads, also if the load panics.
struct EndOfLoad<S> {
    loader: Arc<Loader<S>>,
    id: OrgId,
}

impl<S> Drop for EndOfLoad<S> {
    fn drop(&mut self) {
        lock(&self.loader.loads).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error for an organization that could not be loaded. The log gets the cause.
fn not_loaded(id: &OrgId, cause: &str) -> ApiError {
    const WHAT: &str = "an organization cannot be loaded";
    if let Some(suppressed) = OUTAGES.allow(WHAT) {
        tracing::error!(target: "atlasent", org_id = %id, cause, suppressed, "{WHAT}");
    }
    ApiError::unavailable(
        "STORE_UNAVAILABLE",
        "the organization of the API key could not be loaded: try again",
    )
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::{Either, select};

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_holds_no_other_up() {
        let turns = Semaphore::new(1);
        let hanging = pin!(in_turn(&turns, Duration::from_millis(1), pending::<()>()));
        let next = pin!(in_turn(&turns, HANGING, ready(7)));
        match select(hanging, next).await {
            Either::Right((seven, _)) => assert_eq!(seven, 7),
            Either::Left(_) => panic!("a pending read has ended"),
        }
    }
}
