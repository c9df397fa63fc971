//! What an approver sees of a context: the values that policies name are replaced.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::ApprovalRule;

/// What stands in place of each redacted value.
pub(crate) const REDACTED: &str = "[redacted]";

/// The same, as JSON.
const REDACTED_JSON: &str = r#""[redacted]""#;

/// The context of a request as an approver sees it.
///
/// ```
/// use atlasent_authority::Policies;
/// use atlasent_authority::policy::RedactedContext;
/// # use atlasent::wire::EvaluateRequest;
/// # use atlasent::{Agent, AnyAction};
///
/// let policies = Policies::parse(r#"
///     permit (principal, action == Action::"pay", resource);
///     @decision("hold") @redact("card, customer.ssn")
///     forbid (principal, action == Action::"pay", resource);
/// "#)?;
/// # let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("pay")?)?;
/// let rules = policies.explain(&request).approval;
///
/// let shown = RedactedContext::new(r#"{"amount":5.0,"card":"4111","customer":{"id":7,"ssn":"1"}}"#, &rules);
/// assert_eq!(shown.json(), r#"{"amount":5.0,"card":"[redacted]","customer":{"id":7,"ssn":"[redacted]"}}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedactedContext {
    json: String,
}

impl RedactedContext {
    /// Redacts a context, given as canonical JSON, by the paths of all `rules`.
    ///
    /// A path names the value at its keys, whatever it is. In an array, it applies to each element.
    /// A key with dots in it is named by a path with the same dots. Numbers keep their text. A text
    /// that is not a JSON object is redacted as a whole.
    #[must_use]
    pub fn new(context: &str, rules: &[ApprovalRule]) -> Self {
        let paths = rules.iter().flat_map(|rule| &rule.redact);
        let paths: Vec<&str> = paths.map(String::as_str).collect();
        let json = serde_json::from_str::<&RawValue>(context)
            .ok()
            .filter(|context| context.get().starts_with('{'))
            .and_then(|context| redacted(context, &paths).ok());
        Self {
            json: json.unwrap_or_else(|| REDACTED_JSON.to_owned()),
        }
    }

    /// Returns the canonical JSON of what is shown.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Returns the SHA-256 of [`json`](Self::json), in lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        base16ct::lower::encode_string(&Sha256::digest(&self.json))
    }
}

/// The digest only: an approver may see the values, and a log may not.
impl fmt::Debug for RedactedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedactedContext")
            .field("sha256", &self.sha256())
            .finish_non_exhaustive()
    }
}

/// Returns whether one of the rules redacts the value at a path of the context, or a value that it
/// lies in. A field beside the context that reaches the policies as a member of it has its name as
/// the path.
pub(crate) fn redacts(rules: &[ApprovalRule], path: &str) -> bool {
    let redacted = rules.iter().flat_map(|rule| &rule.redact);
    let mut rests = redacted.filter_map(|redacted| path.strip_prefix(&**redacted));
    rests.any(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns a value with the values at `paths` replaced. Each level that a path leads through is
/// parsed, and everything else is copied as it is.
fn redacted(value: &RawValue, paths: &[&str]) -> Result<String, serde_json::Error> {
    let text = value.get();
    if paths.is_empty() {
        return Ok(text.to_owned());
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            // In the order of canonical JSON: by code point, as UTF-8 sorts, too.
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            let members = members.into_iter().map(|(key, value)| {
                let value = member(&key, value, paths)?;
                Ok(format!("{}:{value}", serde_json::to_string(&key)?))
            });
            let members: Vec<String> = members.collect::<Result<_, serde_json::Error>>()?;
            Ok(format!("{{{}}}", members.join(",")))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            let items = items.into_iter().map(|item| redacted(item, paths));
            let items: Vec<String> = items.collect::<Result<_, serde_json::Error>>()?;
            Ok(format!("[{}]", items.join(",")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Returns the value of one key. The paths that start with the key go on inside of the value.
fn member(key: &str, value: &RawValue, paths: &[&str]) -> Result<String, serde_json::Error> {
    let rests: Vec<&str> = (paths.iter())
        .filter_map(|path| path.strip_prefix(key))
        .collect();
    if rests.contains(&"") {
        return Ok(REDACTED_JSON.to_owned());
    }
    let inside = rests.into_iter().filter_map(|rest| rest.strip_prefix('.'));
    redacted(value, &inside.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use atlasent::Context;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn rule(paths: &[&str]) -> ApprovalRule {
        ApprovalRule {
            redact: paths.iter().map(ToString::to_string).collect(),
            ..ApprovalRule::new("p")
        }
    }

    fn shown(context: &str, paths: &[&str]) -> String {
        RedactedContext::new(context, &[rule(paths)]).json
    }

    #[test]
    fn each_named_value_is_replaced_and_nothing_else() {
        for (context, paths, expected) in [
            (
                r#"{"a":1,"b":2}"#,
                &["a"][..],
                r#"{"a":"[redacted]","b":2}"#,
            ),
            (r#"{"a":1,"b":2}"#, &[], r#"{"a":1,"b":2}"#),
            (r#"{"a":1}"#, &["b", "a.b", "A", "ab"], r#"{"a":1}"#),
            (r#"{"ab":1}"#, &["a"], r#"{"ab":1}"#),
            (r#"{"a":{"b":1}}"#, &["a"], r#"{"a":"[redacted]"}"#),
            (r#"{"a":{"b":1}}"#, &["b"], r#"{"a":{"b":1}}"#),
            (
                r#"{"a":{"b":{"c":null},"d":1}}"#,
                &["a.b.c"],
                r#"{"a":{"b":{"c":"[redacted]"},"d":1}}"#,
            ),
            // A path into an array applies to each element, at any depth.
            (
                r#"{"a":[{"b":1},[{"b":2,"c":3}],"b",4]}"#,
                &["a.b"],
                r#"{"a":[{"b":"[redacted]"},[{"b":"[redacted]","c":3}],"b",4]}"#,
            ),
            (r#"{"a":[1,2]}"#, &["a"], r#"{"a":"[redacted]"}"#),
            // The shorter path wins, in either order.
            (r#"{"a":{"b":1}}"#, &["a.b", "a"], r#"{"a":"[redacted]"}"#),
            // A key may have dots in it.
            (
                r#"{"a":{"b.c":1,"b":{"c":2}},"a.b.c":3,"a.b":{"c":4}}"#,
                &["a.b.c"],
                r#"{"a":{"b":{"c":"[redacted]"},"b.c":"[redacted]"},"a.b":{"c":"[redacted]"},"a.b.c":"[redacted]"}"#,
            ),
            // Numbers and strings stay as they were written.
            (
                r#"{"a":{"b":1,"n":9223372036854775807.0,"s":"\"\n\u0001é\u2028"},"z":1e300}"#,
                &["a.b"],
                r#"{"a":{"b":"[redacted]","n":9223372036854775807.0,"s":"\"\n\u0001é\u2028"},"z":1e300}"#,
            ),
            (r#"{"é\n":1}"#, &["x"], r#"{"é\n":1}"#),
        ] {
            assert_eq!(shown(context, paths), expected, "{context} {paths:?}");
        }
    }

    #[test]
    fn every_rule_redacts() {
        let rules = [rule(&["a"]), rule(&["b"])];
        let shown = RedactedContext::new(r#"{"a":1,"b":2,"c":3}"#, &rules);
        assert_eq!(shown.json(), r#"{"a":"[redacted]","b":"[redacted]","c":3}"#);
    }

    #[test]
    fn what_cannot_be_read_is_not_shown() {
        for text in ["", "{", "secret", r#""secret""#, "[1]", r#"{"a":1}x"#] {
            assert_eq!(shown(text, &["a"]), REDACTED_JSON, "{text}");
            assert_eq!(shown(text, &[]), REDACTED_JSON, "{text}");
        }
    }

    #[test]
    fn the_digest_is_that_of_what_is_shown() {
        let shown = RedactedContext::new(r#"{"a":1}"#, &[rule(&["a"])]);
        assert!(!format!("{shown:?}").contains("[redacted]"));
        // printf '{"a":"[redacted]"}' | sha256sum
        assert_eq!(
            shown.sha256(),
            "3e582b0bfdb32a2ced96c260ff4d88474f5d59cdd0a84340eca9f77870f574d3"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c\"\\\\\u{e9}]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                object(inner),
            ]
        })
    }

    fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        let members = prop::collection::btree_map("[a-c]|a\\.b|\"|\u{e9}", inner, 0..4);
        members.prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    /// Redacts one path in another way: on the parsed value, key by key.
    fn expected(value: &mut Value, path: &str) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| expected(item, path)),
            Value::Object(members) => {
                for (key, value) in members {
                    if key == path {
                        *value = Value::from("[redacted]");
                    } else if let Some(rest) = path.strip_prefix(&format!("{key}.")) {
                        expected(value, rest);
                    }
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_canonical_and_lacks_every_named_value(
            context in object(value()),
            paths in prop::collection::vec("[a-c](\\.[a-c]){0,3}", 0..4),
        ) {
            let fields = context.as_object().unwrap().clone();
            let text = Context::from(fields).canonical_json();
            let borrowed: Vec<&str> = paths.iter().map(String::as_str).collect();
            let shown = shown(&text, &borrowed);
            prop_assert_eq!(&Context::parse(&shown).unwrap().canonical_json(), &shown);

            let mut by_value: Value = serde_json::from_str(&text).unwrap();
            for path in &paths {
                expected(&mut by_value, path);
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), by_value);
        }
    }
}
