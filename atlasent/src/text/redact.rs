//! Redacted and shortened display: the end of a secret, the beginning of a text from outside.

use std::fmt;

use serde_json::Value;

use crate::text::escape::{Escaped, escaped};

/// The number of characters of a secret that are shown.
const SHOWN: usize = 6;
/// The number of characters of a text from outside that an error quotes.
const EXCERPT: usize = 64;

/// Shows the last six characters of a secret that has more than twelve, and otherwise none.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")?;
        let hidden = self.0.chars().count().saturating_sub(SHOWN);
        if hidden <= SHOWN {
            return Ok(());
        }
        let end = self.0.char_indices().nth(hidden);
        let end = end.and_then(|(at, _)| self.0.get(at..)).unwrap_or_default();
        write!(f, "{}", Escaped::new(end))
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Shows the names of a JSON object's members and hides all values, which may be secrets.
pub(crate) struct Names<'a>(pub(crate) &'a Value);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Object(members) => f.debug_set().entries(members.keys()).finish(),
            _ => f.write_str("…"),
        }
    }
}

/// Returns the beginning of a text from outside, escaped for display.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", escaped(text.get(..end).unwrap_or_default())),
        None => escaped(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_its_last_six_characters_only() {
        assert_eq!(Redacted("permit_0123456789").to_string(), "…456789");
        assert_eq!(Redacted("übermäßiglängerß").to_string(), "…ängerß");
    }

    #[test]
    fn the_end_of_a_token_is_safe_to_print() {
        assert_eq!(
            Redacted("permit_0123456\n\u{1b}x").to_string(),
            "…456\\n\\u{1b}x"
        );
    }

    #[test]
    fn a_short_token_shows_nothing() {
        for token in ["", "a", "123456", "123456789012"] {
            assert_eq!(Redacted(token).to_string(), "…");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("a\nb"), "a\\nb");
        let long = excerpt(&"x".repeat(1000));
        assert_eq!(long.chars().count(), EXCERPT + 1);
    }
}
