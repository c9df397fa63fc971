//! Finds secrets in text, also where the text spells them with escapes.
//!
//! Logs and errors may quote a secret in an encoded form. With the secret `a/b"c`:
//!
//! ```text
//! as it is             a/b"c
//! JSON string          a\/b\"c      a\u002fb\u0022c
//! Debug of Rust        a/b\"c       a\u{2f}b\x22c
//! URL                  a%2Fb%22c
//! JSON in JSON         a\\/b\\\"c    one layer is removed per round: a\/b\"c, then a/b"c
//! ```

use std::borrow::Cow;

/// The number of rounds in which escapes are removed. JSON in a JSON string has two layers.
const LAYERS: usize = 4;

/// The number of bytes at the start of a secret that are searched for first.
const START: usize = 16;

/// Returns whether a text contains a secret, unescaped or with the escapes of JSON and of Rust's
/// `Debug` (`\"`, `\/`, `\u0070`, `\u{70}`, `\x70`) or of URLs (`%70`). The empty secret is in no
/// text.
///
/// A text with more layers of escapes than [`LAYERS`] counts as containing the secret.
pub(crate) fn holds(text: &str, secret: &str) -> bool {
    // What an escape stands for is never longer than the escape, so a shorter text holds no secret.
    if secret.is_empty() || text.len() < secret.len() {
        return false;
    }
    let mut text = Cow::Borrowed(text);
    for _ in 0..LAYERS {
        if contains(&text, secret) {
            return true;
        }
        match unescaped(&text) {
            Cow::Owned(meaning) if meaning != text => text = Cow::Owned(meaning),
            _ => return false,
        }
    }
    // No legitimate text has this many layers, so the text is not shown.
    true
}

/// Returns whether a text contains a secret as it is.
///
/// The search for a long secret needs costly preparation. The search for its start does not, and
/// rules out almost every text.
pub(crate) fn contains(text: &str, secret: &str) -> bool {
    let has_start = secret.get(..START).is_none_or(|start| text.contains(start));
    has_start && text.contains(secret)
}

/// Replaces each escape by the bytes that it stands for. Incomplete escapes stay unchanged.
///
/// It builds bytes, since `%c3%bc` and `\xc3\xbc` spell one character (`ü`) in two escapes.
fn unescaped(text: &str) -> Cow<'_, str> {
    // A search for bytes is enough: both characters are ASCII, which is never a part of another
    // one.
    if !text.bytes().any(|byte| matches!(byte, b'\\' | b'%')) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '%']) {
        let (plain, from) = rest.split_at(at);
        bytes.extend_from_slice(plain.as_bytes());
        rest = match read_escape(from) {
            Some((meaning, after)) => {
                bytes.extend_from_slice(&meaning);
                after
            }
            None => {
                // `\` and `%` are one byte long.
                let (opener, after) = from.split_at(1);
                bytes.extend_from_slice(opener.as_bytes());
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the escape at the beginning of the text: returns the bytes that it stands for, and the
/// rest of the text.
///
/// ```text
/// %2Fb            → [0x2f],               "b"
/// \u{1f980}b      → [0xf0 0x9f 0xa6 0x80], "b"
/// \ud83e\udd80b  → the same: a surrogate pair (RFC 8259, 7), (0xd83e - 0xd800) << 10 = 0xf800,
///                   0xdd80 - 0xdc00 = 0x180, 0x10000 + 0xf800 + 0x180 = 0x1f980
/// \ud800          → None: half of a pair
/// ```
fn read_escape(text: &str) -> Option<(Vec<u8>, &str)> {
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let byte = |digits| Some(vec![u8::try_from(hex(digits)?).ok()?]);
    let character = |code| Some(char::from_u32(code)?.to_string().into_bytes());
    if let Some(rest) = text.strip_prefix('%') {
        let (digits, after) = rest.split_at_checked(2)?;
        return Some((byte(digits)?, after));
    }
    let rest = text.strip_prefix('\\')?;
    if let Some(rest) = rest.strip_prefix('x') {
        let (digits, after) = rest.split_at_checked(2)?;
        return Some((byte(digits)?, after));
    }
    if let Some((digits, after)) = rest
        .strip_prefix("u{")
        .and_then(|rest| rest.split_once('}'))
    {
        return Some((character(hex(digits)?)?, after));
    }
    if let Some(rest) = rest.strip_prefix('u') {
        let (digits, after) = rest.split_at_checked(4)?;
        let first = hex(digits)?;
        let low = after
            .strip_prefix("\\u")
            .and_then(|rest| rest.split_at_checked(4))
            .and_then(|(digits, after)| Some((hex(digits)?, after)));
        return match low {
            // A surrogate pair (RFC 8259, 7).
            Some((second @ 0xdc00..=0xdfff, after)) if (0xd800..=0xdbff).contains(&first) => {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                Some((character(code)?, after))
            }
            _ => Some((character(first)?, after)),
        };
    }
    let mut characters = rest.chars();
    let meaning = match characters.next()? {
        'n' => "\n".to_owned(),
        'r' => "\r".to_owned(),
        't' => "\t".to_owned(),
        'b' => "\u{8}".to_owned(),
        'f' => "\u{c}".to_owned(),
        '0' => "\0".to_owned(),
        itself => itself.to_string(),
    };
    Some((meaning.into_bytes(), characters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_behind_its_escapes() {
        let secret = "a/\"ü\u{1f980}b";
        for text in [
            "say a/\"ü\u{1f980}b now".to_owned(),
            format!("{:?}", format!("say {secret}")),
            serde_json::to_string(secret).unwrap(),
            r#"{"t":"a\/\"\u00fc\ud83e\udd80b"}"#.to_owned(),
            r"\u0061\u{2f}\x22\xc3\xbc\xf0\x9f\xa6\x80\u0062".to_owned(),
            "a%2F%22%c3%bc%F0%9F%A6%80b".to_owned(),
        ] {
            assert!(holds(&text, secret), "{text}");
        }
        for text in [
            "", "a/", "100%", r"\", r"\u", r"\ud800", "%zz%2", r"\x", r"\u{}",
        ] {
            assert!(!holds(text, secret), "{text}");
            let _ = unescaped(text);
        }
        assert!(!holds("anything", ""));
    }

    proptest::proptest! {
        /// The secrets are about as long as the start that is looked for first.
        #[test]
        fn a_secret_is_found_exactly_where_the_text_has_it(
            secret in "[abü]{1,24}",
            before in "[abü]{0,24}",
            after in "[abü]{0,24}",
        ) {
            let other = before.clone() + &after;
            proptest::prop_assert_eq!(contains(&other, &secret), other.contains(&*secret));
            proptest::prop_assert!(contains(&(before + &secret + &after), &secret));
        }

        /// So a text that is shorter than a secret need not be read.
        #[test]
        fn no_escape_is_shorter_than_what_it_stands_for(
            text in r#"([\%]?[\%ux0-9a-fA-F{}"/nt]{0,6}|\PC){0,6}"#,
        ) {
            proptest::prop_assert!(unescaped(&text).len() <= text.len());
        }
    }
}
