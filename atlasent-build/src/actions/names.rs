//! From the names of a schema, which can be any text, to names of Rust.

use unicode_ident::{is_xid_continue, is_xid_start};

/// Keywords that an identifier can be with `r#`, of all editions.
const KEYWORDS: [&str; 48] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// Keywords that no identifier can be.
const RESERVED: [&str; 4] = ["Self", "crate", "self", "super"];

/// Returns the name of a type or a variant: the words in camel case, such as `DeployProduction` for
/// `deploy.production`. Returns `None` for a text without letters and digits.
pub(super) fn type_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for word in words(text) {
        let is_loud = word.chars().nth(1).is_some() && !word.chars().any(char::is_lowercase);
        let mut rest = word.chars();
        let first: String = rest.next()?.to_uppercase().collect();
        let rest = match is_loud {
            true => rest.as_str().to_lowercase(),
            false => rest.as_str().to_owned(),
        };
        // `v1.2` and `v12` are two names.
        let is_digit = |c: Option<char>| c.is_some_and(char::is_numeric);
        if is_digit(name.chars().last()) && is_digit(first.chars().next()) {
            name.push('_');
        }
        name.push_str(&first);
        name.push_str(&rest);
    }
    finish(name).map(|name| match RESERVED.contains(&&*name) {
        true => format!("{name}_"),
        false => name,
    })
}

/// Returns the name of a field: the words in snake case, such as `commit_sha` for `commitSha`.
/// Returns `None` for a text without letters and digits.
pub(super) fn field_name(text: &str) -> Option<String> {
    let words: Vec<String> = words(text)
        .flat_map(humps)
        .map(|word| word.to_lowercase())
        .collect();
    let name = finish(words.join("_"))?;
    Some(if RESERVED.contains(&&*name) {
        format!("{name}_")
    } else if KEYWORDS.contains(&&*name) {
        format!("r#{name}")
    } else {
        name
    })
}

/// Returns whether a text can be the name of an item as it is.
pub(super) fn is_name(text: &str) -> bool {
    let is_keyword = KEYWORDS.contains(&text) || RESERVED.contains(&text);
    is_identifier(text) && !is_keyword && text != "_"
}

fn is_identifier(text: &str) -> bool {
    let starts = |c| c == '_' || is_xid_start(c);
    text.chars().next().is_some_and(starts) && text.chars().all(is_xid_continue)
}

/// Completes a name that may be empty or start with a digit.
fn finish(name: String) -> Option<String> {
    let name = match name.chars().next()? {
        first if is_xid_start(first) => name,
        _ => format!("_{name}"),
    };
    is_identifier(&name).then_some(name)
}

/// Returns the longest parts of letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c| c == '_' || !is_xid_continue(c));
    words.filter(|word| !word.is_empty())
}

/// Splits a word where its case shows a word inside of it: `commitSha`, `HTTPServer`.
fn humps(word: &str) -> Vec<&str> {
    let mut humps = Vec::new();
    let mut start = 0;
    let characters: Vec<(usize, char)> = word.char_indices().collect();
    for window in characters.windows(2) {
        let [(_, before), (at, here)] = *window else {
            continue;
        };
        let after = word
            .get(at + here.len_utf8()..)
            .and_then(|rest| rest.chars().next());
        let begins = here.is_uppercase()
            && (!before.is_uppercase() || after.is_some_and(char::is_lowercase));
        if begins {
            humps.extend(word.get(start..at));
            start = at;
        }
    }
    humps.extend(word.get(start..));
    humps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_the_words_of_the_schema_in_camel_case() {
        for (text, name) in [
            ("deploy.production", "DeployProduction"),
            ("modify_patient_record", "ModifyPatientRecord"),
            ("wire-transfer: large", "WireTransferLarge"),
            ("deployProduction", "DeployProduction"),
            ("DEPLOY_PROD", "DeployProd"),
            ("x", "X"),
            ("self", "Self_"),
            ("type", "Type"),
            ("v1.2", "V1_2"),
            ("v12", "V12"),
            ("2fa.reset", "_2faReset"),
            ("überweisen", "Überweisen"),
            ("部署", "部署"),
        ] {
            assert_eq!(type_name(text).as_deref(), Some(name), "{text}");
        }
        for text in ["", "???", "_", "½", "🚀", " \n"] {
            assert_eq!(type_name(text), None, "{text}");
        }
    }

    #[test]
    fn a_field_has_the_words_of_the_schema_in_snake_case() {
        for (text, name) in [
            ("commit", "commit"),
            ("commitSha", "commit_sha"),
            ("HTTPServer2Go", "http_server2_go"),
            ("odd {key}", "odd_key"),
            ("type", "r#type"),
            ("Self", "self_"),
            ("crate", "crate_"),
            ("gen", "r#gen"),
            ("2nd", "_2nd"),
            ("_", "None"),
        ] {
            assert_eq!(
                field_name(text).as_deref().unwrap_or("None"),
                name,
                "{text}"
            );
        }
    }

    #[test]
    fn a_chosen_name_is_an_identifier_and_no_keyword() {
        for name in ["Deploy", "deploy", "_x", "Überweisen"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "_", "2x", "a b", "type", "Self", "r#type", "a::b", "a;"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
