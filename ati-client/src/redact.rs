//! How foreign text is shown in an error: its beginning, on one line.

/// How many characters of somebody else's text an error repeats.
const EXCERPT: usize = 64;

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
    fn an_excerpt_is_short_and_on_one_line() {
        assert_eq!(excerpt("a\nb\u{1b}"), "a\\nb\\u{1b}");
        let long = excerpt(&"x".repeat(1000));
        assert_eq!(long.chars().count(), EXCERPT + 1);
    }
}
