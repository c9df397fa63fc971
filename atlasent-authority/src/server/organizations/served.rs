//! One organization as the server serves it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::local::LocalAuthority;
use crate::local::limits::TotalLimits;
use crate::organizations::OrgLimits;
use crate::server::api_error::ApiError;
use crate::server::tasks::PolicyFolder;
use crate::store::{OrgId, Store};
use crate::trail::head_file::{HeadFile, HeadFileError};

/// How long a request may run after its organization was used. Its events may be missing from a
/// head that is saved earlier.
const UNDER_WAY: Duration = Duration::from_secs(30);

/// The time of a head that was never saved.
const NEVER: u64 = u64::MAX;

/// An organization that the server serves. A request reaches the organization of its API key only,
/// through its [`ApiCaller`](crate::server::entry::caller::ApiCaller).
pub(crate) struct ServedOrg<S> {
    pub(crate) id: OrgId,
    pub(crate) authority: LocalAuthority<S>,
    /// The watched policies. Those of `local` are watched by a task of their own.
    pub(in crate::server) folder: Option<Mutex<PolicyFolder>>,
    /// The saved head of the chain. That of `local` has a task of its own.
    head: Option<HeadFile>,
    /// Whether the organization has valid policies. Without, it decides nothing.
    has_policies: AtomicBool,
    /// The largest number of calls a minute; `u64::MAX` without a limit.
    rate_limit: AtomicU64,
    made_at: Instant,
    /// When the organization was used last, in milliseconds since `made_at`.
    used_at: AtomicU64,
    /// `used_at` when the head was saved with all events of that use; [`NEVER`] before.
    saved_at: AtomicU64,
}

impl<S> ServedOrg<S> {
    /// Creates the organization `local`, whose authority the server was made with.
    pub(super) fn local(authority: LocalAuthority<S>) -> Self {
        Self::new(OrgId::local(), authority, None, None, true)
    }

    /// Creates another organization.
    pub(super) fn new(
        id: OrgId,
        authority: LocalAuthority<S>,
        folder: Option<PolicyFolder>,
        head: Option<HeadFile>,
        has_policies: bool,
    ) -> Self {
        Self {
            id,
            authority,
            folder: folder.map(Mutex::new),
            head,
            has_policies: AtomicBool::new(has_policies),
            rate_limit: AtomicU64::new(u64::MAX),
            made_at: Instant::now(),
            used_at: AtomicU64::new(0),
            saved_at: AtomicU64::new(NEVER),
        }
    }

    /// The largest number of calls a minute of all API keys together, if there is a limit.
    pub(crate) fn rate_limit(&self) -> Option<u64> {
        let limit = self.rate_limit.load(Ordering::Relaxed);
        (limit < u64::MAX).then_some(limit)
    }

    /// Applies the limits that the registry has now.
    pub(super) fn set_limits(&self, limits: &OrgLimits)
    where
        S: Store,
    {
        let rate = limits
            .rate_limit_per_minute
            .map_or(u64::MAX, |limit| limit.get());
        self.rate_limit.store(rate, Ordering::Relaxed);
        self.authority.set_limits(TotalLimits {
            max_permits: limits.max_permits,
            max_approvals: limits.max_approvals,
            max_events: limits.max_events,
        });
    }

    /// Notes that valid policies are in force.
    pub(in crate::server) fn policies_loaded(&self) {
        self.has_policies.store(true, Ordering::Release);
    }

    /// Returns whether the organization has had valid policies.
    pub(in crate::server) fn has_policies(&self) -> bool {
        self.has_policies.load(Ordering::Acquire)
    }

    /// Checks that the organization can decide. Everything else works without policies: stops,
    /// revocations, and reading the trail.
    pub(crate) fn check_policies(&self) -> Result<(), ApiError> {
        match self.has_policies() {
            true => Ok(()),
            false => Err(ApiError::unavailable(
                "POLICIES_UNAVAILABLE",
                "the policies of this organization cannot be loaded, so nothing is decided: ask its operator",
            )),
        }
    }

    /// Saves the head of the chain if the organization was used since the head was saved last.
    pub(in crate::server) async fn save_head(&self) -> Result<(), HeadFileError>
    where
        S: Store,
    {
        let used_at = self.used_at.load(Ordering::Relaxed);
        let is_complete = self.idle_for() > UNDER_WAY;
        if let Some(head) = &self.head
            && self.has_unsaved_head()
        {
            head.save(self.authority.store()).await?;
            if is_complete {
                self.saved_at.store(used_at, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Returns whether the organization was used since its head was saved.
    pub(super) fn has_unsaved_head(&self) -> bool {
        let used_at = self.used_at.load(Ordering::Relaxed);
        self.head.is_some() && used_at != self.saved_at.load(Ordering::Relaxed)
    }

    /// Notes a use.
    pub(super) fn touch(&self) {
        let now = u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used_at.store(now, Ordering::Relaxed);
    }

    /// How long the organization has not been used.
    pub(super) fn idle_for(&self) -> Duration {
        let used_at = Duration::from_millis(self.used_at.load(Ordering::Relaxed));
        self.made_at.elapsed().saturating_sub(used_at)
    }
}
