//! The claims of a token, verified or not.

use std::fmt;

use crate::registered::RegisteredClaims;
use crate::{Error, RateSpec, RateWindow};

/// The claims of a token (RFC 7519 §2, *JWT Claims Set*), verified or not.
///
/// [`Claims`](crate::Claims) and [`Unverified`](crate::Unverified) dereference to it, so that
/// `claims.sub()` works on both. It grants nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimsSet {
    /// The JSON text in the token.
    text: String,
    registered: RegisteredClaims,
}

impl ClaimsSet {
    /// Reads the payload of a token.
    pub(crate) fn read(text: String) -> Result<Self, Error> {
        let registered = RegisteredClaims::from_json(&text)?;
        Ok(Self { text, registered })
    }

    /// Writes the payload of a token.
    pub(crate) fn write(registered: RegisteredClaims) -> Result<Self, Error> {
        let text = serde_json::to_string(&registered).map_err(|_| Error::Malformed {
            reason: "its claims cannot be written as JSON",
        })?;
        Ok(Self { text, registered })
    }

    pub(crate) fn registered(&self) -> &RegisteredClaims {
        &self.registered
    }

    /// Returns the subject (`sub`): the agent, or the sandbox that it runs in.
    #[must_use]
    pub fn sub(&self) -> &str {
        &self.registered.sub
    }

    /// Returns the audiences (`aud`): the services that the token is for.
    #[must_use]
    pub fn aud(&self) -> &[String] {
        &self.registered.aud
    }

    /// Returns the time of issue (`iat`), in Unix seconds.
    #[must_use]
    pub fn iat(&self) -> u64 {
        self.registered.iat
    }

    /// Returns the time of expiry (`exp`), in Unix seconds.
    #[must_use]
    pub fn exp(&self) -> u64 {
        self.registered.exp
    }

    /// Returns the issuer (`iss`), if the token names one.
    #[must_use]
    pub fn iss(&self) -> Option<&str> {
        self.registered.iss.as_deref()
    }

    /// Returns the token's id (`jti`), if it has one.
    #[must_use]
    pub fn jti(&self) -> Option<&str> {
        self.registered.jti.as_deref()
    }

    /// Returns the id of the job that the agent works on (`job_id`), if the token names one.
    #[must_use]
    pub fn job_id(&self) -> Option<&str> {
        self.registered.job_id.as_deref()
    }

    /// Returns the id of the sandbox that the agent runs in (`sandbox_id`), if the token names one.
    #[must_use]
    pub fn sandbox_id(&self) -> Option<&str> {
        self.registered.sandbox_id.as_deref()
    }

    /// Returns the rates (`ati.rate`): each pattern of scopes with its limit on calls.
    ///
    /// # Errors
    ///
    /// [`Error::BadRate`] if any of the rates is malformed. The limits of the token are then
    /// unknown, so a service that enforces rates must refuse it.
    pub fn rates(&self) -> Result<Vec<(&str, RateSpec)>, Error> {
        self.registered.ati.rate.parsed()
    }

    /// Returns the agents that act for the subject (`act`, RFC 8693 §4.1), the current one first.
    /// It is empty for a token that was not [delegated](crate::delegate).
    pub fn actors(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.registered.act.0.iter().rev().map(String::as_str)
    }

    /// Returns the windows that a call counts in: those of the rates of this token, and of every
    /// token that it was delegated from.
    pub(crate) fn rate_windows(&self) -> Result<Vec<RateWindow<'_>>, Error> {
        let RegisteredClaims {
            act,
            delegation,
            ati,
            ..
        } = &self.registered;
        let tokens = delegation.iter().map(|parent| &parent.rate);
        let mut windows = Vec::new();
        for (place, rates) in tokens.chain([&ati.rate]).enumerate() {
            // The calls of a token that was not delegated are those of its subject.
            let actors = match place {
                0 => 0,
                _ => act.0.len().saturating_sub(delegation.len() - place),
            };
            let actors = act.0.get(..actors).unwrap_or(&act.0);
            for (pattern, rate) in rates.parsed()? {
                windows.push(RateWindow {
                    subject: self.sub(),
                    actors,
                    pattern,
                    rate,
                });
            }
        }
        Ok(windows)
    }

    /// Returns the JSON text of the claims, byte for byte as the token has it.
    ///
    /// Claims that this crate does not know are included.
    #[must_use]
    pub fn to_json(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ClaimsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `{:?}` escapes the line breaks that the token's author may have put between claims.
        write!(f, "ClaimsSet({:?})", self.text)
    }
}
