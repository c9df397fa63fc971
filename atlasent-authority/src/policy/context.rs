//! From the JSON context of a request to a Cedar record, value by value.
//!
//! Cedar's own JSON reader gives keys such as `__entity` and `__extn` a meaning. Contexts come from
//! agents, so it is not used here: whatever the key, a string stays a string.

use cedar_policy::{Context, RestrictedExpression};
use serde_json::{Map, Number, Value};

/// How many arrays and objects may be nested in a context. Deeper ones are refused, since both
/// this module and Cedar recurse over them.
pub(super) const MAX_DEPTH: usize = 64;

/// A context that has no Cedar counterpart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContextError {
    #[error("the context nests more than {MAX_DEPTH} arrays and objects in each other")]
    TooDeep,
    /// Cedar's own words are left out: they quote values.
    #[error("the context cannot be expressed as a Cedar record")]
    NotExpressible,
}

/// The Cedar record for `context`. The mapping is part of the public contract and is described
/// at [`Policies`](super::Policies).
pub(super) fn to_cedar(context: &Map<String, Value>) -> Result<Context, ContextError> {
    if context.is_empty() {
        return Ok(Context::empty());
    }
    Context::from_pairs(attributes(context, 0)?).map_err(|_| ContextError::NotExpressible)
}

fn attributes(
    object: &Map<String, Value>,
    depth: usize,
) -> Result<Vec<(String, RestrictedExpression)>, ContextError> {
    let mut attributes = Vec::with_capacity(object.len());
    for (key, value) in object {
        if let Some(value) = expression(value, depth)? {
            attributes.push((key.clone(), value));
        }
    }
    Ok(attributes)
}

/// `None` for `null`: Cedar has no such value, and `has` should say that the key is absent.
fn expression(value: &Value, depth: usize) -> Result<Option<RestrictedExpression>, ContextError> {
    let expression = match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => RestrictedExpression::new_bool(*value),
        Value::Number(value) => number(value),
        Value::String(value) => RestrictedExpression::new_string(value.clone()),
        Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => {
            return Err(ContextError::TooDeep);
        }
        Value::Array(values) => {
            let mut elements = Vec::with_capacity(values.len());
            for value in values {
                elements.extend(expression(value, depth + 1)?);
            }
            RestrictedExpression::new_set(elements)
        }
        Value::Object(object) => RestrictedExpression::new_record(attributes(object, depth + 1)?)
            .map_err(|_| ContextError::NotExpressible)?,
    };
    Ok(Some(expression))
}

fn number(number: &Number) -> RestrictedExpression {
    if let Some(long) = number.as_i64() {
        return RestrictedExpression::new_long(long);
    }
    let text = number.to_string();
    if is_decimal(&text) {
        RestrictedExpression::new_decimal(text)
    } else {
        // Dropping or rounding it could turn a `forbid` off. As a string it is there for `has`,
        // and every comparison with a number is a type error, which denies.
        RestrictedExpression::new_string(text)
    }
}

/// Whether Cedar's `decimal` holds exactly this number: digits, a point, one to four digits, and
/// ten thousand times the value within an `i64`.
fn is_decimal(text: &str) -> bool {
    let Some((whole, fraction)) = text.split_once('.') else {
        return false;
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits(whole.strip_prefix('-').unwrap_or(whole))
        && is_digits(fraction)
        && fraction.len() <= 4
        && format!("{whole}{fraction:0<4}").parse::<i64>().is_ok()
}

/// The types of the attributes, `{amount: long, region: string}`: what a caller needs to see when
/// a context does not fit the schema, without a single value of it.
pub(super) fn describe(context: &Map<String, Value>) -> String {
    const SHOWN: usize = 16;
    let mut shown: Vec<String> = (context.iter().filter(|(_, value)| !value.is_null()))
        .take(SHOWN)
        .map(|(key, value)| format!("{}: {}", key.escape_debug(), type_name(value)))
        .collect();
    if context.len() > SHOWN {
        shown.push("…".to_owned());
    }
    format!("{{{}}}", shown.join(", "))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "absent",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.as_i64().is_some() => "long",
        Value::Number(number) if is_decimal(&number.to_string()) => "decimal",
        Value::Number(_) | Value::String(_) => "string",
        Value::Array(_) => "set",
        Value::Object(_) => "record",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use cedar_policy::EvalResult;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn cedar(context: &Value) -> Result<Context, ContextError> {
        to_cedar(context.as_object().unwrap())
    }

    fn attribute(value: &Value) -> Option<EvalResult> {
        cedar(&json!({ "v": value })).unwrap().get("v")
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, n| {
            if n % 2 == 0 {
                json!([inner])
            } else {
                json!({ "k": inner })
            }
        })
    }

    #[test]
    fn a_number_keeps_its_exact_value_or_becomes_a_string() {
        let long = EvalResult::Long;
        let decimal = |text: &str| EvalResult::ExtensionValue(format!("decimal(\"{text}\")"));
        let string = |text: &str| EvalResult::String(text.to_owned());
        for (value, expected) in [
            (json!(0), long(0)),
            (json!(-7), long(-7)),
            (json!(i64::MAX), long(i64::MAX)),
            (json!(i64::MIN), long(i64::MIN)),
            (json!(i64::MAX as u64 + 1), string("9223372036854775808")),
            (json!(u64::MAX), string("18446744073709551615")),
            (json!(1.5), decimal("1.5")),
            (json!(5.0), decimal("5.0")),
            (json!(-0.25), decimal("-0.25")),
            (json!(0.0001), decimal("0.0001")),
            (json!(19.99), decimal("19.99")),
            (json!(922_337_203_685_477.5), decimal("922337203685477.5")),
            (json!(922_337_203_685_478.5), string("922337203685478.5")),
            (json!(0.00001), string("0.00001")),
            (json!(0.123_456), string("0.123456")),
            (json!(1e16), string(&json!(1e16).to_string())),
            (json!(1e300), string(&json!(1e300).to_string())),
        ] {
            assert_eq!(attribute(&value), Some(expected), "{value}");
        }
    }

    #[test]
    fn null_is_an_absent_key_at_every_depth() {
        let context = cedar(&json!({ "a": null, "b": { "c": null, "d": [null, 1] } })).unwrap();
        assert_eq!(context.get("a"), None);
        assert_eq!(context.get("b").unwrap().to_string(), r#"{"d": [1]}"#);
    }

    #[test]
    fn keys_that_mean_something_to_cedar_are_plain_data() {
        for context in [
            json!({ "__entity": { "type": "Agent", "id": "root" } }),
            json!({ "v": { "__entity": { "type": "Agent", "id": "root" } } }),
            json!({ "v": { "__extn": { "fn": "decimal", "arg": "1.0" } } }),
            json!({ "v": { "__expr": "principal" } }),
        ] {
            let (key, value) = context.as_object().unwrap().iter().next().unwrap();
            let Some(EvalResult::Record(_)) = cedar(&context).unwrap().get(key) else {
                panic!("`{value}` did not stay a record");
            };
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(cedar(&json!({ "v": nested(MAX_DEPTH) })).is_ok());
        assert!(matches!(
            cedar(&json!({ "v": nested(MAX_DEPTH + 1) })),
            Err(ContextError::TooDeep)
        ));
    }

    #[test]
    fn a_description_names_types_and_never_values() {
        let context =
            json!({ "token": "s3cret", "amount": 12.5, "n": 1, "gone": null, "big": 1e300 });
        let text = describe(context.as_object().unwrap());
        for part in ["token: string", "amount: decimal", "n: long", "big: string"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("s3cret") && !text.contains("gone"), "{text}");
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let key = prop_oneof![Just("__entity".to_owned()), Just("__extn".to_owned()), ".*"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (any::<i32>(), 0..6)
                .prop_map(|(n, scale)| Value::from(f64::from(n) / 10f64.powi(scale))),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// What a policy sees, in JSON again: a decimal as an object, a set sorted and without repetitions.
    fn json_of(found: &EvalResult) -> Value {
        match found {
            EvalResult::Bool(value) => json!(value),
            EvalResult::Long(value) => json!(value),
            EvalResult::String(value) => json!(value),
            EvalResult::Set(values) => set(values.iter().map(json_of)),
            EvalResult::Record(record) => object(
                record
                    .iter()
                    .map(|(key, value)| (key.clone(), json_of(value))),
            ),
            EvalResult::ExtensionValue(value) => decimal(value),
            EvalResult::EntityUid(uid) => panic!("`{uid}` is no entity of the context's"),
        }
    }

    /// The same, by the table at [`Policies`](crate::Policies).
    fn expected(value: &Value) -> Option<Value> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) | Value::String(_) => value.clone(),
            Value::Number(number) if number.as_i64().is_some() => value.clone(),
            Value::Number(number) => {
                let text = number.to_string();
                let has_decimal = RestrictedExpression::new_decimal(&text);
                match Context::from_pairs([("v".to_owned(), has_decimal)]) {
                    Ok(_) => decimal(&format!("decimal(\"{text}\")")),
                    Err(_) => json!(text),
                }
            }
            Value::Array(values) => set(values.iter().filter_map(expected)),
            Value::Object(members) => {
                let members = members.iter();
                object(members.filter_map(|(key, value)| Some((key.clone(), expected(value)?))))
            }
        })
    }

    /// Both zeros are one decimal to Cedar, and so one element of a set.
    fn decimal(call: &str) -> Value {
        json!({ "decimal": call.replace("\"-0.0\"", "\"0.0\"") })
    }

    fn object(members: impl Iterator<Item = (String, Value)>) -> Value {
        json!(members.collect::<BTreeMap<_, _>>())
    }

    fn set(values: impl Iterator<Item = Value>) -> Value {
        let texts = values.map(|value| value.to_string());
        json!(texts.collect::<BTreeSet<_>>())
    }

    #[test]
    fn both_zeros_are_one_element_of_a_set() {
        let value = json!([0.0, -0.0]);
        let found = attribute(&value).map(|found| json_of(&found));
        assert_eq!(found, expected(&value));
        assert_eq!(found, Some(set([decimal("decimal(\"0.0\")")].into_iter())));
    }

    proptest! {
        #[test]
        fn every_json_object_has_a_cedar_record(value in json_value()) {
            let context = cedar(&json!({ "v": value }));
            prop_assert_eq!(context.unwrap().get("v").is_some(), !value.is_null());
        }

        #[test]
        fn a_context_comes_out_as_it_went_in(value in json_value()) {
            let found = attribute(&value).map(|found| json_of(&found));
            prop_assert_eq!(found, expected(&value));
        }

        #[test]
        fn what_is_taken_for_a_decimal_is_one_for_cedar(text in "-?[0-9]{1,17}\\.[0-9]{1,5}") {
            let expression = RestrictedExpression::new_decimal(&text);
            let accepted = Context::from_pairs([("v".to_owned(), expression)]).is_ok();
            prop_assert_eq!(is_decimal(&text), accepted);
        }
    }
}
