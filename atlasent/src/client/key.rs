//! The API key: checked when it is taken, and never shown.

use std::borrow::Cow;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::Error;
use crate::redact::excerpt;

/// How many characters of something that is not a key an error shows (contract, part A).
const SHOWN: usize = 8;
/// What takes the place of the key in a text.
const HIDDEN: &str = "[api key]";

/// `ask_live_…` or `ask_test_…`, zeroized when it is dropped.
#[derive(Clone)]
pub(crate) struct ApiKey(SecretString);

impl ApiKey {
    pub(crate) fn new(key: SecretString) -> Result<Self, Error> {
        let text = key.expose_secret();
        let rest = ["ask_live_", "ask_test_"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix));
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
        Err(Error::Config(format!(
            "the API key that starts with `{}` is none: a key is `ask_live_…` or `ask_test_…`, the rest of it \
             letters, digits, `_` and `-`; look for white space, quotes or a cut end",
            excerpt(&shown)
        )))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// `text` without the key in it: a server may echo what it was sent.
    pub(crate) fn scrub(&self, text: &str) -> String {
        text.replace(self.expose(), HIDDEN)
    }
}

/// JSON with its letters as they are: `\u0061` is an `a`, and a secret may be written so.
pub(crate) fn without_escapes(json: &str) -> Cow<'_, str> {
    if !json.contains("\\u00") {
        return Cow::Borrowed(json);
    }
    let mut plain = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let letter = escape
            .strip_prefix('u')
            .and_then(|digits| digits.get(..4))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .map(char::from)
            .filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
        let length = match letter {
            Some(letter) => {
                plain.push(letter);
                5
            }
            None => {
                plain.push('\\');
                let escaped = escape.chars().next();
                plain.extend(escaped);
                escaped.map_or(0, char::len_utf8)
            }
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    Cow::Owned(plain)
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
    fn letters_are_letters_however_they_are_written() {
        for (json, plain) in [
            (r#"{"a":"ask\u005ftest"}"#, r#"{"a":"ask_test"}"#),
            (
                r#""\u0022\u005C\u000a\n\\u0061""#,
                r#""\u0022\u005C\u000a\n\\u0061""#,
            ),
            (r#""\\\u0061\u00e9\ud83d""#, r#""\\a\u00e9\ud83d""#),
            (r"\u0061\", r"a\"),
            (r"\u0061\u00", r"a\u00"),
            ("\\u0061\\é", "a\\é"),
        ] {
            assert_eq!(without_escapes(json), plain);
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = take("ask_live_0123456789").unwrap();
        assert_eq!(format!("{key:?}"), "[api key]");
        assert_eq!(key.scrub("no ask_live_0123456789!"), "no [api key]!");
    }
}
