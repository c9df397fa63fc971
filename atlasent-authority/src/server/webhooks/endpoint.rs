//! An endpoint: its address, its secrets, and what it is told.

use std::fmt;
use std::time::Duration;

use atlasent::text::is_loopback_host;
use reqwest::Url;

use super::{WEBHOOK_EVENTS, WebhookSecret};
use crate::store::OrgId;

/// The limit on a name, in bytes.
const LONGEST_NAME: usize = 64;

/// How long one request may take. The specification recommends 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The limit on a timeout: a server that is killed delays the next one by it.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a notification is tried again, by default.
const RETRY_FOR: Duration = Duration::from_secs(24 * 3_600);

/// A receiver of notifications.
#[derive(Clone)]
#[must_use = "an endpoint is notified when it is added to `Webhooks`"]
pub struct WebhookEndpoint {
    pub(super) name: String,
    pub(super) organization: OrgId,
    pub(super) url: Url,
    pub(super) secrets: Vec<WebhookSecret>,
    pub(super) events: Vec<&'static str>,
    pub(super) format: WebhookFormat,
    pub(super) timeout: Duration,
    pub(super) retry_for: Duration,
}

/// The body of notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookFormat {
    /// The members that the Standard Webhooks specification recommends: `type`, `timestamp`,
    /// `data`.
    #[default]
    Standard,
    /// The message of an incoming webhook of Slack: `text`, `blocks`. It needs no secret.
    Slack,
}

impl WebhookEndpoint {
    /// Creates an endpoint that is told of all [events](WEBHOOK_EVENTS). `name` marks how far the
    /// endpoint is in the store, and stands in logs and metrics: lower-case letters, digits, `-`
    /// and `_`.
    ///
    /// Plain `http` is accepted for this machine only. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// [`InvalidWebhook`] when the name or the address is invalid. It repeats nothing of the
    /// address, which may hold a secret.
    pub fn new(name: &str, url: &str) -> Result<Self, InvalidWebhook> {
        let is_named = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(is_named) {
            return Err(InvalidWebhook(
                "the name of an endpoint is 1 to 64 lower-case letters, digits, `-` and `_`"
                    .to_owned(),
            ));
        }
        let invalid = |why: &str| InvalidWebhook(format!("the endpoint `{name}` {why}"));
        Ok(Self {
            name: name.to_owned(),
            organization: OrgId::local(),
            url: checked(url).map_err(invalid)?,
            secrets: Vec::new(),
            events: WEBHOOK_EVENTS.to_vec(),
            format: WebhookFormat::default(),
            timeout: TIMEOUT,
            retry_for: RETRY_FOR,
        })
    }

    /// Sets the organization whose events the endpoint is told of: `local` by default, and
    /// otherwise one that the server [serves](crate::server::Server::organizations). A second call
    /// replaces the first.
    pub fn organization(mut self, organization: OrgId) -> Self {
        self.organization = organization;
        self
    }

    /// Adds a secret. Each delivery has a signature by each secret, so that a receiver can change
    /// from one to the next.
    pub fn secret(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Sets the types of events that the endpoint is told of. A second call replaces the first.
    ///
    /// # Errors
    ///
    /// [`InvalidWebhook`] for a type that is not among [`WEBHOOK_EVENTS`], and for an empty list.
    pub fn events<T: AsRef<str>>(
        mut self,
        events: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidWebhook> {
        let mut known = Vec::new();
        for event in events {
            let event = event.as_ref();
            let found = WEBHOOK_EVENTS.into_iter().find(|known| *known == event);
            let found = found.ok_or_else(|| {
                let all = WEBHOOK_EVENTS.join("`, `");
                let event = atlasent::text::Escaped::new(event);
                self.invalid(&format!("names the unknown event `{event}`: use `{all}`"))
            })?;
            known.push(found);
        }
        if known.is_empty() {
            return Err(self.invalid("is told of no event: name one"));
        }
        self.events = known;
        Ok(self)
    }

    /// Sets the body of notifications. A second call replaces the first.
    pub fn format(mut self, format: WebhookFormat) -> Self {
        self.format = format;
        self
    }

    /// Sets how long one request may take: 15 seconds by default, and a minute at most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// Sets how long a notification is tried again: 24 hours by default. Then it is dropped, logged
    /// and counted.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = time;
        self
    }

    /// Whether the receiver runs on this machine, so that no proxy is used.
    pub(super) fn is_local(&self) -> bool {
        self.url.host_str().is_some_and(is_loopback_host)
    }

    pub(super) fn invalid(&self, why: &str) -> InvalidWebhook {
        InvalidWebhook(format!("the endpoint `{}` {why}", self.name))
    }
}

/// Checks an address. The reason of a refusal repeats no part of it.
fn checked(url: &str) -> Result<Url, &'static str> {
    let malformed = "has no absolute URL: write it as `https://host/path`";
    let url = Url::parse(url).map_err(|_| malformed)?;
    let host = url.host_str().ok_or(malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password in its URL: receivers check the signature");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback_host(host) => Ok(url),
        "http" => Err("would be notified in the clear: use `https`"),
        _ => Err("has a URL that is neither `https` nor `http`"),
    }
}

impl fmt::Debug for WebhookEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path of the address may be its secret.
        f.debug_struct("WebhookEndpoint")
            .field("name", &self.name)
            .field("organization", &self.organization)
            .field("host", &self.url.host_str())
            .field("events", &self.events)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// Why an endpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWebhook(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_leads_to_this_machine_only() {
        for url in [
            "https://hooks.example/a",
            "http://localhost:1/a",
            "http://127.0.0.1:1",
            "http://[::1]:1/",
        ] {
            assert!(WebhookEndpoint::new("a", url).is_ok(), "{url}");
        }
        for url in [
            "http://hooks.example/hunter2",
            "http://169.254.169.254/hunter2",
            "ftp://hooks.example/hunter2",
            "file:///hunter2",
            "https://user:hunter2@hooks.example/",
            "hooks.example/hunter2",
            "hunter2",
            "",
        ] {
            let error = WebhookEndpoint::new("a", url).unwrap_err().to_string();
            assert!(
                error.starts_with("the endpoint `a` ") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn unknown_events_and_names_are_refused() {
        let endpoint = || WebhookEndpoint::new("a", "https://hooks.example/hunter2").unwrap();
        assert!(endpoint().events(["stop.set"]).is_ok());
        let error = endpoint().events(["stop.sett"]).unwrap_err().to_string();
        assert!(
            error.contains("`stop.sett`") && error.contains("`approval.requested`"),
            "{error}"
        );
        assert!(endpoint().events([""; 0]).is_err());
        for name in ["", "A", "a b", "a/b", &"a".repeat(65)] {
            assert!(
                WebhookEndpoint::new(name, "https://hooks.example").is_err(),
                "{name}"
            );
        }
        assert!(!format!("{:?}", endpoint()).contains("hunter2"));
    }
}
