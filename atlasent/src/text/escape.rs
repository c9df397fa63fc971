//! Escapes text from outside for display: one line, in reading order, without invisible characters.
//!
//! Errors, refusals, findings and traces display text from outside with it. Accessors return the
//! text unescaped.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Displays a text with every deceptive character escaped.
///
/// These are control characters, which end a line or drive a terminal; U+2028 and U+2029, which end
/// a line for many log readers; and the characters that Unicode displays as nothing
/// (`Default_Ignorable_Code_Point`, Unicode 16), among them bidirectional controls, which reorder
/// the display, and zero-width characters, which make two names look alike.
///
/// Quotes and backslashes are not escaped. Escaping twice therefore changes nothing, and the
/// original text cannot be recovered from the display.
///
/// Every error and refusal of this crate displays text from outside this way. Accessors return it
/// unescaped, for comparison and storage. To print such a text:
///
/// ```
/// use atlasent::text::Escaped;
/// use atlasent::Agent;
///
/// let agent = Agent::new("bot\n2026-11-01 INFO permitted")?;
/// assert_eq!(
///     format!("{} was refused", Escaped::new(agent.as_str())),
///     r"bot\n2026-11-01 INFO permitted was refused",
/// );
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a str);

impl<'a> Escaped<'a> {
    /// Wraps a text for display.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(is_deceptive) {
            let (plain, from) = rest.split_at(at);
            f.write_str(plain)?;
            let mut characters = from.chars();
            if let Some(character) = characters.next() {
                write!(f, "{}", character.escape_default())?;
            }
            rest = characters.as_str();
        }
        f.write_str(rest)
    }
}

/// Returns the text as [`Escaped`] displays it, borrowed if it needs no escape.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    // Writing to a `String` cannot fail.
    let _ = write!(shown, "{}", Escaped::new(text));
    Cow::Owned(shown)
}

fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_ends_a_line_drives_a_terminal_or_does_not_show_is_escaped() {
        for (text, shown) in [
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred\u{7f}\0", "\\u{1b}[31mred\\u{7f}\\u{0}"),
            ("\u{85}\u{9b}", "\\u{85}\\u{9b}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("user\u{202e}nimda\u{2066}", "user\\u{202e}nimda\\u{2066}"),
            ("bo\u{200b}t\u{feff}", "bo\\u{200b}t\\u{feff}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn what_shows_as_itself_stays() {
        for text in [
            "",
            "plain",
            "`\"it's\"` C:\\temp",
            "naïve ü 漢字　नमस्ते",
            "e\u{301}",
            "🦀",
        ] {
            assert!(matches!(escaped(text), Cow::Borrowed(shown) if shown == text));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_one_line_and_escaping_it_again_changes_nothing(text in any::<String>()) {
            let once = escaped(&text).into_owned();
            prop_assert!(!once.contains(is_deceptive));
            prop_assert_eq!(escaped(&once), once.as_str());
        }
    }
}
