//! Building the Cedar record for the context of a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use atlasent::wire::WrittenNumbers;
use cedar_policy::Context;
use cedar_policy_core::ast::{Context as CedarContext, Value as CedarValue};
use serde_json::{Map, Value};

use super::PolicyInput;
use super::convert::{self, ConvertError};
use super::types::{ContextTypes, Record};
use crate::policy::fields::Field;

/// A context that has no Cedar record.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContextError {
    #[error(transparent)]
    Convert(#[from] ConvertError),
    #[error("{}", undeclared(.0))]
    FieldsNotDeclared(Vec<&'static str>),
}

fn undeclared(fields: &[&str]) -> String {
    let each = fields.iter().map(|name| {
        format!(
            "the request sets `{name}`, and the schema declares no attribute `context.{name}` for \
             this action: no policy could see it"
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Returns the Cedar record for the context of `input`, with the request's fields beside the
/// context. The mapping is part of the public contract and is documented at
/// [`Policies`](super::Policies).
///
/// Where `types` declares the action, each value is converted by its declared type.
pub(super) fn to_cedar(
    input: &PolicyInput<'_>,
    types: Option<&ContextTypes>,
) -> Result<Context, ContextError> {
    let object = input.context.as_object();
    let written = input.context.written_numbers();
    let Some(record) = types.and_then(|types| types.of_action(input.action)) else {
        return untyped(input, object, written);
    };
    let names = input.fields.named().map(|(name, _)| name);
    let undeclared: Vec<_> = names.filter(|name| !record.contains_key(*name)).collect();
    if !undeclared.is_empty() {
        return Err(ContextError::FieldsNotDeclared(undeclared));
    }
    let mut missing = missing_fields(input).peekable();
    if missing.peek().is_none() {
        return typed(object, written, record);
    }
    let mut object = object.clone();
    object.extend(missing.map(|(name, field)| (name.to_owned(), field.into())));
    typed(&object, written, record)
}

/// Returns the fields of the request that its context does not contain.
fn missing_fields<'a>(input: &PolicyInput<'a>) -> impl Iterator<Item = (&'static str, Field<'a>)> {
    let context = input.context;
    let is_missing = |name: &str| context.get(name).is_none_or(Value::is_null);
    (input.fields.named()).filter(move |(name, _)| is_missing(name))
}

fn untyped(
    input: &PolicyInput<'_>,
    object: &Map<String, Value>,
    written: Option<&WrittenNumbers>,
) -> Result<Context, ContextError> {
    // Filled one by one: collecting into a map allocates a list to sort first.
    let mut record = BTreeMap::new();
    convert::each_attribute(object, written, 0, |key, value| {
        record.insert(key.into(), value);
    })?;
    for (name, field) in missing_fields(input) {
        let value = match field {
            Field::Text(text) => CedarValue::from(text),
            Field::Number(number) => convert::number(number)?,
            Field::Names(names) => CedarValue::set(
                names.iter().map(|name| CedarValue::from(name.as_str())),
                None,
            ),
        };
        record.insert(name.into(), value);
    }
    Ok(CedarContext::Value(Arc::new(record)).into())
}

fn typed(
    object: &Map<String, Value>,
    written: Option<&WrittenNumbers>,
    record: &Record,
) -> Result<Context, ContextError> {
    let attributes = convert::typed_attributes(object, written, record);
    let attributes = attributes.map_err(ConvertError::TypeMismatch)?.into_iter();
    let record = attributes.map(|(key, value)| (key.into(), value)).collect();
    Ok(CedarContext::Value(Arc::new(record)).into())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use cedar_policy::EvalResult;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::policy::Numeral;
    use crate::policy::fields::Fields;

    fn cedar_of(context: &atlasent::Context) -> Result<Context, ContextError> {
        let input = PolicyInput {
            agent: "bot",
            action: "deploy",
            resource: None,
            context,
            fields: Fields::default(),
            is_shadow: false,
        };
        to_cedar(&input, None)
    }

    fn cedar(context: &Value) -> Result<Context, ContextError> {
        cedar_of(&context.as_object().unwrap().clone().into())
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

    /// Returns the attribute `v` of a context that is parsed from text, and checks it inside sets
    /// and records.
    fn written(text: &str) -> EvalResult {
        let text = format!(r#"{{"v": {text}, "deep": [{{"v": [{text}]}}]}}"#);
        let context = cedar_of(&atlasent::Context::parse(&text).unwrap()).unwrap();
        let found = context.get("v").unwrap();
        let deep = format!(r#"[{{"v": [{found}]}}]"#);
        assert_eq!(context.get("deep").unwrap().to_string(), deep, "{text}");
        found
    }

    #[test]
    fn an_integral_number_is_a_long_however_it_is_written() {
        for (text, long) in [
            ("3", 3),
            ("3.0", 3),
            ("3e0", 3),
            ("30e-1", 3),
            ("300e-2", 3),
            ("0.00003E+5", 3),
            ("-0", 0),
            ("-0.0", 0),
            ("0e9999", 0),
            ("1e18", 1_000_000_000_000_000_000),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("9223372036854775807.0", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("-9223372036854775808.00", i64::MIN),
        ] {
            assert_eq!(written(text), EvalResult::Long(long), "{text}");
        }
    }

    #[test]
    fn any_other_number_is_an_exact_decimal_or_the_string_of_its_text() {
        let decimal = |text: &str| EvalResult::ExtensionValue(format!("decimal(\"{text}\")"));
        for (text, found) in [
            ("1.5", "1.5"),
            ("-0.25", "-0.25"),
            ("1999e-2", "19.99"),
            ("1.50000", "1.5"),
            ("922337203685477.5807", "922337203685477.5807"),
            ("99999999999999.9999", "99999999999999.9999"),
        ] {
            assert_eq!(written(text), decimal(found), "{text}");
        }
        for text in [
            "922337203685477.5808",
            "0.00001",
            "0.30000000000000000001",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1E300",
            "1e9999",
            "-1e-9999",
        ] {
            assert_eq!(written(text), EvalResult::String(text.to_owned()));
        }
    }

    #[test]
    fn a_number_of_a_program_has_the_value_of_its_shortest_text() {
        let decimal = |text: &str| EvalResult::ExtensionValue(format!("decimal(\"{text}\")"));
        for (value, found) in [
            (json!(3.0), EvalResult::Long(3)),
            (json!(-0.0), EvalResult::Long(0)),
            (json!(1e18), EvalResult::Long(1_000_000_000_000_000_000)),
            (json!(19.99), decimal("19.99")),
            (
                json!(0.1 + 0.2),
                EvalResult::String("0.30000000000000004".to_owned()),
            ),
            (json!(u64::MAX), EvalResult::String(u64::MAX.to_string())),
        ] {
            assert_eq!(attribute(&value), Some(found), "{value}");
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
        assert!(cedar(&json!({ "v": nested(convert::MAX_DEPTH) })).is_ok());
        assert!(matches!(
            cedar(&json!({ "v": nested(convert::MAX_DEPTH + 1) })),
            Err(ContextError::Convert(ConvertError::TooDeep))
        ));
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

    /// Returns what a policy sees as JSON: a decimal as an object, a set sorted and without
    /// repetitions.
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

    /// Returns the expected value, by the table at [`Policies`](crate::Policies).
    fn expected(value: &Value) -> Option<Value> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) | Value::String(_) => value.clone(),
            Value::Number(number) => {
                let text = number.to_string();
                let numeral = Numeral::parse(&text).unwrap();
                match (numeral.long(), numeral.decimal()) {
                    (Some(long), _) => json!(long),
                    (None, Some(text)) => decimal(&format!("decimal(\"{text}\")")),
                    (None, None) => json!(text),
                }
            }
            Value::Array(values) => set(values.iter().filter_map(expected)),
            Value::Object(members) => {
                let members = members.iter();
                object(members.filter_map(|(key, value)| Some((key.clone(), expected(value)?))))
            }
        })
    }

    fn decimal(call: &str) -> Value {
        json!({ "decimal": call })
    }

    fn object(members: impl Iterator<Item = (String, Value)>) -> Value {
        json!(members.collect::<BTreeMap<_, _>>())
    }

    fn set(values: impl Iterator<Item = Value>) -> Value {
        let texts = values.map(|value| value.to_string());
        json!(texts.collect::<BTreeSet<_>>())
    }

    #[test]
    fn spellings_of_one_number_are_one_element_of_a_set() {
        for text in ["[0, 0.0, -0.0, -0, 0e5]", "[1.5, 15e-1, 1.50]"] {
            let text = format!(r#"{{"v": {text}}}"#);
            let context = cedar_of(&atlasent::Context::parse(&text).unwrap()).unwrap();
            let Some(EvalResult::Set(set)) = context.get("v") else {
                panic!("{text}");
            };
            assert_eq!(set.len(), 1, "{text}");
        }
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
        fn what_becomes_a_decimal_is_one_for_cedar(text in "-?[1-9][0-9]{0,15}\\.[0-9]{1,6}(e-?[0-9])?") {
            match written(&text) {
                EvalResult::Long(_) | EvalResult::ExtensionValue(_) => {}
                found => prop_assert_eq!(found, EvalResult::String(text)),
            }
        }
    }
}
