//! The limits of a server.

use std::time::Duration;

use ipnet::IpNet;

/// The limits of a server, and the proxies that it trusts.
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
    /// How long a request may take. 10 seconds by default, which is how long the SDKs wait.
    pub request_timeout: Duration,
    /// How long an export of the audit trail or a backup may take. 10 minutes by default.
    pub export_timeout: Duration,
    /// How long the body of a request may take to arrive, within the time of the request. 5 seconds
    /// by default.
    pub body_timeout: Duration,
    /// How many requests are answered at a time; 1,024 by default. Requests beyond that get 503.
    /// The slots are shared out among the API keys, so that one key cannot take all of them.
    pub concurrency: usize,
    /// How many connections may be open at a time; 8,192 by default, and at most three quarters of
    /// the files that the process may have open. A new connection beyond that closes the one that
    /// has been idle for the longest time.
    pub connections: usize,
    /// How long a client may take to send the headers of a request. 10 seconds by default.
    pub header_timeout: Duration,
    /// How long requests may continue after the server was told to stop. 10 seconds by default.
    pub shutdown_timeout: Duration,
    /// The proxies whose `X-Forwarded-For` is trusted. Empty by default, since every client can
    /// send that header.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether to serve `/metrics`, which names actions and asks for no API key. `true` by default.
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
