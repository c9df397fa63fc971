//! The directory of organizations: it hands out the one that a request belongs to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::hosting::PathOf;
use super::loader::Loader;
use super::{OrgHosting, OrgRegistry, ServedOrg};
use crate::local::LocalAuthority;
use crate::organizations::Organization;
use crate::server::api_error::ApiError;
use crate::server::metrics::ReloadCounter;
use crate::store::{OrgId, Organizations, Store, StoreError};

/// The length of a day of retention.
const DAY: Duration = Duration::from_secs(86_400);

/// How long the load of an organization whose decisions are due may take before others have its
/// turn. The load itself goes on.
const HANGING: Duration = Duration::from_secs(5);

/// When an organization whose decisions are due is loaded again, after it could not be loaded.
const DUE_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// The organizations of a server: `local`, and those of a registry if the server hosts others.
pub(crate) struct OrgDirectory<S> {
    local: Arc<ServedOrg<S>>,
    hosted: Option<Hosted<S>>,
}

struct Hosted<S> {
    registry: OrgRegistry,
    archives: Option<Arc<PathOf>>,
    accept_older_store: bool,
    loader: Arc<Loader<S>>,
}

impl<S> OrgDirectory<S> {
    /// Creates a directory of `local` alone.
    pub(crate) fn new(authority: LocalAuthority<S>) -> Self {
        Self {
            local: Arc::new(ServedOrg::local(authority)),
            hosted: None,
        }
    }

    /// The organization that the server was made with. Endpoints use the organization of their
    /// caller instead.
    pub(crate) fn local(&self) -> &ServedOrg<S> {
        &self.local
    }

    /// The organization that the server was made with, for code of this process.
    pub(crate) fn shared_local(&self) -> Arc<ServedOrg<S>> {
        Arc::clone(&self.local)
    }

    /// The registry, if the server hosts other organizations.
    pub(crate) fn registry(&self) -> Option<&OrgRegistry> {
        self.hosted.as_ref().map(|hosted| &hosted.registry)
    }

    /// The number of organizations in the registry.
    pub(crate) fn count(&self) -> usize {
        self.registry().map_or(0, OrgRegistry::len)
    }

    /// Returns the organizations whose old events are archived: how long they keep events, and the
    /// folder of their bundles. `default` is for those that the registry sets no time for.
    pub(crate) fn retentions(&self, default: Option<Duration>) -> Vec<(OrgId, Duration, PathBuf)> {
        let Some(hosted) = &self.hosted else {
            return Vec::new();
        };
        let Some(archives) = &hosted.archives else {
            return Vec::new();
        };
        let all = hosted.registry.all().into_iter();
        all.filter_map(|org| {
            let days = org.retain_days.map(|days| DAY.saturating_mul(days.get()));
            Some((org.id.clone(), days.or(default)?, archives(&org.id)))
        })
        .collect()
    }

    /// The loader of the other organizations, if the server hosts any.
    pub(crate) fn loader(&self) -> Option<&Arc<Loader<S>>> {
        self.hosted.as_ref().map(|hosted| &hosted.loader)
    }
}

impl<S: Store> OrgDirectory<S> {
    /// Returns the store of a registered organization beside `local`, suspended or not. Its
    /// policies need not be in memory.
    pub(crate) async fn store(&self, id: &OrgId) -> Option<Result<S, StoreError>> {
        let hosted = self.hosted.as_ref()?;
        hosted.registry.get(id)?;
        Some(hosted.loader.store(id).await)
    }

    /// Returns the organizations in memory that requests may reach: those that are registered and
    /// not suspended.
    pub(crate) fn active(&self) -> Vec<Arc<ServedOrg<S>>> {
        let Some(hosted) = &self.hosted else {
            return Vec::new();
        };
        let mut loaded = hosted.loader.all_loaded();
        loaded.retain(|org| active(&hosted.registry, &org.id).is_ok());
        loaded
    }

    /// Returns the registered organizations of which it is not known when decisions are due.
    pub(crate) fn with_unknown_due(&self) -> Vec<OrgId> {
        let Some(hosted) = &self.hosted else {
            return Vec::new();
        };
        let ids = hosted.registry.all().into_iter().map(|org| org.id.clone());
        ids.filter(|id| !hosted.loader.knows_due(id)).collect()
    }

    /// Reads when the first pending decision of an organization is due.
    pub(crate) async fn find_due(&self, id: &OrgId) -> Result<(), StoreError> {
        match &self.hosted {
            Some(hosted) => hosted.loader.find_due(id).await,
            None => Ok(()),
        }
    }

    /// Returns the organizations whose decisions are due and that are not in memory, at most
    /// `limit`. Each is to be [loaded](Self::load_due).
    pub(crate) fn take_due(&self, now: Timestamp, limit: usize) -> Vec<OrgId> {
        let loader = self.loader();
        loader.map_or_else(Vec::new, |loader| loader.take_due(now, limit))
    }

    /// Loads an organization whose decisions are due. One that cannot be loaded now, whose load
    /// hangs, or that is suspended, is due again after a minute. One that is registered no more is
    /// forgotten.
    pub(crate) async fn load_due(&self, id: &OrgId, now: Timestamp) -> Option<Arc<ServedOrg<S>>> {
        let opened = timeout(HANGING, self.open(id)).await;
        let opened = opened.ok().and_then(Result::ok);
        if opened.is_none()
            && let Some(hosted) = &self.hosted
            && hosted.registry.get(id).is_some()
        {
            let later = now.saturating_add(DUE_AGAIN).unwrap_or(Timestamp::MAX);
            hosted.loader.note_due(id, later);
        }
        opened
    }

    /// Accepts the chains of the registered organizations as they are, if the server is set to.
    pub(crate) async fn accept_chains(&self) {
        if let Some(hosted) = &self.hosted
            && hosted.accept_older_store
        {
            for org in hosted.registry.all() {
                hosted.loader.accept_chain(&org.id).await;
            }
        }
    }

    /// Hosts other organizations, too. `reloads` counts the policies that are refused.
    pub(in crate::server) fn host(&mut self, hosting: OrgHosting, reloads: ReloadCounter)
    where
        S: Organizations<Store = S>,
    {
        let loader = Loader::new(Arc::clone(&self.local), &hosting, reloads);
        self.hosted = Some(Hosted {
            registry: hosting.registry,
            archives: hosting.archives,
            accept_older_store: hosting.accept_older_store,
            loader: Arc::new(loader),
        });
    }

    /// Returns the organization of an API key, with the limits that the registry has now. Refuses
    /// an organization that is suspended or unknown, also if it is in memory.
    pub(crate) async fn open(&self, id: &OrgId) -> Result<Arc<ServedOrg<S>>, ApiError> {
        if id.is_local() {
            return Ok(Arc::clone(&self.local));
        }
        let hosted = self.hosted.as_ref().ok_or_else(|| unknown(id))?;
        active(&hosted.registry, id)?;
        let org = hosted.loader.get(id).await?;
        // A load takes a while, in which the record may have changed.
        let registered = active(&hosted.registry, id)?;
        org.set_limits(&registered.limits);
        Ok(org)
    }
}

/// Returns the record of an organization. Refuses one that is suspended or unknown.
fn active(registry: &OrgRegistry, id: &OrgId) -> Result<Arc<Organization>, ApiError> {
    let registered = registry.get(id).ok_or_else(|| unknown(id))?;
    match registered.suspended {
        None => Ok(registered),
        Some(_) => Err(ApiError::forbidden(
            "ORGANIZATION_SUSPENDED",
            format!("the organization `{id}` is suspended: ask the operator of this server"),
        )),
    }
}

fn unknown(id: &OrgId) -> ApiError {
    ApiError::forbidden(
        "UNKNOWN_ORGANIZATION",
        format!("the API key belongs to the organization `{id}`, which this server does not serve"),
    )
}
