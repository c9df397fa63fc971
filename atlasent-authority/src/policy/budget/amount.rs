//! What a permit takes from a budget: one call, or a number in its request.

use atlasent::wire::{EvaluateRequest, WrittenNumbers};
use serde_json::Value;

use super::{Budget, Counted, Units};
use crate::policy::number::Numeral;

impl Budget {
    /// Returns what a permit for `request` takes from the budget.
    ///
    /// # Errors
    ///
    /// The reason, in words for people, if the request has no such number. It quotes no value.
    pub(crate) fn amount(&self, request: &EvaluateRequest) -> Result<Units, String> {
        let Counted::Value(path) = &self.counted else {
            return Ok(Units::ONE);
        };
        let invalid = |why: &str| {
            let policy = &self.policy;
            Err(format!(
                "`context.{path}` {why}, and policy `{policy}` has a budget for it"
            ))
        };
        let Some(value) = value_at(request, path) else {
            return invalid("is missing");
        };
        let Some(numeral) = value.numeral() else {
            return invalid("is not a number");
        };
        match Units::from_numeral(&numeral) {
            Some(units) => Ok(units),
            None if numeral.is_negative() => invalid("is negative"),
            None => invalid("is too large, or has more than four digits after the point"),
        }
    }
}

/// The value that a budget adds up, as it was written.
enum WrittenValue {
    /// The text of a JSON value other than a string.
    Json(String),
    /// The content of a string.
    Text(String),
}

impl WrittenValue {
    /// Returns the number that the value is, or that it holds as a string. The `decimal` of a
    /// schema is such a string.
    fn numeral(&self) -> Option<Numeral<'_>> {
        match self {
            Self::Json(text) => Numeral::parse(text),
            Self::Text(text) => Numeral::parse_in_string(text),
        }
    }
}

/// Returns the value at a path of the context. `None` if it is absent.
fn value_at(request: &EvaluateRequest, path: &str) -> Option<WrittenValue> {
    let mut written = request.context.written_numbers();
    let mut keys = path.split('.');
    let mut found = keys.next().and_then(|key| {
        written = written.and_then(|written| written.member(key));
        request.context.get(key)
    });
    for key in keys {
        written = written.and_then(|written| written.member(key));
        found = found.and_then(|value| value.get(key));
    }
    if let Some(text) = written.and_then(WrittenNumbers::text) {
        return Some(WrittenValue::Json(text.to_owned()));
    }
    match found {
        None | Some(Value::Null) if path == "amount" => {
            let amount = request.options.amount.as_ref();
            amount.map(|amount| WrittenValue::Json(amount.to_string()))
        }
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(WrittenValue::Text(text.clone())),
        Some(value) => Some(WrittenValue::Json(value.to_string())),
    }
}
