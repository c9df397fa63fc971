//! The permit token: the secret by which an authority knows a permit.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::redact::Redacted;

/// The longest token that is taken, in bytes.
const MAX_LEN: usize = 8 * 1024;

/// What an authority hands out on an allow and asks for again at verification.
///
/// Whoever holds it before it is verified can spend it, so it prints redacted.
///
/// ```
/// let token = atlasent::PermitToken::new("permit_0123456789")?;
/// assert_eq!(format!("{token:?}"), r#""…456789""#);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermitToken(String);

impl PermitToken {
    /// Takes a token as it is. An empty one is taken too, since it can stand on the wire; it opens nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is longer than 8 KiB.
    pub fn new(token: impl Into<String>) -> Result<Self, Error> {
        let token = token.into();
        if token.len() > MAX_LEN {
            return Err(Error::invalid(format!(
                "the permit token has {} bytes, more than {MAX_LEN}",
                token.len()
            )));
        }
        Ok(Self(token))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `text` without this token in it.
    pub(crate) fn scrub(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        text.replace(&self.0, &Redacted(&self.0).to_string())
    }

    /// [`scrub`](Self::scrub), for a text that need not be there.
    pub(crate) fn scrub_option(&self, text: Option<String>) -> Option<String> {
        text.map(|text| match text.contains(&self.0) {
            true => self.scrub(&text),
            false => text,
        })
    }
}

impl TryFrom<String> for PermitToken {
    type Error = Error;

    fn try_from(token: String) -> Result<Self, Error> {
        Self::new(token)
    }
}

impl From<PermitToken> for String {
    fn from(token: PermitToken) -> Self {
        token.0
    }
}

impl fmt::Debug for PermitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Redacted(&self.0), f)
    }
}

impl fmt::Display for PermitToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Redacted(&self.0), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_bounded() {
        assert!(PermitToken::new("x".repeat(MAX_LEN)).is_ok());
        assert!(PermitToken::new("x".repeat(MAX_LEN + 1)).is_err());
    }

    #[test]
    fn a_scrubbed_text_holds_no_token() {
        let token = PermitToken::new("permit_0123456789").unwrap();
        assert_eq!(token.scrub("no permit_0123456789 here"), "no …456789 here");
        assert_eq!(PermitToken::new("").unwrap().scrub("abc"), "abc");
    }
}
