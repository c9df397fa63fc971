//! Settings in error texts.

/// The most characters of a setting that an error quotes.
const MAX_CHARS: usize = 32;

/// Quotes a setting in backticks for an error text, such as the name of an environment variable. A
/// setting of more than 32 characters, which may be a secret in the wrong place, is described by its
/// length instead.
///
/// ```
/// use atlasent::text::quoted;
///
/// assert_eq!(quoted("ATLASENT_API_KEY"), "`ATLASENT_API_KEY`");
/// assert_eq!(quoted(&"s3cret".repeat(7)), "a text of 42 characters");
/// ```
#[must_use]
pub fn quoted(setting: &str) -> String {
    let length = setting.chars().count();
    if length > MAX_CHARS {
        format!("a text of {length} characters")
    } else {
        format!("`{setting}`")
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_setting_as_long_as_a_secret_is_not_repeated() {
        assert_eq!(quoted("--subject"), "`--subject`");
        assert_eq!(quoted(&"ü".repeat(32)), format!("`{}`", "ü".repeat(32)));
        assert_eq!(quoted(&"a".repeat(33)), "a text of 33 characters");
    }
}
