//! The proposed action of a decision, in JSON that every client reads with the same values.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::ledger::approval::ApprovalEntry;
use crate::policy::{Numeral, redacts};

/// How many levels of the action are JSON. Deeper values are shown as their text, because some
/// clients reject an answer with more than 128 levels.
const MAX_LEVELS: usize = 32;

/// Returns the action that a decision is about: what its approvers see.
///
/// For a request that policies hold, the action, agent, resource and environment are always the
/// ones that the decision is about, even if the context has members with these names. A sealed
/// action has no other members. An action that was proposed by hand has the members that its
/// caller chose.
pub(super) fn proposed_action(row: &ApprovalEntry) -> Map<String, Value> {
    let shown = row.shown.as_str();
    let shown = shown.and_then(|shown| members(shown, MAX_LEVELS));
    let mut action = match (shown, &row.policy) {
        (Some(proposed), None) => return proposed,
        (shown, _) => shown.unwrap_or_default(),
    };
    let question = &row.question;
    // The environment may come from the context, which the policies can redact.
    let environment = question.environment.as_deref();
    let environment = environment.filter(|_| !redacts(&row.rules, "environment"));
    let names = [
        ("action_type", Some(question.action.as_str())),
        ("actor_id", Some(question.agent.as_str())),
        ("environment", environment),
        ("resource_id", question.resource.as_deref()),
    ];
    for (name, value) in names {
        if let Some(value) = value {
            action.insert(name.to_owned(), value.into());
        }
    }
    action
}

/// Returns a value as JSON that shows it exactly to every client.
///
/// Many programs read each number as a 64-bit float. They would show `12345678901234567890123` as
/// 1.2345678901234568e22, and fail to read `1e400`. A number that a float cannot hold exactly
/// therefore becomes a string of its digits (RFC 7493, section 2.2).
fn exact(value: &RawValue, levels: usize) -> Value {
    let text = value.get();
    let json = match text.as_bytes().first() {
        Some(b'{' | b'[') if levels == 0 => None,
        Some(b'{') => members(text, levels).map(Value::Object),
        Some(b'[') => items(text, levels).map(Value::Array),
        Some(b'-' | b'0'..=b'9') => number(text).map(Value::Number),
        _ => serde_json::from_str(text).ok(),
    };
    json.unwrap_or_else(|| text.into())
}

/// Returns the members of an object. `None` for any other text.
fn members(text: &str, levels: usize) -> Option<Map<String, Value>> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let members = members.into_iter();
    Some(
        members
            .map(|(name, value)| (name, exact(value, levels.saturating_sub(1))))
            .collect(),
    )
}

/// Returns the items of an array. `None` for any other text.
fn items(text: &str, levels: usize) -> Option<Vec<Value>> {
    let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    let items = items.into_iter();
    Some(
        items
            .map(|item| exact(item, levels.saturating_sub(1)))
            .collect(),
    )
}

/// Returns a number. `None` if the nearest 64-bit float has another value.
fn number(text: &str) -> Option<Number> {
    let nearest = serde_json::from_str::<f64>(text).ok();
    let nearest = nearest.and_then(Number::from_f64)?.to_string();
    match Numeral::parse(text)? == Numeral::parse(&nearest)? {
        true => serde_json::from_str(text).ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ledger::approval::{SealedText, ShownText};
    use crate::policy::ApprovalRule;
    use crate::store::approvals::example;

    fn shown(text: &str) -> Value {
        let mut row = example(1);
        row.policy = None;
        row.shown = ShownText::from(text.to_owned());
        proposed_action(&row).into()
    }

    #[test]
    fn a_number_that_a_float_rounds_is_shown_as_a_string() {
        for (text, value) in [
            ("7", json!(7)),
            ("-0.25", json!(-0.25)),
            ("1.50", json!(1.5)),
            ("0.1", json!(0.1)),
            ("1e2", json!(100.0)),
            ("9007199254740992", json!(9_007_199_254_740_992_u64)),
            ("9007199254740993", json!("9007199254740993")),
            ("9223372036854775807.0", json!("9223372036854775807.0")),
            ("12345678901234567890123", json!("12345678901234567890123")),
            ("0.30000000000000000001", json!("0.30000000000000000001")),
            ("1e400", json!("1e400")),
            ("-1E-400", json!("-1E-400")),
        ] {
            assert_eq!(
                shown(&format!(r#"{{"a":[true,{{"b":{text}}}]}}"#)),
                json!({"a": [true, {"b": value}]}),
                "{text}"
            );
        }
    }

    #[test]
    fn a_value_that_is_nested_too_deep_is_shown_as_its_text() {
        for depth in [MAX_LEVELS - 1, MAX_LEVELS, 126, 10_000] {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            let text = format!(r#"{{"a":{open}1{close},"b":2}}"#);
            let action = shown(&text);
            assert_eq!(action["b"], 2);
            let (mut inner, mut levels) = (&action["a"], 1);
            while let Some(item) = inner.get(0) {
                (inner, levels) = (item, levels + 1);
            }
            match depth < MAX_LEVELS {
                true => assert_eq!(inner, &json!(1)),
                false => {
                    let left = depth - (levels - 1);
                    let text = format!("{}1{}", "[".repeat(left), "]".repeat(left));
                    assert_eq!((levels, inner), (MAX_LEVELS, &json!(text)));
                }
            }
        }
    }

    #[test]
    fn the_context_never_replaces_the_names_that_were_decided_on() {
        let mut row = example(1);
        row.policy = Some("digest".to_owned());
        row.question.resource = Some("prod".to_owned());
        row.question.environment = Some("live".to_owned());
        let names = json!({"action_type": row.question.action, "actor_id": "bot",
            "resource_id": "prod", "environment": "live"});
        let key_id = "missing".to_owned();
        let sealed = String::new();
        let sealed = ShownText::Sealed(SealedText { key_id, sealed });
        for shown in [sealed, ShownText::from(String::new())] {
            row.shown = shown;
            assert_eq!(Value::from(proposed_action(&row)), names);
        }
        row.shown = ShownText::from(r#"{"context":{"x":1e400}}"#.to_owned());
        let mut with_context = names;
        with_context["context"] = json!({"x": "1e400"});
        assert_eq!(Value::from(proposed_action(&row)), with_context);
        let mut rule = ApprovalRule::new("p");
        rule.redact = vec!["environment".to_owned()];
        row.rules = vec![rule];
        assert_eq!(proposed_action(&row).get("environment"), None);
    }

    proptest! {
        #[test]
        fn a_client_that_reads_floats_reads_each_value(digits in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?") {
            let action = shown(&format!(r#"{{"a":{digits}}}"#));
            let read = match &action["a"] {
                Value::String(text) => text.clone(),
                number => number.as_f64().and_then(Number::from_f64).unwrap().to_string(),
            };
            prop_assert!(Numeral::parse(&read) == Numeral::parse(&digits), "{}", read);
        }
    }
}
