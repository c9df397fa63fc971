//! The caller's own API key in the body of a request.
//!
//! The chain keeps names for good, and logs and approvers show them, so a body with the key in a
//! name is refused. Free texts and JSON values may contain the key, and are recorded and shown
//! without it ([`Caller::without_secret`]).
//!
//! [`Caller::without_secret`]: crate::local::caller::Caller::without_secret

use std::collections::BTreeMap;

use atlasent::text::Escaped;
use serde_json::value::RawValue;

use super::body;
use crate::server::api_error::ApiError;

/// The members of a body that may contain the key: the key itself, free texts, JSON values, and the
/// items of a batch, which are checked one by one. Every other member is a name or has no use for a
/// key.
const MAY_CONTAIN_KEY: [&str; 11] = [
    "api_key",
    "context",
    "current_state",
    "error",
    "escalation_reason",
    "items",
    "note",
    "proposed_action",
    "proposed_state",
    "reason",
    "state_snapshot",
];

/// The names inside of JSON values.
const NAMES_WITHIN: [(&str, &[&str]); 2] = [
    ("context", &["environment"]),
    (
        "proposed_action",
        &["action_type", "environment", "resource_id"],
    ),
];

/// Refuses a JSON body with its caller's API key in a name. The error names the member.
pub(crate) fn check_names(json: &[u8], key: &str) -> Result<(), ApiError> {
    // A text that is not UTF-8 is no JSON, and its endpoint refuses it.
    let text = std::str::from_utf8(json).unwrap_or_default();
    if !contains(text, key) {
        return Ok(());
    }
    let members: BTreeMap<String, &RawValue> = body::parse(json)?;
    for (name, value) in &members {
        if !contains(value.get(), key) {
            continue;
        }
        if !MAY_CONTAIN_KEY.contains(&&**name) {
            return Err(in_name(&known(name, key)));
        }
        let within = NAMES_WITHIN.iter().filter(|(parent, _)| parent == name);
        for name_within in within.flat_map(|(_, names)| names.iter()) {
            if has_key_in(value, name_within, key) {
                return Err(in_name(&format!("{name}.{name_within}")));
            }
        }
    }
    Ok(())
}

/// Returns whether a member of an object contains the key.
fn has_key_in(object: &RawValue, name: &str, key: &str) -> bool {
    let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(object.get());
    // The endpoint refuses what is no object.
    let value = members.ok().and_then(|members| members.get(name).copied());
    value.is_some_and(|value| contains(value.get(), key))
}

/// Returns the name of a member as an error may show it: callers choose the names of unknown ones.
fn known(name: &str, key: &str) -> String {
    const LONGEST: usize = 64;
    let name = name.replace(key, "…");
    let shown = Escaped::new(&name).to_string();
    shown.chars().take(LONGEST).collect()
}

fn in_name(name: &str) -> ApiError {
    ApiError::invalid(format!(
        "`{name}` contains the API key of the call, and names are recorded: leave the key out"
    ))
}

/// Returns whether a JSON text contains a key, in plain letters or with escapes.
fn contains(json: &str, key: &str) -> bool {
    json.contains(key) || json.contains("\\u") && with_plain_ascii(json).contains(key)
}

/// Replaces the escapes of printable ASCII characters, such as `\u0061`, by the characters. What it
/// returns need not be JSON.
///
/// An escaped backslash is skipped as a whole: `\\u0061` is a backslash and `u0061`.
fn with_plain_ascii(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.split_once('\\') {
        plain.push_str(before);
        let digits = escape
            .strip_prefix('u')
            .and_then(|rest| rest.split_at_checked(4));
        let character = digits.and_then(|(digits, after)| {
            let code = u8::from_str_radix(digits, 16).ok()?;
            code.is_ascii_graphic().then(|| (char::from(code), after))
        });
        match character {
            Some((character, after)) => {
                plain.push(character);
                rest = after;
            }
            None => {
                let mut escape = escape.chars();
                plain.push('\\');
                plain.extend(escape.next());
                rest = escape.as_str();
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ask_test_0123456789";

    /// Writes each character as an escape, where `escaped` says so.
    fn spelled(text: &str, escaped: &[bool]) -> String {
        let characters = text.chars().zip(escaped.iter().cycle());
        characters
            .map(|(character, is_escaped)| match is_escaped {
                true => format!("\\u{:04x}", u32::from(character)),
                false => character.to_string(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_key_in_a_name_is_found_however_it_is_spelled(
            escaped in prop::collection::vec(any::<bool>(), 1..20),
            (before, after) in ("[a-z ]{0,4}", "[a-z ]{0,4}"),
        ) {
            let key = spelled(KEY, &escaped);
            for name in ["actor_id", "unknown", "scope"] {
                for value in [format!(r#""{before}{key}{after}""#), format!(r#"[{{"{key}":1}}]"#)] {
                    let body = format!(r#"{{"reason":"\\\\\n","{name}":{value}}}"#);
                    let error = check_names(body.as_bytes(), KEY).unwrap_err();
                    prop_assert_eq!(error.code, "INVALID_FIELD");
                    let names_it = error.message().starts_with(&format!("`{name}` contains"));
                    prop_assert!(names_it && !error.message().contains(KEY), "{}", error.message());
                }
            }
        }

        #[test]
        fn texts_and_values_may_contain_the_key(
            escaped in prop::collection::vec(any::<bool>(), 1..20),
            at in 0..MAY_CONTAIN_KEY.len(),
        ) {
            let (name, key) = (MAY_CONTAIN_KEY[at], spelled(KEY, &escaped));
            for value in [format!(r#""{key}""#), format!(r#"{{"token":"{key}"}}"#)] {
                let body = format!(r#"{{"actor_id":"bot","{name}":{value}}}"#);
                prop_assert_eq!(check_names(body.as_bytes(), KEY), Ok(()), "{}", body);
            }
        }
    }

    #[test]
    fn a_name_inside_of_a_value_is_a_name() {
        for (parent, names) in NAMES_WITHIN {
            for name in names {
                let body = format!(r#"{{"{parent}":{{"x":1,"{name}":"a {KEY}"}}}}"#);
                let error = check_names(body.as_bytes(), KEY).unwrap_err();
                let start = format!("`{parent}.{name}` contains");
                assert!(error.message().starts_with(&start), "{}", error.message());
            }
        }
    }

    #[test]
    fn what_only_looks_like_an_escaped_key_is_none() {
        let other = KEY.replacen('a', r"\\u0061", 1);
        for body in [
            "{}".to_owned(),
            format!(r#"{{"actor_id":"{other}"}}"#),
            r#"{"actor_id":"ask_test_012345678"}"#.to_owned(),
            r#"{"actor_id":"\u00e9\ud83d\ude00\u"#.to_owned(),
        ] {
            assert_eq!(check_names(body.as_bytes(), KEY), Ok(()), "{body}");
        }
    }

    #[test]
    fn an_error_shows_no_key_and_no_long_name() {
        let name = format!("{KEY}\u{202e}{}", "x".repeat(1_000));
        let body = serde_json::json!({ name: KEY }).to_string();
        let error = check_names(body.as_bytes(), KEY).unwrap_err();
        let message = error.message();
        assert!(!message.contains(KEY) && !message.contains('\u{202e}'));
        assert!(message.len() < 300, "{message}");
    }
}
