//! The errors of this crate: refused tokens, invalid claims, keys and configuration.

use std::io;
use std::time::Duration;

use crate::escape::Escaped;
use crate::{Algorithm, MAX_LEEWAY};

/// An error of this crate, with one variant for each cause.
///
/// `Display` writes one line that says what to do, and never shows a token or a key. It escapes
/// text from outside, such as a scope or a file's name: control characters, line breaks and
/// directional overrides never reach a log. The fields hold that text unescaped.
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
    // Tokens.
    /// The text is not a token, or is written in a way that no ATI issuer uses.
    #[error("the token is malformed: {reason}")]
    Malformed {
        /// What is wrong with the token.
        reason: &'static str,
    },
    /// The token is longer than [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES).
    #[error(
        "the token has {bytes} bytes, and {max} are allowed: grant fewer scopes, or cover several with one that ends in `*`",
        max = crate::MAX_TOKEN_BYTES
    )]
    TooLong {
        /// The length of the token.
        bytes: usize,
    },
    /// The token names an algorithm that no configured key is for.
    #[error(
        "the token is not signed with {expected}, or with the algorithm of another configured key: configure the issuer's key"
    )]
    WrongAlgorithm {
        /// The algorithm of the first key that the token's `kid` allows.
        expected: Algorithm,
    },
    /// The token names a key (`kid`) that the verifier does not have.
    #[error(
        "the token's `kid` names a key that is not configured: configure it under that id, or ask the orchestrator for a new token"
    )]
    UnknownKey,
    /// The token was signed with another key, or was changed after it was signed.
    #[error(
        "the token's signature is invalid: the token was signed with another key, or was changed since"
    )]
    BadSignature,
    /// The token has expired, and the leeway has passed.
    #[error("the token expired {seconds_ago} seconds ago: ask the orchestrator for a new one")]
    Expired {
        /// How many seconds ago the token expired.
        seconds_ago: u64,
    },
    /// The token becomes valid, or was issued, at a time in the future beyond the leeway.
    #[error(
        "the token's `{claim}` is {seconds_ahead} seconds ahead of this machine's clock: compare this clock with the issuer's"
    )]
    NotYetValid {
        /// The claim: `nbf` or `iat`.
        claim: &'static str,
        /// How many seconds the claim is ahead.
        seconds_ahead: u64,
    },
    /// The token is for another audience.
    #[error("the token is for another audience: compare its `aud` with the accepted audiences")]
    WrongAudience,
    /// The token is from another issuer, or names no issuer.
    #[error("the token is not from the required issuer: compare its `iss` with the configuration")]
    WrongIssuer,
    /// A required claim is missing.
    #[error("the token has no `{claim}`: ask the issuer for a token that has it")]
    MissingClaim {
        /// The name of the claim.
        claim: &'static str,
    },
    /// A claim has the wrong type.
    #[error("the token's `{claim}` is not {expected}")]
    WrongType {
        /// The name of the claim.
        claim: &'static str,
        /// The type that the claim must have.
        expected: &'static str,
    },
    /// The token's `ati` has a version that this crate does not support, so the token's limits are
    /// unknown.
    #[error(
        "the token's `ati.v` is {version}, and only version 1 is supported: update this program"
    )]
    UnknownVersion {
        /// The version in the token.
        version: u64,
    },
    /// A delegate's token, or the claims of one that are built, would have more than its parent.
    #[error(
        "a delegate never has more than its parent: `{}` in its `{claim}` exceeds the parent's",
        Escaped(value)
    )]
    MoreThanParent {
        /// The claim: `aud`, `exp`, `scope` or `ati.rate`.
        claim: &'static str,
        /// The scope, the audience, the time or the pattern that exceeds the parent's, at most its
        /// first 64 characters.
        value: String,
    },
    /// The claim `delegation` of the token is not one that an issuer writes.
    #[error("the token's `delegation` is invalid: {reason}")]
    BadDelegation {
        /// What is wrong with the claim.
        reason: &'static str,
    },
    /// The token has more than [`MAX_ACTORS`](crate::MAX_ACTORS) actors, or would have.
    #[error(
        "a token has at most {max} actors in `act`: delegate from a token nearer to the agent",
        max = crate::MAX_ACTORS
    )]
    TooManyActors,
    /// The token was used before, and the replay guard allows one use.
    #[error(
        "the token was used before, and is valid for one use: ask the orchestrator for a new one"
    )]
    Replayed,
    /// The replay guard is full of tokens that have not expired.
    #[error(
        "the replay guard is full: it remembers {capacity} tokens, and all are still valid; raise its capacity"
    )]
    ReplayGuardFull {
        /// How many tokens the guard can remember.
        capacity: usize,
    },

    // Scopes and rates.
    /// A scope, or the name of a tool or skill, is invalid.
    #[error("`{}` is not a scope: {reason}", Escaped(scope))]
    BadScope {
        /// The invalid scope, at most its first 64 characters.
        scope: String,
        /// What is wrong with the scope.
        reason: &'static str,
    },
    /// A rate is not written like `10/hour`.
    #[error(
        "`{}` is not a rate: write a number, `/` and one of second, minute, hour, day, as in `10/hour`",
        Escaped(spec)
    )]
    BadRate {
        /// The invalid rate, at most its first 64 characters.
        spec: String,
    },
    /// The agent has called as often as its token allows.
    #[error("the rate of `{}` is {}", Escaped(pattern), rate_advice(*retry_after))]
    RateExceeded {
        /// The pattern that the rate is for, at most its first 64 characters.
        pattern: String,
        /// The time after which the call is allowed. `None` if the rate is zero, so that the token
        /// never allows it.
        retry_after: Option<Duration>,
    },
    /// The rate limiter has no room for another agent.
    #[error(
        "the rate limiter has no room for another agent: retry in {} seconds",
        whole_seconds(*retry_after)
    )]
    RateLimiterFull {
        /// The time after which there is room again.
        retry_after: Duration,
    },
    /// The store that counts calls failed, so the call is refused. A
    /// [`RateStore`](crate::RateStore) implementation returns it.
    #[error("the call could not be counted, so it is refused: {}", Escaped(reason))]
    RateStoreFailed {
        /// Why the store failed.
        reason: String,
    },

    // Builders.
    /// A claim that was given to a builder cannot be issued.
    #[error("the claim `{claim}` cannot be issued: {reason}")]
    BadClaim {
        /// The name of the claim.
        claim: &'static str,
        /// What is wrong with the claim.
        reason: &'static str,
    },
    /// A builder was given two different rates for one pattern.
    #[error("`{}` has two rates: give one", Escaped(pattern))]
    TwoRates {
        /// The pattern, at most its first 64 characters.
        pattern: String,
    },
    /// The URL of the proxy is not a plain `http` or `https` URL.
    #[error(
        "the proxy URL is invalid: write `http://` or `https://`, a host, and optionally a port and a path, without user name, password, query, fragment or white space"
    )]
    BadProxyUrl,

    // Keys and configuration.
    /// The secret is not hex.
    #[error("the secret is invalid: {reason}; `openssl rand -hex 32` makes a valid one")]
    BadSecret {
        /// What is wrong with the secret.
        reason: &'static str,
    },
    /// The secret is shorter than HS256 requires (RFC 7518 §3.2).
    #[error(
        "the secret has {bytes} bytes, and HS256 needs at least 32 (64 hex characters): `openssl rand -hex 32` makes one"
    )]
    WeakSecret {
        /// The length of the secret in bytes.
        bytes: usize,
    },
    /// The PEM text holds no usable key, or a key's id is invalid.
    #[error("the key is not usable: {reason}")]
    BadKey {
        /// What is wrong with the key.
        reason: &'static str,
    },
    /// A file in a directory of keys holds no usable key.
    #[error("the key file `{}`: {cause}", Escaped(path))]
    KeyFile {
        /// The path of the file, at most its first 64 characters.
        path: String,
        /// What is wrong with the file.
        cause: Box<Error>,
    },
    /// A key file, or a directory of key files, cannot be read.
    #[error("the key file `{}` cannot be read: {kind}", Escaped(path))]
    UnreadableKey {
        /// The path, at most its first 64 characters.
        path: String,
        /// Why the path cannot be read.
        kind: io::ErrorKind,
    },
    /// No key is configured.
    #[error("no key is configured: set {variables}")]
    NoKey {
        /// The environment variables to set.
        variables: &'static str,
    },
    /// A verifier was built without a key. Tokens are never accepted unverified.
    #[error("the verifier has no key: give it at least one")]
    NoVerifyingKey,
    /// The leeway is longer than [`MAX_LEEWAY`].
    #[error("a leeway of {seconds} seconds is too long: at most {max} are allowed", max = MAX_LEEWAY.as_secs())]
    LeewayTooLong {
        /// The leeway, rounded up to whole seconds.
        seconds: u64,
    },
    /// The list of audiences is empty, or an audience in it is. An empty list never means any
    /// audience.
    #[error("the audience is missing or empty: name at least one, such as `ati-proxy`")]
    EmptyAudience,
    /// The required issuer is an empty text.
    #[error("the required issuer is empty: name an issuer, or leave it unset")]
    EmptyIssuer,
    /// An environment variable has an invalid value.
    #[error("`{variable}`: {cause}")]
    Environment {
        /// The name of the variable.
        variable: &'static str,
        /// What is wrong with the value.
        cause: Box<Error>,
    },
    /// The value of an environment variable, or the name of a key file, is not UTF-8.
    #[error("the value is not UTF-8")]
    NotText,
    /// The system's random number generator failed.
    #[error("the system's random number generator failed, so nothing was signed: try again")]
    NoRandomness,
}

fn rate_advice(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(
        || "zero: it allows no call".to_owned(),
        |after| format!("used up: retry in {} seconds", whole_seconds(after)),
    )
}

/// Rounds up to whole seconds, so that a caller who waits that long has waited long enough.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}
