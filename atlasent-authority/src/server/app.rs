//! What the server is made of, and how it is set.

use std::time::Duration;

use ipnet::IpNet;

use super::admission::Places;
use super::connections::possible;
use super::key_book::KeyBook;
use super::metrics::Metrics;
use super::reading::Readers;
use super::throttle::WrongKeys;
use crate::local::LocalAuthority;
use crate::signing::KeyRing;

/// What all requests share.
pub(super) struct App<S> {
    pub(super) authority: LocalAuthority<S>,
    pub(super) keys: KeyBook,
    pub(super) signing: KeyRing,
    pub(super) metrics: Metrics,
    pub(super) settings: Settings,
    pub(super) places: Places,
    pub(super) wrong_keys: WrongKeys,
    pub(super) readers: Readers,
}

impl<S> App<S> {
    pub(super) fn new(authority: LocalAuthority<S>, keys: KeyBook, signing: KeyRing) -> Self {
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

/// The limits of a server, and whom it believes.
///
/// ```
/// use std::time::Duration;
/// use atlasent_authority::server::Settings;
///
/// let mut settings = Settings::default();
/// settings.request_timeout = Duration::from_secs(2);
/// assert_eq!(settings.concurrency, 1_024);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How long any other request may take. 10 seconds by default, which is how long the SDKs wait.
    pub request_timeout: Duration,
    /// How long an export of the audit trail may take. 10 minutes by default.
    pub export_timeout: Duration,
    /// How long the body of a request may take to arrive, within the time of the request.
    /// 5 seconds by default.
    pub body_timeout: Duration,
    /// How many requests are answered at a time; 1,024 by default. Requests beyond that get 503.
    /// The places are shared out among the API keys: however many one key holds, another finds one.
    pub concurrency: usize,
    /// How many connections are open at a time; 8,192 by default, and at most three quarters of the
    /// files that the process may have open. For a new one beyond that, the connection that has
    /// been idle for the longest time is closed.
    pub connections: usize,
    /// How long a client may take to send the head of a request. 10 seconds by default.
    pub header_timeout: Duration,
    /// How long requests may go on when the server is told to stop. 10 seconds by default.
    pub shutdown_timeout: Duration,
    /// The proxies whose `X-Forwarded-For` is believed. None by default: anybody can write that
    /// header.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `/metrics` is served beside the API. It names actions, and asks for no key.
    pub metrics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            export_timeout: Duration::from_secs(600),
            body_timeout: Duration::from_secs(5),
            concurrency: 1_024,
            connections: 8_192,
            header_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            metrics: true,
        }
    }
}
