//! The public options of a server with many organizations.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::OrgRegistry;
use crate::store::OrgId;

/// The organizations that a server serves beside `local`, and where their policies are.
///
/// The policies of an organization are loaded when its first request arrives. They are watched
/// while they are in memory, and leave it when no request has used them for a while. Permits,
/// stops and the audit trail are in the store all the time.
///
/// An organization whose policies are missing or invalid decides nothing: its evaluations and
/// verifications get the status 503 until the policies are valid. If valid policies become invalid
/// while they are in memory, the former ones stay in force, as for
/// [`local`](super::super::Server::watch), until they leave it.
///
/// ```
/// use std::path::Path;
/// use atlasent_authority::organizations::Organization;
/// use atlasent_authority::server::{OrgHosting, OrgRegistry};
///
/// let registry = OrgRegistry::new([Organization::new("acme".parse()?)]);
/// let hosting = OrgHosting::new(registry, |id| Path::new("policies").join(id.as_str()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OrgHosting {
    pub(super) registry: OrgRegistry,
    pub(super) folders: Arc<PathOf>,
    pub(super) archives: Option<Arc<PathOf>>,
    pub(super) heads: Option<Arc<PathOf>>,
    pub(super) accept_older_store: bool,
    pub(super) settle: Duration,
    pub(super) max_loaded: usize,
    pub(super) idle: Duration,
}

/// Names a file or a folder of an organization.
pub(super) type PathOf = dyn Fn(&OrgId) -> PathBuf + Send + Sync;

impl OrgHosting {
    /// Serves the organizations of a registry. `policies` names the folder of an organization's
    /// policies.
    pub fn new(
        registry: OrgRegistry,
        policies: impl Fn(&OrgId) -> PathBuf + Send + Sync + 'static,
    ) -> Self {
        Self {
            registry,
            folders: Arc::new(policies),
            archives: None,
            heads: None,
            accept_older_store: false,
            settle: Duration::from_secs(5),
            max_loaded: 1_000,
            idle: Duration::from_secs(600),
        }
    }

    /// Archives the old events of each organization in a folder of its own, which `bundles` names:
    /// those beyond the days that the [registry](crate::organizations::Organization::retain_days)
    /// sets, else those beyond the server's [`Retention`](super::super::Retention). By default,
    /// the events of organizations stay in the store.
    #[must_use]
    pub fn archive(mut self, bundles: impl Fn(&OrgId) -> PathBuf + Send + Sync + 'static) -> Self {
        self.archives = Some(Arc::new(bundles));
        self
    }

    /// Saves the head of each organization's chain in a file that `heads` names, as
    /// [`Server::save_head`](super::super::Server::save_head) does for `local`. An organization
    /// whose chain does not continue the saved head gets the status 503. By default, no heads are
    /// saved.
    #[must_use]
    pub fn save_heads(mut self, heads: impl Fn(&OrgId) -> PathBuf + Send + Sync + 'static) -> Self {
        self.heads = Some(Arc::new(heads));
        self
    }

    /// Accepts the chains that do not continue their saved heads when the server starts: after a
    /// backup was restored. `false` by default. The former head files are renamed and stay.
    #[must_use]
    pub fn accept_older_store(mut self, accept: bool) -> Self {
        self.accept_older_store = accept;
        self
    }

    /// Sets how long a changed folder has to stay unchanged before it is read: 5 seconds by
    /// default, as for a [`PolicyFolder`](super::super::PolicyFolder::settle).
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Sets for how many organizations policies are in memory at a time: 1,000 by default. Beyond
    /// that, those that have not been used for the longest time leave it. Organizations with a
    /// request under way stay.
    #[must_use]
    pub fn max_loaded(mut self, organizations: NonZeroUsize) -> Self {
        self.max_loaded = organizations.get();
        self
    }

    /// Sets how long an unused organization stays in memory: 10 minutes by default.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}

impl fmt::Debug for OrgHosting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrgHosting")
            .field("registry", &self.registry)
            .field("settle", &self.settle)
            .field("max_loaded", &self.max_loaded)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}
