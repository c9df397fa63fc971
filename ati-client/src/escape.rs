//! How foreign text is shown: its beginning, on one line, and nothing that a terminal obeys.

use std::fmt::{self, Write};

/// How many characters of foreign text an error keeps.
const EXCERPT: usize = 64;

/// The beginning of a text that came from outside, for an error to keep.
pub(crate) fn excerpt(text: &str) -> String {
    let mut kept: String = text.chars().take(EXCERPT).collect();
    if text.chars().nth(EXCERPT).is_some() {
        kept.push('…');
    }
    kept
}

/// Foreign text as it may be displayed: on one line, with every character escaped that is not
/// printed.
///
/// Those are control characters, line separators, directional overrides and other invisible ones.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            // `escape_debug` is for literals, where a quote would end the text.
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
        assert_eq!(long.chars().count(), EXCERPT + 1);
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
