//! Errors for unknown keys, with a suggestion.

use proc_macro2::Ident;
use syn::Error;
use syn::ext::IdentExt as _;

/// Builds the error for an unknown key. The error suggests the key `meant`, or lists the `known`
/// keys.
///
/// `holder` is the attribute that takes the keys, such as `` `#[protect]` ``.
pub(crate) fn unknown(key: &Ident, meant: Option<&str>, known: &[&str], holder: &str) -> Error {
    let written = key.unraw();
    let message = match meant {
        Some(meant) => format!("unknown argument `{written}`: did you mean `{meant}`?"),
        None => format!(
            "unknown argument `{written}`: {holder} takes {}",
            list(known)
        ),
    };
    Error::new(key.span(), message)
}

/// Returns the known key that `written` misspells or abbreviates.
pub(crate) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase();
    let abbreviated = known
        .iter()
        .find(|key| written.len() >= 3 && key.starts_with(&written));
    abbreviated.copied().or_else(|| {
        known
            .iter()
            .map(|key| (strsim::damerau_levenshtein(&written, key), *key))
            // At most a third of the letters may differ. With more, the suggestion would mislead.
            .filter(|(distance, key)| *distance <= key.len() / 3)
            .min()
            .map(|(_, key)| key)
    })
}

/// Lists keys in backticks: `` `a`, `b` and `c` ``.
pub(crate) fn list(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["action", "agent", "resource", "request"];

    #[test]
    fn a_slip_is_recognized() {
        assert_eq!(nearest("actoin", &KEYS), Some("action"));
        assert_eq!(nearest("Agent", &KEYS), Some("agent"));
        assert_eq!(nearest("resouce", &KEYS), Some("resource"));
        assert_eq!(nearest("req", &KEYS), Some("request"));
    }

    #[test]
    fn an_unrelated_word_suggests_nothing() {
        assert_eq!(nearest("colour", &KEYS), None);
        assert_eq!(nearest("", &KEYS), None);
    }

    #[test]
    fn a_list_reads_as_a_sentence() {
        assert_eq!(list(&["a"]), "`a`");
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
