//! Errors of `serde_json` without the values that they quote.

use super::escape::escaped;

/// The longest text of an error, in characters.
const LONGEST: usize = 500;

/// Describes an error of `serde_json` on one line, without the value that it quotes: that value
/// comes from outside, may be a secret, and may be long.
///
/// ```
/// let error = serde_json::from_str::<bool>("\"hunter2\"").unwrap_err();
/// assert_eq!(
///     atlasent::text::json_error(&error),
///     "invalid type, expected a boolean at line 1 column 9"
/// );
/// ```
#[must_use]
pub fn json_error(error: &serde_json::Error) -> String {
    without_value(&error.to_string())
}

/// Removes the value from a message such as `invalid type: string "p", expected a boolean at line 1
/// column 9`. The value may contain `, expected` itself; the text behind the last one is serde's.
fn without_value(message: &str) -> String {
    let kinds = [
        "invalid type",
        "invalid value",
        "unknown variant",
        "unknown field",
    ];
    let found = kinds
        .into_iter()
        .filter_map(|kind| Some(message.find(kind)? + kind.len()))
        .min()
        .and_then(|end| message.split_at_checked(end));
    let text = match found {
        Some((kind, value)) => {
            let expected = value.rfind(", expected").and_then(|at| value.get(at..));
            format!("{kind}{}", expected.unwrap_or_default())
        }
        None => message.to_owned(),
    };
    escaped(&text).chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_no_value() {
        for value in [
            r#""hunter2""#,
            r#""hunter2\", expected a boolean""#,
            r#"{"hunter2": 1}"#,
            "4711",
            "-4711.5",
        ] {
            let error = serde_json::from_str::<bool>(value).unwrap_err();
            let message = json_error(&error);
            assert!(
                !message.contains("hunter2") && !message.contains("4711"),
                "{message}"
            );
            assert!(
                message.starts_with("invalid type, expected a boolean"),
                "{message}"
            );
        }
    }
}
