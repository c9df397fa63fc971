//! What the server is made of, and how it is set.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use tokio::sync::Semaphore;

use super::key_book::KeyBook;
use super::metrics::Metrics;
use super::reading::Readers;
use crate::local::LocalAuthority;
use crate::signing::KeyRing;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What all requests share.
pub(super) struct App<S> {
    pub(super) authority: LocalAuthority<S>,
    pub(super) keys: KeyBook,
    pub(super) signing: KeyRing,
    pub(super) metrics: Metrics,
    pub(super) settings: Settings,
    pub(super) places: Semaphore,
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
            places: Semaphore::new(settings.concurrency),
            readers: Readers::new(settings.concurrency),
            settings,
        }
    }

    pub(super) fn set(&mut self, settings: Settings) {
        self.places = Semaphore::new(settings.concurrency);
        self.readers = Readers::new(settings.concurrency);
        self.settings = settings;
    }
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
    /// How many requests are answered at a time; 1,024 by default. Whoever comes beyond that is told to come again.
    pub concurrency: usize,
    /// How long a client may take to send the head of a request. 10 seconds by default.
    pub header_timeout: Duration,
    /// How long requests may go on when the server is told to stop. 10 seconds by default.
    pub shutdown_timeout: Duration,
    /// The proxies whose `X-Forwarded-For` is believed. None by default: anybody can write that header.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `/metrics` is served beside the API. It names actions, and asks for no key.
    pub metrics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            export_timeout: Duration::from_secs(600),
            concurrency: 1_024,
            header_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            metrics: true,
        }
    }
}

impl Settings {
    /// The address of the client: the peer's, or the last one that no trusted proxy has.
    pub(super) fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusted = |address: &IpAddr| {
            (self.trusted_proxies.iter()).any(|network| network.contains(address))
        };
        if !trusted(&peer) {
            return peer;
        }
        let lists: Vec<&str> = (headers.get_all(FORWARDED_FOR).iter())
            .filter_map(|list| list.to_str().ok())
            .collect();
        let mut address = peer;
        for hop in lists.iter().flat_map(|list| list.split(',')).rev() {
            // What cannot be read was written by nobody who is trusted, so the way back ends here.
            let Ok(hop) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            address = hop.to_canonical();
            if !trusted(&address) {
                break;
            }
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(peer: &str, trusted: &[&str], forwarded: &[&str]) -> String {
        let settings = Settings {
            trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
            ..Settings::default()
        };
        let mut headers = HeaderMap::new();
        for list in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(list).unwrap());
        }
        let peer = peer.parse().unwrap();
        settings.client_address(peer, &headers).to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(seen("9.9.9.9", &[], &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(seen("9.9.9.9", &["10.0.0.0/8"], &["1.1.1.1"]), "9.9.9.9");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_clients() {
        let proxies = ["10.0.0.0/8"];
        assert_eq!(seen("10.0.0.1", &proxies, &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(
            seen("10.0.0.1", &proxies, &["6.6.6.6, 1.1.1.1, 10.0.0.2"]),
            "1.1.1.1"
        );
        assert_eq!(
            seen("10.0.0.1", &proxies, &["6.6.6.6", "1.1.1.1"]),
            "1.1.1.1"
        );
        assert_eq!(seen("10.0.0.1", &proxies, &["::ffff:1.1.1.1"]), "1.1.1.1");
        assert_eq!(
            seen("10.0.0.1", &proxies, &["1.1.1.1, nonsense"]),
            "10.0.0.1"
        );
        assert_eq!(seen("10.0.0.1", &proxies, &[]), "10.0.0.1");
        assert_eq!(
            seen("10.0.0.1", &proxies, &["10.0.0.3, 10.0.0.2"]),
            "10.0.0.3"
        );
    }
}
