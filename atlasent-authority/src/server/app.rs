//! The state that all requests of a server share.

use std::sync::Arc;

use super::api_keys::ApiKeys;
#[cfg(feature = "console")]
use super::console::Console;
use super::entry::admission::{ConcurrencySlots, Sharing};
use super::entry::turns::Turns;
use super::entry::wrong_keys::WrongKeys;
use super::listen::connections::max_connections;
use super::metrics::Metrics;
#[cfg(feature = "oidc")]
use super::oidc::OidcVerifier;
use super::organizations::{OrgDirectory, ServedOrg};
use super::read_pool::ReadPools;
use super::settings::Settings;
use super::shadow::Shadow;
use crate::clock::Clock;
use crate::local::LocalAuthority;
use crate::signing::KeyRing;
use crate::store::OrgId;

/// The state that all requests of a server share.
pub(crate) struct App<S> {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) organizations: OrgDirectory<S>,
    pub(super) keys: ApiKeys,
    pub(super) signing: KeyRing,
    pub(super) metrics: Metrics,
    pub(super) settings: Settings,
    pub(super) slots: ConcurrencySlots,
    /// The slots of requests that wait for people.
    pub(super) waits: ConcurrencySlots,
    pub(super) turns: Turns,
    pub(super) wrong_keys: WrongKeys,
    pub(super) read_pools: ReadPools,
    pub(super) shadow: Option<Shadow>,
    /// Verifies the tokens of people who approve.
    #[cfg(feature = "oidc")]
    pub(super) oidc: Option<OidcVerifier>,
    /// The pages for people. Unset without a console.
    #[cfg(feature = "console")]
    pub(super) console: Option<Console>,
}

impl<S> App<S> {
    pub(super) fn new(authority: LocalAuthority<S>, keys: ApiKeys, signing: KeyRing) -> Self {
        let settings = Settings::default();
        Self {
            clock: Arc::clone(&authority.clock),
            organizations: OrgDirectory::new(authority),
            keys,
            signing,
            metrics: Metrics::new(),
            slots: slots(&settings),
            waits: waits(&settings),
            turns: Turns::new(threads()),
            wrong_keys: WrongKeys::new(),
            read_pools: ReadPools::new(settings.concurrency),
            shadow: None,
            #[cfg(feature = "oidc")]
            oidc: None,
            #[cfg(feature = "console")]
            console: None,
            settings,
        }
    }

    /// The organization that the server was made with.
    pub(super) fn local(&self) -> &ServedOrg<S> {
        self.organizations.local()
    }

    /// Returns whether the requests of an API key of this organization, or of a person there, share
    /// the slots with others.
    pub(super) fn sharing(&self, org: &OrgId) -> Sharing {
        #[cfg(feature = "oidc")]
        let people = self.oidc.as_ref().map(OidcVerifier::organization);
        #[cfg(not(feature = "oidc"))]
        let people = None;
        self.keys.sharing(org, people)
    }

    /// Replaces the settings, and makes the slots and the pools anew.
    pub(super) fn set(&mut self, settings: Settings) {
        self.slots = slots(&settings);
        self.waits = waits(&settings);
        self.read_pools = ReadPools::new(settings.concurrency);
        self.settings = settings;
    }
}

/// The slots of a server, at most as many as it can have connections: the requests of one key,
/// which cannot take all slots, then cannot take all connections either.
fn slots(settings: &Settings) -> ConcurrencySlots {
    ConcurrencySlots::new((settings.concurrency).min(max_connections(settings.connections)))
}

/// The slots of requests that wait for people: as many as there are connections, since a waiting
/// request costs little more than its connection.
fn waits(settings: &Settings) -> ConcurrencySlots {
    ConcurrencySlots::new(max_connections(settings.connections))
}

/// How many threads poll the requests: by default, a runtime has one for each processor.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
