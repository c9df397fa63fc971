//! The API key: checked when a client is built, and never printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::Error;
use crate::text::redact::excerpt;

const PREFIXES: [&str; 2] = ["ask_live_", "ask_test_"];
/// The number of characters of an invalid key that an error shows (contract, part A).
const SHOWN: usize = 8;
/// The text that replaces the key.
const HIDDEN: &str = "[api key]";

/// An API key, `ask_live_…` or `ask_test_…`. Its memory is zeroed when it is dropped.
#[derive(Clone)]
pub(crate) struct ApiKey(SecretString);

impl ApiKey {
    pub(crate) fn new(key: SecretString) -> Result<Self, Error> {
        let text = key.expose_secret();
        let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix));
        let is_key = rest.is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        });
        if is_key {
            return Ok(Self(key));
        }
        let shown: String = text.chars().take(SHOWN).collect();
        Err(Error::config(format!(
            "the API key that starts with `{}` is invalid: a key is `ask_live_…` or `ask_test_…`, followed by \
             letters, digits, `_` and `-`; check for white space, quotes or a missing end",
            excerpt(&shown)
        )))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the key without its prefix, which is not secret.
    pub(crate) fn secret_part(&self) -> &str {
        let key = self.expose();
        PREFIXES
            .iter()
            .find_map(|prefix| key.strip_prefix(prefix))
            .unwrap_or(key)
    }

    /// Replaces the key in a text, since a server may echo it. `None` if the text does not contain
    /// the key.
    pub(crate) fn scrubbed(&self, text: &str) -> Option<String> {
        text.contains(self.expose())
            .then(|| text.replace(self.expose(), HIDDEN))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(key: &str) -> Result<ApiKey, Error> {
        ApiKey::new(SecretString::from(key))
    }

    #[test]
    fn a_key_has_its_prefix_and_a_rest() {
        for key in ["ask_live_a", "ask_test_0-_Z", "ask_live_ask_test_"] {
            assert_eq!(take(key).unwrap().expose(), key);
        }
        for no_key in [
            "",
            "ask_live_",
            "ask_prod_abc",
            "ASK_LIVE_abc",
            " ask_live_abc",
            "ask_live_abc\n",
            "ask_live_a b",
            "ask_live_ä",
            "\"ask_live_abc\"",
        ] {
            assert!(take(no_key).is_err(), "{no_key:?}");
        }
    }

    #[test]
    fn no_more_than_eight_characters_are_shown() {
        let error = take("sk-0123456789abcdef").unwrap_err().to_string();
        assert!(error.contains("`sk-01234`"), "{error}");
        assert!(!error.contains("sk-012345"), "{error}");
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = take("ask_live_0123456789").unwrap();
        assert_eq!(format!("{key:?}"), "[api key]");
        assert_eq!(
            key.scrubbed("no ask_live_0123456789!").as_deref(),
            Some("no [api key]!")
        );
        assert_eq!(key.scrubbed("no ask_live_012345678!"), None);
        assert_eq!(key.secret_part(), "0123456789");
    }
}
