//! How a client is set up: from the program, else from the environment, else by default.

use std::env;
use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::SecretString;

use super::cache::Allows;
use super::endpoint::{self, Endpoint};
use super::http::Http;
use super::key::ApiKey;
use super::retry::{LONGEST_BACKOFF, Limits};
use super::time::Time;
use super::transport::Transport;
use super::{Client, DecisionCache, Shared};
use crate::Error;
use crate::authority::Issuer;
use crate::error::ConfigError;
#[cfg(feature = "testing")]
use crate::testing::VirtualTime;
use crate::text::redact::excerpt;

const USER_AGENT: &str = concat!("atlasent-rust/", env!("CARGO_PKG_VERSION"));
const KEY_VARIABLE: &str = "ATLASENT_API_KEY";
const URL_VARIABLE: &str = "ATLASENT_BASE_URL";
/// More than this many retries are a mistake.
const MOST_RETRIES: u32 = 100;
/// Limits longer than this are rejected.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Sets up a [`Client`]. What is not set comes from the environment or has a default.
///
/// ```
/// use std::time::Duration;
/// use atlasent::Client;
///
/// let client = Client::builder()
///     .api_key("ask_test_0123456789") // else ATLASENT_API_KEY
///     .base_url("https://atlasent.example.com") // else ATLASENT_BASE_URL, else the hosted service
///     .timeout(Duration::from_secs(10)) // of one attempt: the default
///     .deadline(Duration::from_secs(30)) // of a call with all its attempts: the default
///     .max_retries(2) // the default
///     .retry_backoff(Duration::from_millis(500)) // doubles with each retry: the default
///     .snapshot_source("my-service")
///     .build()?;
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// A second call of a method replaces what the first one set; no method adds to another call of
/// itself. `Debug` shows neither the key nor what a URL or an HTTP client may hold of passwords.
#[derive(Default)]
#[must_use = "a builder does nothing before `build`"]
pub struct ClientBuilder {
    api_key: Option<SecretString>,
    base_url: Option<String>,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    max_retries: Option<u32>,
    backoff: Option<Duration>,
    cache: Option<DecisionCache>,
    snapshot_source: Option<String>,
    user_agent_suffix: Option<String>,
    http_client: Option<reqwest::ClientBuilder>,
    export_limit: Option<usize>,
    stream_limit: Option<usize>,
    time: Time,
}

impl ClientBuilder {
    /// Sets the API key: `ask_live_…` or `ask_test_…`. By default that of `ATLASENT_API_KEY`. A
    /// second call replaces it.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(SecretString::from(key.into()));
        self
    }

    /// Sets where the API is. By default where `ATLASENT_BASE_URL` says, else the hosted service. A
    /// second call replaces it.
    ///
    /// Plain `http` is accepted for this machine only, unless `ATLASENT_ALLOW_INSECURE_HTTP` is
    /// `1`. A URL with a user or a password is rejected: the API key is the only credential that is
    /// sent.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Sets how long one attempt may take, its answer included: 10 seconds by default. A second
    /// call replaces it.
    ///
    /// A timeout that needs a longer [`deadline`](Self::deadline) than the default raises the
    /// default. One that exceeds a deadline which was set, too, is rejected by
    /// [`build`](Self::build).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets how long a call may take, with all its attempts and the waits between them. A second
    /// call replaces it.
    ///
    /// By default it is 30 seconds. Where [`timeout`](Self::timeout),
    /// [`max_retries`](Self::max_retries) or [`retry_backoff`](Self::retry_backoff) is set and
    /// needs more, the default is as long as all attempts and the longest waits between them may
    /// take. A deadline below the default timeout shortens every attempt to itself. A server that
    /// asks for a wait beyond the deadline (`Retry-After`) ends the call at once; the error says
    /// how long it [asks](crate::error::Failure::retry_after).
    ///
    /// `protect` makes two calls.
    ///
    /// ```
    /// use std::time::Duration;
    /// use atlasent::Client;
    ///
    /// let builder = || Client::builder().api_key("ask_test_0123456789");
    /// let minute = Duration::from_secs(60);
    /// assert!(builder().timeout(minute).build().is_ok()); // three attempts of a minute each, and the waits
    /// assert!(builder().timeout(minute).deadline(minute / 2).build().is_err());
    /// ```
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets how often a call is tried again when the server fails or does not answer: twice by
    /// default, 100 times at most. A second call replaces it.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Sets the longest wait before the first retry: half a second by default, 16 seconds at most.
    /// A second call replaces it.
    ///
    /// It doubles with each retry, up to 16 seconds, and the wait is drawn at random below it. Zero
    /// retries at once.
    pub fn retry_backoff(mut self, backoff: Duration) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Remembers allows for [`Client::evaluate`]. Off by default. No permit ever comes out of it. A
    /// second call replaces the cache.
    pub fn cache(mut self, cache: DecisionCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Stands in where a request has no `state_snapshot`: `{"source": …, "complete": true}`. Hosted
    /// policies refuse most actions without a snapshot (`SNAPSHOT_REQUIRED`). A second call
    /// replaces the source.
    pub fn snapshot_source(mut self, source: impl Into<String>) -> Self {
        self.snapshot_source = Some(source.into());
        self
    }

    /// Is appended to the `User-Agent`, to tell programs apart: `my-service/1.2`. A second call
    /// replaces the suffix.
    pub fn user_agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.user_agent_suffix = Some(suffix.into());
        self
    }

    /// Sends requests with an HTTP client of these settings: for proxies and certificates of your
    /// own. A second call replaces all of them.
    ///
    /// It takes settings and not a finished `reqwest::Client`, because three of them are not the
    /// caller's to choose. [`build`](Self::build) sets them last, whatever was set before:
    ///
    /// - No redirect is followed. A client that follows one sends key and token on before anything
    ///   can be checked.
    /// - `reqwest` retries nothing by itself. A permit is used up by its verification, so only this
    ///   client, which tells when an attempt may have been heard, sends a call again.
    /// - Nothing of the connection is logged: `connection_verbose` writes the key into the log.
    ///
    /// Timeouts of the settings count beside those of this builder: the shorter one ends an
    /// attempt. A base URL on this machine is never reached through a proxy. Which servers the
    /// connection trusts stays the caller's choice: settings that `reqwest` calls `danger…`, or a
    /// TLS configuration of your own, count as they are. Its connections belong to the runtime that
    /// opens them, so use one client in one runtime.
    ///
    /// ```
    /// use atlasent::Client;
    ///
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// let http = reqwest::Client::builder().proxy(reqwest::Proxy::https("http://proxy.example.com:3128")?);
    /// let client = Client::builder().api_key("ask_test_0123456789").http_client(http).build()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Panics
    ///
    /// This method does not, but `build` does where `reqwest` panics: where the settings name no
    /// TLS, `reqwest` was built without a provider of its own, and none is installed for the
    /// process (`rustls::crypto::CryptoProvider::install_default`).
    pub fn http_client(mut self, settings: reqwest::ClientBuilder) -> Self {
        self.http_client = Some(settings);
        self
    }

    /// Sets the size of the largest audit export that is accepted, in bytes: 64 MiB by default. A
    /// second call replaces it.
    pub fn export_limit(mut self, bytes: usize) -> Self {
        self.export_limit = Some(bytes);
        self
    }

    /// Sets how much a stream may send in all, in bytes: 16 MiB by default, of which one event may
    /// have 1 MiB. A second call replaces it.
    pub fn stream_limit(mut self, bytes: usize) -> Self {
        self.stream_limit = Some(bytes);
        self
    }

    /// Waits between attempts in a test's own time. A second call replaces it.
    #[cfg(feature = "testing")]
    pub fn virtual_time(mut self, time: &VirtualTime) -> Self {
        self.time = Time::Virtual(time.clone());
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when there is no key, a setting is wrong, or two of them contradict each
    /// other. The key is not repeated, and of a wrong URL nothing that may be a password.
    pub fn build(self) -> Result<Client, Error> {
        let limits = self.limits()?;
        let api_key = match self.api_key {
            Some(key) => key,
            None => SecretString::from(variable(KEY_VARIABLE)?.ok_or_else(|| {
                Error::config(format!(
                    "there is no API key: set `{KEY_VARIABLE}`, or name one with `api_key`"
                ))
            })?),
        };
        let base_url = match self.base_url {
            Some(url) => url,
            None => variable(URL_VARIABLE)?.unwrap_or_else(|| endpoint::DEFAULT.to_owned()),
        };
        let endpoint = Endpoint::new(&base_url)?;
        let http = match self.http_client {
            Some(settings) => Http::given(settings, &endpoint)?,
            None => Http::pooled(&endpoint)?,
        };
        let cache = self.cache.as_ref().map(Allows::new).transpose()?;
        Ok(Client {
            shared: Shared {
                transport: Transport {
                    endpoint,
                    key: ApiKey::new(api_key)?,
                    user_agent: user_agent(self.user_agent_suffix.as_deref())?,
                    http,
                    limits,
                    time: self.time,
                },
                cache,
                snapshot_source: self.snapshot_source,
                export_limit: self.export_limit.unwrap_or(64 * 1024 * 1024),
                stream_limit: self.stream_limit.unwrap_or(16 * 1024 * 1024),
                issuer: Issuer::new(),
            }
            .into(),
        })
    }

    /// The limits of a call. What cannot hold beside the rest is an error: a limit that is cut
    /// without a word is found when it is needed.
    fn limits(&self) -> Result<Limits, Error> {
        let refuse = |why: String| Err(Error::config(why));
        for (name, limit) in [("timeout", self.timeout), ("deadline", self.deadline)] {
            if let Some(limit) = limit.filter(|limit| limit.is_zero() || *limit > LONGEST) {
                return refuse(format!(
                    "a {name} of {limit:?} makes no sense: choose one above zero and up to a day"
                ));
            }
        }
        let defaults = Limits::default();
        let timeout = self.timeout.unwrap_or(defaults.timeout);
        let max_retries = self.max_retries.unwrap_or(defaults.max_retries);
        let backoff = self.backoff.unwrap_or(defaults.backoff);
        if max_retries > MOST_RETRIES {
            return refuse(format!(
                "{max_retries} retries are too many: choose at most {MOST_RETRIES}"
            ));
        }
        if backoff > LONGEST_BACKOFF {
            return refuse(format!(
                "a first retry after {backoff:?} is too late: choose at most {LONGEST_BACKOFF:?}"
            ));
        }
        let mut limits = Limits {
            timeout,
            max_retries,
            backoff,
            ..defaults
        };
        let is_default = (self.timeout, self.max_retries, self.backoff) == (None, None, None);
        match self.deadline {
            Some(deadline) if self.timeout.is_some_and(|timeout| timeout > deadline) => {
                return refuse(format!(
                    "an attempt of {timeout:?} does not fit into a deadline of {deadline:?}: raise the deadline, or \
                     leave it out, and it is as long as a call may take"
                ));
            }
            Some(deadline) => limits.deadline = deadline,
            None if is_default => {}
            None => limits.deadline = limits.deadline.max(limits.longest_call()),
        }
        Ok(limits)
    }
}

/// Prints no key, no password and no header.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("api_key", &self.api_key.as_ref().map(|_| Hidden))
            .field(
                "base_url",
                &self.base_url.as_deref().map(endpoint::without_secrets),
            )
            .field("timeout", &self.timeout)
            .field("deadline", &self.deadline)
            .field("max_retries", &self.max_retries)
            .field("backoff", &self.backoff)
            .field("cache", &self.cache)
            .field("snapshot_source", &self.snapshot_source)
            .field("user_agent_suffix", &self.user_agent_suffix)
            .field("http_client", &self.http_client.as_ref().map(|_| Hidden))
            .field("export_limit", &self.export_limit)
            .field("stream_limit", &self.stream_limit)
            .field("time", &self.time)
            .finish()
    }
}

/// Stands for something that is set and not shown.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A variable of the environment. An empty one is as good as none.
fn variable(name: &str) -> Result<Option<String>, Error> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(Error::config(format!("`{name}` is not UTF-8: set it anew")))
        }
    }
}

fn user_agent(suffix: Option<&str>) -> Result<HeaderValue, Error> {
    let Some(suffix) = suffix else {
        return Ok(HeaderValue::from_static(USER_AGENT));
    };
    HeaderValue::try_from(format!("{USER_AGENT} {suffix}")).map_err(|error| {
        let message = format!(
            "the user agent suffix `{}` cannot stand in a header: use visible ASCII",
            excerpt(suffix)
        );
        ConfigError::new(message).with_source(error).into()
    })
}

#[cfg(test)]
mod tests;
