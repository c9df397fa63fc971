//! The settings of a client: from the program, else from the environment, else the default.

use std::env;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::SecretString;

use super::cache::AllowCache;
use super::credential::Credential;
use super::endpoint::{self, Endpoint};
use super::http::Http;
use super::receipts;
use super::retry::{CallLimits, MAX_BACKOFF};
use super::schema::RequiredSchema;
use super::time::Clock;
use super::transport::{self, Transport};
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
/// The maximum number of retries.
const MAX_RETRIES: u32 = 100;
/// The maximum timeout and deadline.
const MAX_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Builds a [`Client`]. Settings that are not set come from the environment or have a default.
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
/// A second call of a method replaces the value of the first. `Debug` prints neither the key nor
/// passwords in a URL or an HTTP client.
#[derive(Default)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    api_key: Option<SecretString>,
    bearer_token: Option<SecretString>,
    base_url: Option<String>,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    max_retries: Option<u32>,
    backoff: Option<Duration>,
    cache: Option<DecisionCache>,
    snapshot_source: Option<String>,
    user_agent_suffix: Option<String>,
    required_schema: Option<String>,
    http_client: Option<reqwest::ClientBuilder>,
    export_limit: Option<usize>,
    stream_limit: Option<usize>,
    receipts: bool,
    time: Clock,
}

impl ClientBuilder {
    /// Sets the API key: `ask_live_…` or `ask_test_…`. The default is the value of
    /// `ATLASENT_API_KEY`. A second call replaces the key.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(SecretString::from(key.into()));
        self
    }

    /// Sets a bearer token, which is sent in place of an API key: the token of a person, from an
    /// OpenID Connect issuer that the server accepts. With it, the client can list, read and decide
    /// pending decisions, and nothing else. `ATLASENT_API_KEY` is then not read. The client does
    /// not renew the token. A second call replaces the token.
    ///
    /// [`build`](Self::build) rejects a token beside an [`api_key`](Self::api_key).
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        self.bearer_token = Some(SecretString::from(token.into()));
        self
    }

    /// Sets the base URL of the API. The default is the value of `ATLASENT_BASE_URL`, else the
    /// hosted service. A second call replaces the URL.
    ///
    /// Plain `http` is accepted only for this machine, unless `ATLASENT_ALLOW_INSECURE_HTTP` is
    /// `1`. A URL with a user or a password is rejected: the API key or the bearer token is the
    /// only credential that is sent.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Sets the timeout of one attempt, from sending the request to the end of the answer: 10
    /// seconds by default. A second call replaces the timeout.
    ///
    /// If all attempts together may take longer than the default [`deadline`](Self::deadline), the
    /// default deadline grows. [`build`](Self::build) rejects a timeout above a deadline that is
    /// set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the deadline of a call, with all its attempts and the waits between them. A second call
    /// replaces the deadline.
    ///
    /// The default is 30 seconds. If [`timeout`](Self::timeout), [`max_retries`](Self::max_retries)
    /// or [`retry_backoff`](Self::retry_backoff) is set, and all attempts with the longest waits
    /// take more than that, the default is their sum. A deadline below the default timeout shortens
    /// every attempt to the deadline. If a server asks for a wait beyond the deadline
    /// (`Retry-After`), the call ends at once, and the error holds the
    /// [requested wait](crate::error::Failure::retry_after).
    ///
    /// `protect` makes two calls, each with its own deadline.
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

    /// Sets the maximum number of retries of a call when the server fails or does not answer: 2 by
    /// default, 100 at most. A second call replaces the number.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = Some(retries);
        self
    }

    /// Sets the longest wait before the first retry: half a second by default, 16 seconds at most.
    /// A second call replaces it.
    ///
    /// The longest wait doubles with each retry, up to 16 seconds; the actual wait is random below
    /// it. With zero, retries do not wait.
    pub fn retry_backoff(mut self, backoff: Duration) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Caches allows for [`Client::evaluate`]. Off by default. Functions that return a
    /// [`Permit`](crate::Permit) never read the cache. A second call replaces the cache.
    pub fn cache(mut self, cache: DecisionCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Sends `{"source": …, "complete": true}` as the `state_snapshot` of requests without one.
    /// Hosted policies refuse most actions without a snapshot (`SNAPSHOT_REQUIRED`). A second call
    /// replaces the source.
    pub fn snapshot_source(mut self, source: impl Into<String>) -> Self {
        self.snapshot_source = Some(source.into());
        self
    }

    /// Appends a suffix to the `User-Agent` header that identifies the program: `my-service/1.2`. A
    /// second call replaces the suffix.
    pub fn user_agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.user_agent_suffix = Some(suffix.into());
        self
    }

    /// Accepts only answers by policies whose schema is the one that this program was compiled
    /// with. By default, every schema is accepted. A second call replaces the digest.
    ///
    /// `digest` is that of the policies' schema, which
    /// [`schema_digest!`](crate::schema_digest) returns in a package whose build script calls
    /// `atlasent_build::policies`. Evaluations and verifications send it in the header
    /// `X-AtlaSent-Schema-Digest`. `atlasent serve` refuses them where its policies have another
    /// schema, and states the schema in its answers.
    ///
    /// An answer that states another schema, or no schema, is [`Error::Failed`]: then nothing is
    /// permitted. The hosted service and older servers state no schema, so a client that requires
    /// one cannot use them.
    ///
    /// ```
    /// use atlasent::Client;
    ///
    /// # let digest = "5e0c".repeat(16);
    /// let client = Client::builder()
    ///     .api_key("ask_test_0123456789")
    ///     .base_url("https://atlasent.example.com")
    ///     .require_schema(digest) // atlasent::schema_digest!()
    ///     .build()?;
    /// # Ok::<(), atlasent::Error>(())
    /// ```
    pub fn require_schema(mut self, digest: impl Into<String>) -> Self {
        self.required_schema = Some(digest.into());
        self
    }

    /// Sets whether bodies that run under this client's permits send a receipt of how they ended:
    /// off by default. A second call replaces the first.
    ///
    /// A receipt is one more request for each call, which counts against the rate of the API key,
    /// and only `atlasent serve` takes receipts: the hosted service answers 404. So a program has
    /// to ask for them. Then `atlasent serve` records an event `permit.completed`, `permit.failed`
    /// or `permit.cancelled`.
    ///
    /// The body does not wait for the request: a bounded queue sends it in the background, at most
    /// 16 at a time, also when the future of the body was dropped. Call
    /// [`flush_receipts`](Client::flush_receipts) before the process ends. A receipt that cannot be
    /// delivered is logged and [counted](Client::receipt_counts), and changes no result.
    ///
    /// ```
    /// use atlasent::Client;
    ///
    /// let client = Client::builder()
    ///     .api_key("ask_test_0123456789")
    ///     .base_url("https://atlasent.example.com")
    ///     .receipts(true)
    ///     .build()?;
    /// # Ok::<(), atlasent::Error>(())
    /// ```
    pub fn receipts(mut self, send: bool) -> Self {
        self.receipts = send;
        self
    }

    /// Sends requests with an HTTP client of these settings, for instance with a proxy or own
    /// certificates. A second call replaces the settings.
    ///
    /// The method takes settings and not a finished `reqwest::Client`, because
    /// [`build`](Self::build) overrides three of them:
    ///
    /// - Redirects are not followed. A followed redirect would send key and token to another
    ///   server.
    /// - `reqwest` does not retry. A verification uses the permit up, so only this client, which
    ///   knows when the server may have processed a request, retries a call.
    /// - The connection is not logged: `connection_verbose` would write the key into the log.
    ///
    /// A timeout in the settings applies in addition to those of this builder: the shorter one ends
    /// an attempt. A base URL on this machine is never reached through a proxy. The caller chooses
    /// which servers the connection trusts: settings that `reqwest` calls `danger…`, and an own TLS
    /// configuration, apply unchanged. The connections belong to the runtime that opens them, so
    /// use the client in one runtime.
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
    /// This method does not panic, but `build` does if `reqwest` panics: if the settings configure
    /// no TLS, `reqwest` was built without a crypto provider, and the process has not installed one
    /// (`rustls::crypto::CryptoProvider::install_default`).
    pub fn http_client(mut self, settings: reqwest::ClientBuilder) -> Self {
        self.http_client = Some(settings);
        self
    }

    /// Sets the maximum size of an audit export in bytes: 64 MiB by default. A second call replaces
    /// it.
    pub fn export_limit(mut self, bytes: usize) -> Self {
        self.export_limit = Some(bytes);
        self
    }

    /// Sets the maximum size of an evaluation stream in bytes: 16 MiB by default. One event may
    /// have 1 MiB. A second call replaces it.
    pub fn stream_limit(mut self, bytes: usize) -> Self {
        self.stream_limit = Some(bytes);
        self
    }

    /// Uses a test's clock for the waits between attempts. A second call replaces the clock.
    #[cfg(feature = "testing")]
    pub fn virtual_time(mut self, time: &VirtualTime) -> Self {
        self.time = Clock::Virtual(time.clone());
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the key is missing, a setting is invalid, or two settings contradict
    /// each other. The error does not repeat the key, nor parts of a URL that may be a password.
    pub fn build(self) -> Result<Client, Error> {
        let limits = self.limits()?;
        let credential = match (self.api_key, self.bearer_token) {
            (Some(_), Some(_)) => {
                return Err(Error::config(
                    "the client has an API key and a bearer token: set one of them",
                ));
            }
            (None, Some(token)) => Credential::bearer_token(token)?,
            (Some(key), None) => Credential::api_key(key)?,
            (None, None) => {
                let key = variable(KEY_VARIABLE)?.ok_or_else(|| {
                    Error::config(format!(
                        "the API key is missing: set `{KEY_VARIABLE}`, or pass a key to `api_key`"
                    ))
                })?;
                Credential::api_key(SecretString::from(key))?
            }
        };
        let base_url = match self.base_url {
            Some(url) => url,
            None => {
                variable(URL_VARIABLE)?.unwrap_or_else(|| endpoint::DEFAULT_BASE_URL.to_owned())
            }
        };
        let endpoint = Endpoint::new(&base_url)?;
        let http = match self.http_client {
            Some(settings) => Http::custom(settings, &endpoint)?,
            None => Http::pooled(&endpoint)?,
        };
        let required_schema = self.required_schema.map(RequiredSchema::new).transpose()?;
        let cache = self.cache.as_ref().map(AllowCache::new).transpose()?;
        let user_agent = user_agent(self.user_agent_suffix.as_deref())?;
        let transport = Arc::new(Transport {
            endpoint,
            headers: transport::headers(&credential, user_agent)?,
            credential,
            http,
            limits,
            time: self.time,
            required_schema,
        });
        let issuer = match self.receipts {
            true => Issuer::new().with_receipts(receipts::queue(&transport)),
            false => Issuer::new(),
        };
        Ok(Client {
            shared: Shared {
                transport,
                cache,
                snapshot_source: self.snapshot_source,
                export_limit: self.export_limit.unwrap_or(64 * 1024 * 1024),
                stream_limit: self.stream_limit.unwrap_or(16 * 1024 * 1024),
                issuer,
            }
            .into(),
        })
    }

    /// Returns the limits of a call. CallLimits that contradict each other are an error, because a
    /// silently shortened limit would surprise the caller in an outage.
    fn limits(&self) -> Result<CallLimits, Error> {
        let refuse = |why: String| Err(Error::config(why));
        for (name, limit) in [("timeout", self.timeout), ("deadline", self.deadline)] {
            if let Some(limit) = limit.filter(|limit| limit.is_zero() || *limit > MAX_LIMIT) {
                return refuse(format!(
                    "a {name} of {limit:?} is invalid: choose one above zero and up to a day"
                ));
            }
        }
        let defaults = CallLimits::default();
        let timeout = self.timeout.unwrap_or(defaults.timeout);
        let max_retries = self.max_retries.unwrap_or(defaults.max_retries);
        let backoff = self.backoff.unwrap_or(defaults.backoff);
        if max_retries > MAX_RETRIES {
            return refuse(format!(
                "{max_retries} retries are too many: choose at most {MAX_RETRIES}"
            ));
        }
        if backoff > MAX_BACKOFF {
            return refuse(format!(
                "a first retry after {backoff:?} is too late: choose at most {MAX_BACKOFF:?}"
            ));
        }
        let mut limits = CallLimits {
            timeout,
            max_retries,
            backoff,
            ..defaults
        };
        let is_default = (self.timeout, self.max_retries, self.backoff) == (None, None, None);
        match self.deadline {
            Some(deadline) if self.timeout.is_some_and(|timeout| timeout > deadline) => {
                return refuse(format!(
                    "a timeout of {timeout:?} exceeds the deadline of {deadline:?}: raise the deadline, or leave it \
                     out, and it is long enough for all attempts"
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
            .field("bearer_token", &self.bearer_token.as_ref().map(|_| Hidden))
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
            .field("required_schema", &self.required_schema)
            .field("http_client", &self.http_client.as_ref().map(|_| Hidden))
            .field("export_limit", &self.export_limit)
            .field("stream_limit", &self.stream_limit)
            .field("receipts", &self.receipts)
            .field("time", &self.time)
            .finish()
    }
}

/// Replaces the value of a secret setting in `Debug`.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Reads an environment variable. An empty variable counts as unset.
fn variable(name: &str) -> Result<Option<String>, Error> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Error::config(format!(
            "`{name}` is not UTF-8: set it to a valid value"
        ))),
    }
}

fn user_agent(suffix: Option<&str>) -> Result<HeaderValue, Error> {
    let Some(suffix) = suffix else {
        return Ok(HeaderValue::from_static(USER_AGENT));
    };
    HeaderValue::try_from(format!("{USER_AGENT} {suffix}")).map_err(|error| {
        let message = format!(
            "the user agent suffix `{}` is not a valid header value: use visible ASCII",
            excerpt(suffix)
        );
        ConfigError::new(message).with_source(error).into()
    })
}

#[cfg(test)]
mod tests;
