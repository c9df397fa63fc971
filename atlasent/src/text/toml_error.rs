//! Errors of a TOML parser without the values that they quote.

use super::escape::escaped;

/// Describes an error in a settings file in TOML on one line: the line number, and the parser's
/// message without the value that it quotes, which may be a secret. The names of unknown settings
/// are kept. `message` and `offset` are those of the parser; `offset` is in bytes.
///
/// ```
/// let text = "name = \"a\"\nclient_secret = \"hunter2\"\n";
/// let message = "unknown variant `hunter2`, expected `env` or `file`";
/// assert_eq!(
///     atlasent::text::toml_error(text, message, Some(27)),
///     "line 2: unknown variant, expected `env` or `file`"
/// );
/// ```
#[must_use]
pub fn toml_error(text: &str, message: &str, offset: Option<usize>) -> String {
    let why = without_value(message);
    match offset.and_then(|offset| text.get(..offset)) {
        Some(before) => format!("line {}: {why}", before.matches('\n').count() + 1),
        None => why,
    }
}

fn without_value(message: &str) -> String {
    if message.contains("invalid type") || message.contains("invalid value") {
        return "a value has the wrong type".to_owned();
    }
    if message.contains("unknown variant") {
        // The value may contain `, expected` itself; the text behind the last one is serde's.
        let expected = message
            .rfind(", expected ")
            .and_then(|at| message.get(at..))
            .unwrap_or_default();
        return format!("unknown variant{expected}");
    }
    let line = message.lines().next().unwrap_or_default();
    escaped(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_no_value() {
        for (message, why) in [
            (
                "invalid type: string \"hunter2\", expected u16",
                "a value has the wrong type",
            ),
            (
                "invalid value: integer `4711`, expected u8",
                "a value has the wrong type",
            ),
            (
                "unknown variant `hunter2\n, expected `, expected `env` or `file`",
                "unknown variant, expected `env` or `file`",
            ),
            (
                "unknown variant `hunter2`, there are no variants",
                "unknown variant",
            ),
            (
                "unknown field `a`, expected `b`\n",
                "unknown field `a`, expected `b`",
            ),
        ] {
            assert_eq!(
                toml_error("a\nb", message, Some(2)),
                format!("line 2: {why}")
            );
            assert_eq!(toml_error("a\nb", message, None), why);
            assert_eq!(toml_error("é", message, Some(1)), why);
        }
    }
}
