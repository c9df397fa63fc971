//! Shortens and escapes text from outside, so that errors and logs can display it.

use std::fmt::{self, Write};

/// The number of characters of a text from outside that an error keeps.
const MAX_CHARS: usize = 64;

/// Shortens a text from outside to 64 characters and `…`, for an error to keep.
pub(crate) fn excerpt(text: &str) -> String {
    let mut kept: String = text.chars().take(MAX_CHARS).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        kept.push('…');
    }
    kept
}

/// Displays a text from outside on one line, with every unprintable character escaped: control
/// characters, line separators, directional overrides and other invisible characters.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            // `escape_debug` is meant for literals, so it escapes quotes.
            '\'' | '"' => f.write_char(character),
            _ => write!(f, "{}", character.escape_debug()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_excerpt_is_short() {
        assert_eq!(excerpt("a\nb"), "a\nb");
        let long = excerpt(&"ü".repeat(1000));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn what_terminals_obey_is_escaped_and_the_rest_is_not() {
        let shown = |text| Escaped(text).to_string();
        assert_eq!(shown("naïve 'ü' \"漢\""), "naïve 'ü' \"漢\"");
        assert_eq!(
            shown("a\nb\r\u{1b}[31m\u{9b}"),
            "a\\nb\\r\\u{1b}[31m\\u{9b}"
        );
        assert_eq!(
            shown("\u{202e}\u{2066}\u{2028}"),
            "\\u{202e}\\u{2066}\\u{2028}"
        );
        assert_eq!(
            shown("\u{200b}\u{feff}\u{e0041}"),
            "\\u{200b}\\u{feff}\\u{e0041}"
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_a_line_or_turns_it_around(text in ".*|[\\x00-\\x1f\\x7f-\\u{9f}\u{2028}-\u{202e}\u{2066}-\u{2069}]*") {
            let shown = Escaped(&text).to_string();
            let obeyed = |character: char| {
                character.is_control()
                    || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            prop_assert!(!shown.contains(obeyed), "{shown:?}");
        }
    }
}
