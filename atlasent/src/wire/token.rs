//! The permit token: the secret that identifies a permit to its authority.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use serde_json::Value;

use crate::Error;
use crate::text::redact::Redacted;
use crate::text::unescape::holds;

/// The maximum length of a token, in bytes.
const MAX_LEN: usize = 8 * 1024;

/// The secret that an authority returns with an allow and expects at verification.
///
/// A holder of an unverified token can use the permit, so the token prints redacted.
///
/// ```
/// let token = atlasent::wire::PermitToken::new("permit_0123456789")?;
/// assert_eq!(format!("{token:?}"), r#""…456789""#);
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// Clones share the text.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PermitToken(Arc<str>);

impl PermitToken {
    /// Creates a token from its text. The empty token can occur on the wire and is accepted; it
    /// belongs to no permit.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the text is longer than 8 KiB.
    pub fn new(token: impl Into<Arc<str>>) -> Result<Self, Error> {
        let token = token.into();
        if token.len() > MAX_LEN {
            return Err(Error::invalid(format!(
                "the permit token has {} bytes: at most {MAX_LEN} are allowed",
                token.len()
            )));
        }
        Ok(Self(token))
    }

    /// Creates the empty token, which belongs to no permit.
    pub(crate) fn empty() -> Self {
        Self(Arc::default())
    }

    /// Returns the token of an allow: its `permit_token`, or its `decision_id` if the token is
    /// missing or empty. Returns `None` if both are missing or empty.
    pub(crate) fn from_allow(
        permit_token: Option<Self>,
        decision_id: Option<Self>,
    ) -> Option<Self> {
        let is_set = |token: &Self| !token.is_empty();
        permit_token
            .filter(is_set)
            .or_else(|| decision_id.filter(is_set))
    }

    /// Returns the secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns whether the token is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `text` with this token redacted. A text that contains the token in escapes becomes
    /// `…`.
    pub(crate) fn scrub(&self, text: &str) -> String {
        if self.is_empty() {
            return text.to_owned();
        }
        let scrubbed = text.replace(&*self.0, &Redacted(&self.0).to_string());
        match holds(&scrubbed, &self.0) {
            true => "…".to_owned(),
            false => scrubbed,
        }
    }

    /// [Scrubs](Self::scrub) an optional text.
    pub(crate) fn scrub_option(&self, text: Option<String>) -> Option<String> {
        text.map(|text| match holds(&text, &self.0) {
            true => self.scrub(&text),
            false => text,
        })
    }

    /// [Scrubs](Self::scrub) a text that may be borrowed.
    pub(crate) fn scrub_cow(&self, text: &mut Cow<'_, str>) {
        if holds(text, &self.0) {
            *text = self.scrub(text).into();
        }
    }

    /// [Scrubs](Self::scrub) a text in place.
    pub(crate) fn scrub_in_place(&self, text: &mut String) {
        if holds(text, &self.0) {
            *text = self.scrub(text);
        }
    }

    /// [Scrubs](Self::scrub) every text of a JSON value, including names and numbers.
    pub(crate) fn scrub_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.scrub_in_place(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.scrub_json(value)),
            Value::Object(members) => {
                *members = std::mem::take(members)
                    .into_iter()
                    .map(|(name, mut value)| {
                        self.scrub_json(&mut value);
                        (self.scrub(&name), value)
                    })
                    .collect();
            }
            Value::Number(number) if holds(&number.to_string(), &self.0) => {
                *value = self.scrub(&number.to_string()).into();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
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
        token.0.as_ref().to_owned()
    }
}

impl Serialize for PermitToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
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
        assert_eq!(token.scrub(r"no permit_\u0030123456789"), "…");
        assert_eq!(PermitToken::new("").unwrap().scrub("abc"), "abc");
    }

    #[test]
    fn scrubbed_json_holds_no_token_at_any_depth() {
        let token = PermitToken::new("7382910472839").unwrap();
        let mut json = serde_json::json!({
            "a": ["7382910472839", {"is 7382910472839": 7_382_910_472_839_u64}], "b": 1, "c": null
        });
        token.scrub_json(&mut json);
        assert_eq!(
            json,
            serde_json::json!({"a": ["…472839", {"is …472839": "…472839"}], "b": 1, "c": null})
        );
    }
}
