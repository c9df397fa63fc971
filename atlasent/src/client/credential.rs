//! The credential of a client: checked when the client is built, and never printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::Error;
use crate::text::redact::excerpt;

const PREFIXES: [&str; 2] = ["ask_live_", "ask_test_"];
/// The number of characters of an invalid key that an error shows (contract, part A).
const SHOWN: usize = 8;
/// The longest bearer token, in bytes. Many servers accept at most 16 KiB of headers.
const LONGEST_TOKEN: usize = 8 * 1024;

/// An API key, `ask_live_…` or `ask_test_…`, or a bearer token. Its memory is zeroed when it is
/// dropped.
#[derive(Clone)]
pub(crate) struct Credential {
    secret: SecretString,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ApiKey,
    BearerToken,
}

impl Kind {
    /// Returns the text that replaces the secret.
    const fn hidden(self) -> &'static str {
        match self {
            Self::ApiKey => "[api key]",
            Self::BearerToken => "[bearer token]",
        }
    }
}

impl Credential {
    /// Checks an API key.
    pub(crate) fn api_key(key: SecretString) -> Result<Self, Error> {
        let text = key.expose_secret();
        let rest = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix));
        let is_key = rest.is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        });
        if is_key {
            return Ok(Self {
                secret: key,
                kind: Kind::ApiKey,
            });
        }
        let shown: String = text.chars().take(SHOWN).collect();
        Err(Error::config(format!(
            "the API key that starts with `{}` is invalid: a key is `ask_live_…` or `ask_test_…`, followed by \
             letters, digits, `_` and `-`; check for white space, quotes or a missing end",
            excerpt(&shown)
        )))
    }

    /// Checks a bearer token: the characters of RFC 6750, section 2.1. The error shows nothing of
    /// it.
    pub(crate) fn bearer_token(token: SecretString) -> Result<Self, Error> {
        let text = token.expose_secret();
        if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(Error::config(
                "the bearer token is an API key: pass it to `api_key`",
            ));
        }
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
        let body = text.trim_end_matches('=');
        if body.is_empty() || !body.bytes().all(is_plain) || text.len() > LONGEST_TOKEN {
            return Err(Error::config(format!(
                "the bearer token is invalid: a token is 1 to {LONGEST_TOKEN} letters, digits and `-._~+/`, and may \
                 end in `=`; check for white space, quotes or the word `Bearer`"
            )));
        }
        Ok(Self {
            secret: token,
            kind: Kind::BearerToken,
        })
    }

    pub(crate) fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Returns the API key, for the bodies that repeat it (contract, part A). Returns `None` for a
    /// bearer token, which is sent only in the header.
    pub(crate) fn as_api_key(&self) -> Option<&str> {
        (self.kind == Kind::ApiKey).then(|| self.expose())
    }

    /// Returns the credential without the prefix of an API key, which is not secret.
    pub(crate) fn secret_part(&self) -> &str {
        let key = self.expose();
        PREFIXES
            .iter()
            .find_map(|prefix| key.strip_prefix(prefix))
            .unwrap_or(key)
    }

    /// Replaces the credential in a text, since a server may echo it. Returns `None` if the text
    /// does not contain it.
    pub(crate) fn scrubbed(&self, text: &str) -> Option<String> {
        text.contains(self.expose())
            .then(|| text.replace(self.expose(), self.kind.hidden()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.hidden())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(key: &str) -> Result<Credential, Error> {
        Credential::api_key(SecretString::from(key))
    }

    fn take_token(token: &str) -> Result<Credential, Error> {
        Credential::bearer_token(SecretString::from(token))
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
        assert_eq!(key.as_api_key(), Some("ask_live_0123456789"));

        let token = take_token("eyJhbGciOiJub25lIn0.e30.c2ln").unwrap();
        assert_eq!(format!("{token:?}"), "[bearer token]");
        assert_eq!(
            token
                .scrubbed("no eyJhbGciOiJub25lIn0.e30.c2ln!")
                .as_deref(),
            Some("no [bearer token]!")
        );
        assert_eq!(token.secret_part(), token.expose());
        assert_eq!(token.as_api_key(), None, "no body repeats it");
    }

    #[test]
    fn a_bearer_token_has_the_characters_of_its_rfc_and_no_error_shows_it() {
        for token in [
            "a",
            "eyJhbGciOiJub25lIn0.e30.c2ln-_",
            "a+/~b==",
            "ASK_LIVE_a",
        ] {
            assert_eq!(take_token(token).unwrap().expose(), token);
        }
        let long = "a".repeat(LONGEST_TOKEN + 1);
        for no_token in [
            "",
            "==",
            "a=b",
            " hunter2",
            "hunter2\n",
            "Bearer hunter2",
            "\"hunter2\"",
            "hunterä",
            "ask_live_hunter2",
            &long,
        ] {
            let error = take_token(no_token).unwrap_err().to_string();
            assert!(!error.contains("hunter"), "{error}");
            assert!(error.len() < 300, "{error}");
        }
    }
}
