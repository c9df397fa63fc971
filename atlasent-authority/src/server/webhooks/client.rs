//! One attempt to deliver a notification.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::retry::never;
use reqwest::{Client, Response, StatusCode};

use super::WebhookEndpoint;
use super::message::Message;
use crate::server::https::{causes, tls};

const AGENT: &str = concat!("atlasent/", env!("CARGO_PKG_VERSION"));

/// The longest time that a receiver can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The receiver took the notification.
    Delivered,
    /// The receiver wants no more notifications.
    Gone,
    /// The receiver refuses this very request, which another attempt will hardly change.
    Refused(String),
    /// The receiver could not be reached, or asks for another attempt.
    Failed {
        why: String,
        retry_after: Option<Duration>,
    },
}

/// The HTTP client of one endpoint.
pub(super) struct Receiver(Client);

impl Receiver {
    /// Prepares requests. Redirects are not followed, and a receiver of this machine is reached
    /// without a proxy.
    pub(super) fn new(endpoint: &WebhookEndpoint) -> io::Result<Self> {
        let is_https = endpoint.url.scheme() == "https";
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls(None, is_https)?)
            .redirect(Policy::none())
            .retry(never())
            .timeout(endpoint.timeout);
        if endpoint.is_local() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            io::Error::other(format!("no HTTP client: {}", causes(&error.without_url())))
        })?;
        Ok(Self(client))
    }

    /// Sends a notification once. The answer's body is not read.
    pub(super) async fn send(
        &self,
        endpoint: &WebhookEndpoint,
        message: &Message,
        now: Timestamp,
    ) -> Outcome {
        let timestamp = now.as_second();
        let signatures = endpoint.secrets.iter();
        let signatures =
            signatures.map(|secret| secret.sign(&message.id, timestamp, &message.body));
        let signatures: Vec<_> = signatures.collect();
        let mut request = self
            .0
            .post(endpoint.url.clone())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", timestamp)
            .body(message.body.clone());
        if !signatures.is_empty() {
            request = request.header("webhook-signature", signatures.join(" "));
        }
        match request.send().await {
            Ok(response) => outcome(&response),
            Err(error) => Outcome::Failed {
                why: match error.is_timeout() {
                    true => format!("no answer within {:?}", endpoint.timeout),
                    false => causes(&error.without_url()),
                },
                retry_after: None,
            },
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

/// Reads the status of an answer, by the specification's list.
fn outcome(response: &Response) -> Outcome {
    let status = response.status();
    let why = format!("status {status}");
    match status {
        status if status.is_success() => Outcome::Delivered,
        StatusCode::GONE => Outcome::Gone,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            let retry_after = retry_after(response);
            Outcome::Failed { why, retry_after }
        }
        status if status.is_client_error() || status.is_redirection() => Outcome::Refused(why),
        _ => Outcome::Failed {
            why,
            retry_after: retry_after(response),
        },
    }
}

/// Returns how long the receiver asks to wait, in seconds or until a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(asked.min(LONGEST_RETRY_AFTER))
}
