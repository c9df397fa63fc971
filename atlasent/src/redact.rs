//! How secrets and foreign text are shown: the end of a token, the beginning of a text.

use std::fmt;

/// How many characters of a secret may be shown.
const SHOWN: usize = 6;
/// How many characters of somebody else's text an error repeats.
const EXCERPT: usize = 64;

/// Shows the last six characters of a secret, and nothing of one that is hardly longer than that.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")?;
        let hidden = self.0.chars().count().saturating_sub(SHOWN);
        if hidden <= SHOWN {
            return Ok(());
        }
        self.0
            .chars()
            .skip(hidden)
            .try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The beginning of a text that came from outside, on one line, safe to print.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(EXCERPT)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(EXCERPT).is_some() {
        shown.push('…');
    }
    shown
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
