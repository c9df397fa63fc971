//! Why a token was refused, could not be made, or was not looked at.

use std::io;
use std::time::Duration;

use crate::escape::Escaped;
use crate::{Algorithm, MAX_LEEWAY};

/// What went wrong: one variant for each cause.
///
/// `Display` writes one line, says what to do, and never shows a token or a key. It escapes text
/// from outside, such as a scope or a file's name: control characters, line breaks and directional
/// overrides never reach a log. The fields hold that text as it was given.
///
/// ```
/// use ati_client::{Error, SigningKey};
///
/// let error = SigningKey::from_hex("00ff").unwrap_err();
/// assert_eq!(error, Error::WeakSecret { bytes: 2 });
/// assert!(error.to_string().contains("`openssl rand -hex 32`"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // Of a token.
    /// The text is no token, or one that no issuer of ATI tokens writes.
    #[error("the token is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The token is longer than [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES).
    #[error(
        "the token has {bytes} bytes, and {max} are allowed: name fewer scopes, or end some of them in `*`",
        max = crate::MAX_TOKEN_BYTES
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The token names an algorithm that is not that of the key, or of one of several.
    #[error(
        "the token is not signed with {expected}, nor in any other way that a configured key is for"
    )]
    WrongAlgorithm {
        /// The algorithm of the first key that could have signed the token.
        expected: Algorithm,
    },
    /// The token names a key (`kid`) that the verifier does not have.
    #[error(
        "the token's `kid` names a key that is not configured: configure it under that id, or ask the orchestrator for a new token"
    )]
    UnknownKey,
    /// The token was signed with another key, or was changed since.
    #[error("the token's signature does not fit: it was signed with another key, or changed since")]
    BadSignature,
    /// The token has expired, and the leeway is over too.
    #[error("the token expired {seconds_ago} seconds ago: ask the orchestrator for a new one")]
    Expired {
        /// How many seconds ago.
        seconds_ago: u64,
    },
    /// The token is good from a moment on that is still to come, or was issued in the future.
    #[error(
        "the token's `{claim}` is {seconds_ahead} seconds ahead of this machine's clock: compare it with the issuer's"
    )]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// How many seconds are left.
        seconds_ahead: u64,
    },
    /// The token is for another audience.
    #[error(
        "the token is for another audience than the accepted: compare its `aud` with the configuration"
    )]
    WrongAudience,
    /// The token comes from another issuer, or does not say from which.
    #[error("the token is not from the required issuer: compare its `iss` with the configuration")]
    WrongIssuer,
    /// A claim is missing that must be there.
    #[error("the token has no `{claim}`")]
    MissingClaim {
        /// Which one.
        claim: &'static str,
    },
    /// A claim is of another type than it must be.
    #[error("the token's `{claim}` is not {expected}")]
    WrongType {
        /// Which one.
        claim: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The token's `ati` is of a version that this crate does not know, so its limits cannot be
    /// known either.
    #[error(
        "the token's `ati.v` is {version}, and 1 is the one that is known: update this program"
    )]
    UnknownVersion {
        /// The version.
        version: u64,
    },
    /// The token was presented before, and may be presented once.
    #[error("the token was used before, and may be used once: ask the orchestrator for a new one")]
    Replayed,
    /// As many tokens as the replay guard remembers are still good, so it cannot take in another.
    #[error(
        "the replay guard remembers {capacity} tokens, and none of them has expired: give it more room"
    )]
    ReplayGuardFull {
        /// How many it can remember.
        capacity: usize,
    },

    // Of scopes and rates.
    /// A scope, or the name of a tool or skill, that cannot be one.
    #[error("`{}` is no scope: {reason}", Escaped(scope))]
    BadScope {
        /// The beginning of what was given.
        scope: String,
        /// Why not.
        reason: &'static str,
    },
    /// A rate that is not written like `10/hour`.
    #[error(
        "`{}` is no rate: write a number, `/` and one of second, minute, hour, day, as in `10/hour`",
        Escaped(spec)
    )]
    BadRate {
        /// The beginning of what was given.
        spec: String,
    },
    /// The agent called more often than its token allows.
    #[error("the rate of `{}` is used up{}", Escaped(pattern), retry_advice(*retry_after))]
    RateExceeded {
        /// The beginning of the pattern that the rate is for.
        pattern: String,
        /// When to come back. `None` if that will never help: the rate is zero.
        retry_after: Option<Duration>,
    },
    /// The rate limiter has no room for another agent.
    #[error("the rate limiter has no room for another agent: come back in {} seconds", whole_seconds(*retry_after))]
    RateLimiterFull {
        /// When to come back.
        retry_after: Duration,
    },
    /// The store that counts calls failed, so none may be made. For a
    /// [`RateStore`](crate::RateStore) of your own.
    #[error("calls cannot be counted, so none may be made: {}", Escaped(reason))]
    RateStoreFailed {
        /// What happened.
        reason: String,
    },

    // Of what is made here.
    /// A claim that was given to a builder cannot be issued.
    #[error("`{claim}` cannot be issued: {reason}")]
    BadClaim {
        /// Which one.
        claim: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A builder was given two different rates for one pattern, and a token has room for one.
    #[error("`{}` has two rates: give one", Escaped(pattern))]
    TwoRates {
        /// The beginning of the pattern.
        pattern: String,
    },
    /// The address of the proxy is not a URL that an agent can be given.
    #[error(
        "the proxy's address is not usable: write `http://` or `https://`, a host and perhaps a port and a path; a user name, a password, a query and white space are refused"
    )]
    BadProxyUrl,

    // Of keys and configuration.
    /// The secret is not hex.
    #[error("the secret is not usable: {reason}; `openssl rand -hex 32` makes one")]
    BadSecret {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The secret is shorter than HS256 asks for (RFC 7518 §3.2).
    #[error(
        "the secret has {bytes} bytes, and HS256 needs 32, which are 64 hex characters: `openssl rand -hex 32` makes one"
    )]
    WeakSecret {
        /// How many bytes it has.
        bytes: usize,
    },
    /// The PEM text holds no key that can be used.
    #[error("the key is not usable: {reason}")]
    BadKey {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file in a directory of keys holds no usable key.
    #[error("the key file `{}`: {cause}", Escaped(path))]
    KeyFile {
        /// The beginning of its path.
        path: String,
        /// What is wrong with it.
        cause: Box<Error>,
    },
    /// The file or the directory of a key cannot be read.
    #[error("the key file `{}` cannot be read: {kind}", Escaped(path))]
    UnreadableKey {
        /// The beginning of its path.
        path: String,
        /// Why not.
        kind: io::ErrorKind,
    },
    /// No key is configured.
    #[error("no key is configured: set {variables}")]
    NoKey {
        /// The environment variables that would.
        variables: &'static str,
    },
    /// A verifier was given no key, which never means that tokens are not verified.
    #[error("no key is given to verify with: give at least one")]
    NoVerifyingKey,
    /// The leeway is longer than [`MAX_LEEWAY`].
    #[error("a leeway of {seconds} seconds is too long: at most {max} are allowed", max = MAX_LEEWAY.as_secs())]
    LeewayTooLong {
        /// How long it is, rounded up.
        seconds: u64,
    },
    /// No audience is left to accept, which never means any.
    #[error("no audience is accepted: name at least one, such as `ati-proxy`")]
    EmptyAudience,
    /// The required issuer is an empty text.
    #[error("the required issuer is empty: name it, or require none")]
    EmptyIssuer,
    /// An environment variable is set to something that cannot be used.
    #[error("`{variable}`: {cause}")]
    Environment {
        /// Which one.
        variable: &'static str,
        /// What is wrong with it.
        cause: Box<Error>,
    },
    /// The value of an environment variable is not text.
    #[error("the value is not UTF-8")]
    NotText,
    /// The system's random number generator failed.
    #[error("the system's random number generator failed, so nothing was signed: try again")]
    NoRandomness,
}

fn retry_advice(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(
        || ", and will be for as long as the token lives: it allows no call".to_owned(),
        |after| format!(": come back in {} seconds", whole_seconds(after)),
    )
}

/// Whole seconds, rounded up: a caller that comes back then comes late enough.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}
