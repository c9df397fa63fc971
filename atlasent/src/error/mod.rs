//! The errors of this crate: the reasons why a protected body did not run.
//!
//! | type | is |
//! |---|---|
//! | [`Error`] | what every call returns; its variants say who has to act |
//! | [`Denied`] | the data of a refusal: the authority answered, and did not allow the action |
//! | [`PermitOutcome`] | what was wrong with a permit that failed its verification |
//! | [`Failure`] | the data of a call without a usable answer |
//! | [`Code`] | the kind of a failure, in the words that the AtlaSent SDKs share |
//!
//! In names and texts of this crate, *denied* and *refusal* always mean an answer, and *failure*
//! always means that there was no usable answer.

mod denied;

pub use denied::{Denied, PermitOutcome};

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::text::Escaped;
use crate::text::unescape::holds;
use crate::wire::{PermitToken, RateLimit};

/// The reason why a protected body did not run.
///
/// The variants differ in who has to act: the agent's owner ([`Denied`](Error::Denied)), the
/// operator of the authority ([`Failed`](Error::Failed)), or the programmer
/// ([`Config`](Error::Config), [`Invalid`](Error::Invalid)). After every one of them the body must
/// not run.
///
/// `Display` writes one line: line breaks, terminal controls and invisible characters in texts from
/// outside are escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The authority did not allow the action: it denied, held or escalated the request, or the
    /// permit failed its verification.
    #[error(transparent)]
    Denied(Box<Denied>),
    /// The authority gave no usable answer.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// This program is not set up to ask an authority.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The request was not sent: its action, agent, context or options break a rule of the
    /// contract.
    #[error("the request cannot be made: {}", Escaped::new(.0))]
    Invalid(String),
}

impl Error {
    pub(crate) fn config(message: impl Into<String>) -> Self {
        ConfigError::new(message).into()
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid(what.into())
    }

    /// Returns the error without the token in its text and in that of its sources.
    pub(crate) fn scrubbed(self, token: &PermitToken) -> Self {
        match self {
            Self::Denied(denied) => Self::Denied(denied),
            Self::Failed(failure) => failure
                .scrub(|text| token.scrub(text), |text| holds(text, token.expose()))
                .into(),
            Self::Config(error) => error
                .scrub(|text| token.scrub(text), |text| holds(text, token.expose()))
                .into(),
            Self::Invalid(text) => Self::Invalid(token.scrub(&text)),
        }
    }

    /// Returns the refusal, if this is [`Error::Denied`].
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Denied(denied) => Some(denied),
            _ => None,
        }
    }

    /// Returns the failure, if this is [`Error::Failed`].
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// Returns the code of the failure, if this is [`Error::Failed`].
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.failure().map(Failure::code)
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::Denied(Box::new(denied))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

/// Describes a mistake in the set-up of this program, and what to do about it.
///
/// `Display` escapes the message, so it is one line. The error that caused the mistake, such as one
/// of TLS, is the [`source`](StdError::source) and is not repeated in the message.
///
/// ```
/// use std::error::Error as _;
/// use atlasent::error::ConfigError;
/// use atlasent::Error;
///
/// let cause = "no".parse::<u16>().unwrap_err();
/// let error = Error::from(ConfigError::new("`PORT` is not a port").with_source(cause));
/// assert_eq!(error.to_string(), "`PORT` is not a port");
/// assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{}", Escaped::new(.message))]
pub struct ConfigError {
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ConfigError {
    /// Creates an error with a message for people. The message must hold no secret.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Sets the error that caused this one. Its texts must hold no secret. A second call replaces
    /// it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the message as it was given: `Display` escapes it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Replaces the message, and keeps the source.
    #[cfg(feature = "client")]
    pub(crate) fn map_message(mut self, map: impl FnOnce(&str) -> String) -> Self {
        self.message = map(&self.message);
        self
    }

    /// Removes secrets, as [`Failure::scrub`] does.
    fn scrub(mut self, scrub: impl Fn(&str) -> String, is_secret: impl Fn(&str) -> bool) -> Self {
        self.message = scrub(&self.message);
        if shows_secret(self.source(), is_secret) {
            self.source = None;
        }
        self
    }
}

/// Returns whether an error or one of its sources displays a secret.
fn shows_secret(
    error: Option<&(dyn StdError + 'static)>,
    is_secret: impl Fn(&str) -> bool,
) -> bool {
    std::iter::successors(error, |error| StdError::source(*error))
        .any(|error| is_secret(&format!("{error} {error:?}")))
}

/// The kind of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The API key is missing or unknown (HTTP 401).
    InvalidApiKey,
    /// The API key lacks the permission (HTTP 403).
    Forbidden,
    /// Too many requests (HTTP 429).
    RateLimited,
    /// The authority rejected the request (another HTTP 4xx).
    BadRequest,
    /// The authority failed: HTTP 5xx, or an error of its store or policies.
    ServerError,
    /// The answer did not arrive in time.
    Timeout,
    /// The connection could not be opened, or broke.
    Network,
    /// The answer cannot be read, or contradicts itself.
    BadResponse,
}

impl Code {
    /// Returns the word for this code, which all AtlaSent SDKs share.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidApiKey => "invalid_api_key",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
            Self::BadRequest => "bad_request",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::BadResponse => "bad_response",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The data of a call to the authority that got no usable answer.
///
/// Authorities build failures, and callers read them. A second call of a `with_…` method replaces
/// the value of the first.
///
/// `Display` writes one line, with the message escaped. [`message`](Self::message) returns the
/// message unescaped.
///
/// ```
/// use std::time::Duration;
/// use atlasent::error::{Code, Failure};
///
/// let failure = Failure::new(Code::RateLimited, "slow down").with_retry_after(Duration::from_secs(2));
/// assert_eq!(failure.to_string(), "the authority gave no usable answer (rate_limited): slow down");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("the authority gave no usable answer ({code}): {}", Escaped::new(.message))]
pub struct Failure {
    code: Code,
    message: String,
    status: Option<u16>,
    pub(crate) server_code: Option<String>,
    request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) rate_limit: Option<Box<RateLimit>>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    /// Creates a failure with its code and a message for people. The message must contain no
    /// secret.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            status: None,
            server_code: None,
            request_id: None,
            retry_after: None,
            rate_limit: None,
            source: None,
        }
    }

    /// Sets the HTTP status of the answer.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets the id under which the request was sent.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Sets how long to wait before the next attempt, as the authority asked.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets the error that caused the failure.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the failure without secrets in its texts. The texts of a source cannot be rewritten,
    /// so the source is dropped when `is_secret` finds a secret in the output of its `Display` or
    /// `Debug`.
    pub(crate) fn scrub(
        mut self,
        scrub: impl Fn(&str) -> String,
        is_secret: impl Fn(&str) -> bool,
    ) -> Self {
        self.message = scrub(&self.message);
        self.request_id = self.request_id.as_deref().map(&scrub);
        self.server_code = self.server_code.filter(|code| !is_secret(code));
        if shows_secret(self.source(), is_secret) {
            self.source = None;
        }
        self
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the message for people, unescaped.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the HTTP status of the answer, if an answer arrived.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Returns the `code` of the answer, such as `NOT_AN_APPROVER`: upper-case letters, digits and
    /// `_`. It tells apart failures that have the same [status](Self::status).
    #[must_use]
    pub fn server_code(&self) -> Option<&str> {
        self.server_code.as_deref()
    }

    /// Returns the id under which the request was sent (`X-Request-ID`).
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Returns how long to wait before the next attempt, if the authority asked for a wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the state of the rate limit, if the answer stated it.
    #[must_use]
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit.as_deref().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_error_shows_no_token_in_its_message_or_its_source() {
        const SECRET: &str = "permit_7c1e55d0a9b84f33";
        let token = PermitToken::new(SECRET).unwrap();
        let text = format!("no place for {SECRET}");
        let error = Error::from(ConfigError::new(text.clone()).with_source(text));
        let error = error.scrubbed(&token);
        assert!(error.source().is_none());
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");

        let cause = std::io::Error::other("no threads left");
        let error = Error::from(ConfigError::new("no runtime").with_source(cause));
        let error = error.scrubbed(&token);
        assert!(error.source().unwrap().is::<std::io::Error>());
    }

    #[test]
    fn a_second_call_replaces_what_the_first_one_set() {
        let failure = Failure::new(Code::ServerError, "")
            .with_status(500)
            .with_request_id("a")
            .with_retry_after(Duration::from_secs(1))
            .with_source("a")
            .with_status(503)
            .with_request_id("b")
            .with_retry_after(Duration::from_secs(2))
            .with_source("b");
        assert_eq!(failure.status(), Some(503));
        assert_eq!(failure.request_id(), Some("b"));
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(2)));
        assert_eq!(
            failure.source().map(ToString::to_string).as_deref(),
            Some("b")
        );
    }
}
