//! What all requests of a server share.

use super::api_keys::ApiKeys;
use super::entry::admission::Places;
use super::entry::wrong_keys::WrongKeys;
use super::listen::connections::possible;
use super::metrics::Metrics;
use super::read_pool::Readers;
use super::settings::Settings;
use crate::local::LocalAuthority;
use crate::signing::KeyRing;

/// What all requests share.
pub(crate) struct App<S> {
    pub(super) authority: LocalAuthority<S>,
    pub(super) keys: ApiKeys,
    pub(super) signing: KeyRing,
    pub(super) metrics: Metrics,
    pub(super) settings: Settings,
    pub(super) places: Places,
    pub(super) wrong_keys: WrongKeys,
    pub(super) readers: Readers,
}

impl<S> App<S> {
    pub(super) fn new(authority: LocalAuthority<S>, keys: ApiKeys, signing: KeyRing) -> Self {
        let settings = Settings::default();
        Self {
            authority,
            keys,
            signing,
            metrics: Metrics::new(),
            places: places(&settings),
            wrong_keys: WrongKeys::new(),
            readers: Readers::new(settings.concurrency),
            settings,
        }
    }

    pub(super) fn set(&mut self, settings: Settings) {
        self.places = places(&settings);
        self.readers = Readers::new(settings.concurrency);
        self.settings = settings;
    }
}

/// As many places as there can be connections, at most: the requests of one key, which cannot take
/// all places, then cannot take all connections either.
fn places(settings: &Settings) -> Places {
    Places::new(settings.concurrency.min(possible(settings.connections)))
}
