//! How a client is set up: from the program, else from the environment, else by default.

use std::env;
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::SecretString;

use super::cache::Allows;
use super::endpoint::{self, Endpoint};
use super::http::Http;
use super::key::ApiKey;
use super::retry::Limits;
use super::time::Time;
use super::transport::Transport;
use super::{Client, DecisionCache, Shared};
use crate::redact::excerpt;
#[cfg(feature = "testing")]
use crate::testing::VirtualTime;
use crate::{Error, Issuer};

const USER_AGENT: &str = concat!("atlasent-rust/", env!("CARGO_PKG_VERSION"));
const KEY_VARIABLE: &str = "ATLASENT_API_KEY";
const URL_VARIABLE: &str = "ATLASENT_BASE_URL";
/// More than this many retries are a mistake.
const MOST_RETRIES: u32 = 100;
/// Longer than this, a limit is none.
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
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct ClientBuilder {
    api_key: Option<SecretString>,
    base_url: Option<String>,
    limits: Limits,
    cache: Option<DecisionCache>,
    snapshot_source: Option<String>,
    user_agent_suffix: Option<String>,
    http_client: Option<reqwest::Client>,
    export_limit: usize,
    stream_limit: usize,
    time: Time,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            api_key: None,
            base_url: None,
            limits: Limits::default(),
            cache: None,
            snapshot_source: None,
            user_agent_suffix: None,
            http_client: None,
            export_limit: 64 * 1024 * 1024,
            stream_limit: 16 * 1024 * 1024,
            time: Time::default(),
        }
    }
}

impl ClientBuilder {
    /// The API key: `ask_live_…` or `ask_test_…`. By default that of `ATLASENT_API_KEY`.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(SecretString::from(key.into()));
        self
    }

    /// Where the API is. By default where `ATLASENT_BASE_URL` says, else the hosted service.
    ///
    /// Plain `http` is taken for this machine only, unless `ATLASENT_ALLOW_INSECURE_HTTP` is `1`.
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// How long one attempt may take, its answer included: 10 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// How long a call may take, with all its attempts and the waits between them: 30 seconds by default.
    ///
    /// `protect` makes two calls.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// How often a call is tried again when the server fails or does not answer: twice by default.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.limits.max_retries = retries;
        self
    }

    /// The most that is waited before the first retry: half a second by default. It doubles with each retry, up to 16
    /// seconds, and the wait is drawn at random below it.
    pub fn retry_backoff(mut self, backoff: Duration) -> Self {
        self.limits.backoff = backoff;
        self
    }

    /// Remembers allows for [`Client::evaluate`]. Off by default. No permit ever comes out of it.
    pub fn cache(mut self, cache: DecisionCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Stands in where a request has no `state_snapshot`: `{"source": …, "complete": true}`. Hosted policies
    /// refuse most actions without a snapshot (`SNAPSHOT_REQUIRED`).
    pub fn snapshot_source(mut self, source: impl Into<String>) -> Self {
        self.snapshot_source = Some(source.into());
        self
    }

    /// Is appended to the `User-Agent`, to tell programs apart: `my-service/1.2`.
    pub fn user_agent_suffix(mut self, suffix: impl Into<String>) -> Self {
        self.user_agent_suffix = Some(suffix.into());
        self
    }

    /// Sends requests with this HTTP client: for proxies and certificates of your own.
    ///
    /// Give it [`redirect::Policy::none`](reqwest::redirect::Policy::none): an answer that a redirect led to is
    /// refused. Its connections belong to the runtime that opens them, so use one client in one runtime.
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.http_client = Some(client);
        self
    }

    /// The largest audit export that is taken, in bytes: 64 MiB by default.
    pub fn export_limit(mut self, bytes: usize) -> Self {
        self.export_limit = bytes;
        self
    }

    /// The most that a stream may send in all, in bytes: 16 MiB by default.
    pub fn stream_limit(mut self, bytes: usize) -> Self {
        self.stream_limit = bytes;
        self
    }

    /// Waits between attempts in a test's own time.
    #[cfg(feature = "testing")]
    pub fn virtual_time(mut self, time: &VirtualTime) -> Self {
        self.time = Time::Virtual(time.clone());
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when there is no key, or a setting is wrong. The key is not repeated.
    pub fn build(self) -> Result<Client, Error> {
        let api_key = match self.api_key {
            Some(key) => key,
            None => SecretString::from(variable(KEY_VARIABLE)?.ok_or_else(|| {
                Error::Config(format!(
                    "there is no API key: set `{KEY_VARIABLE}`, or name one with `api_key`"
                ))
            })?),
        };
        let base_url = match self.base_url {
            Some(url) => url,
            None => variable(URL_VARIABLE)?.unwrap_or_else(|| endpoint::DEFAULT.to_owned()),
        };
        let endpoint = Endpoint::new(&base_url)?;
        check(&self.limits)?;
        let http = match self.http_client {
            Some(client) => Http::Given(client),
            None => Http::pooled(&endpoint)?,
        };
        Ok(Client {
            shared: Shared {
                transport: Transport {
                    endpoint,
                    key: ApiKey::new(api_key)?,
                    user_agent: user_agent(self.user_agent_suffix.as_deref())?,
                    http,
                    limits: self.limits,
                    time: self.time,
                },
                cache: self.cache.as_ref().map(Allows::new),
                snapshot_source: self.snapshot_source,
                export_limit: self.export_limit,
                stream_limit: self.stream_limit,
                issuer: Issuer::new(),
            }
            .into(),
        })
    }
}

/// A variable of the environment. An empty one is as good as none.
fn variable(name: &str) -> Result<Option<String>, Error> {
    match env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(Error::Config(format!("`{name}` is not UTF-8: set it anew")))
        }
    }
}

fn check(limits: &Limits) -> Result<(), Error> {
    for (name, limit) in [("timeout", limits.timeout), ("deadline", limits.deadline)] {
        if limit.is_zero() || limit > LONGEST {
            return Err(Error::Config(format!(
                "a {name} of {limit:?} makes no sense: choose one above zero and up to a day"
            )));
        }
    }
    if limits.max_retries > MOST_RETRIES {
        return Err(Error::Config(format!(
            "{} retries are too many: choose at most {MOST_RETRIES}",
            limits.max_retries
        )));
    }
    Ok(())
}

fn user_agent(suffix: Option<&str>) -> Result<HeaderValue, Error> {
    let Some(suffix) = suffix else {
        return Ok(HeaderValue::from_static(USER_AGENT));
    };
    HeaderValue::try_from(format!("{USER_AGENT} {suffix}")).map_err(|_| {
        Error::Config(format!(
            "the user agent suffix `{}` cannot stand in a header: use visible ASCII",
            excerpt(suffix)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> ClientBuilder {
        Client::builder().api_key("ask_test_0123456789")
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        assert!(builder().build().is_ok());
        for wrong in [
            builder().timeout(Duration::ZERO),
            builder().timeout(Duration::MAX),
            builder().deadline(Duration::ZERO),
            builder().deadline(Duration::MAX),
            builder().max_retries(MOST_RETRIES + 1),
            builder().user_agent_suffix("a\nb"),
            builder().base_url("http://api.atlasent.io"),
            builder().api_key("ask_test_"),
        ] {
            assert!(matches!(wrong.build(), Err(Error::Config(_))));
        }
    }

    #[test]
    fn nothing_prints_the_key() {
        let client = builder().build().unwrap();
        for text in [format!("{client:?}"), format!("{:?}", builder())] {
            assert!(!text.contains("0123456789"), "{text}");
        }
    }

    #[test]
    fn the_user_agent_says_who_and_which_version() {
        let agent = user_agent(Some("my-service/1.2")).unwrap();
        assert_eq!(
            agent,
            format!("atlasent-rust/{} my-service/1.2", env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn an_unset_variable_is_none() {
        assert_eq!(variable("ATLASENT_NO_SUCH_VARIABLE").unwrap(), None);
    }
}
