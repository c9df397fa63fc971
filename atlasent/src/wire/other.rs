//! The fields of an answer that this version does not know.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::wire::PermitToken;

/// The fields of an answer that this version does not know, as JSON. Newer authorities send them.
///
/// No decision depends on them. A field is left out if it is `null`, is repeated, contains a
/// repeated key, or nests deeper than 64 levels. `Debug` shows the names only, since values may be
/// secrets.
///
/// ```
/// use atlasent::wire::Evaluation;
///
/// let evaluation: Evaluation =
///     serde_json::from_str(r#"{"decision":"deny","risk_envelope":{"weighted_score":0.91}}"#)?;
/// assert_eq!(evaluation.other.get("risk_envelope").unwrap()["weighted_score"], 0.91);
/// assert_eq!(format!("{:?}", evaluation.other), r#"{"risk_envelope"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OtherFields(Map<String, Value>);

impl OtherFields {
    pub(crate) fn new(mut fields: Map<String, Value>) -> Self {
        fields.retain(|_, value| !value.is_null());
        Self(fields)
    }

    /// Returns the value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns the fields as a JSON object.
    #[must_use]
    pub fn as_object(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Returns whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the fields without the token in their texts.
    pub(crate) fn scrubbed(self, token: &PermitToken) -> Self {
        let mut fields = Value::Object(self.0);
        token.scrub_json(&mut fields);
        match fields {
            Value::Object(fields) => Self(fields),
            _ => Self::default(),
        }
    }
}

impl fmt::Debug for OtherFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Removes and returns a field if it is a string. A field of another type stays, so that it cannot
/// make the answer unreadable.
pub(crate) fn take_string(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    match fields.get_mut(name) {
        Some(Value::String(text)) => {
            let text = std::mem::take(text);
            fields.remove(name);
            Some(text)
        }
        _ => None,
    }
}

/// Removes and returns a field if it is a list of strings. A field of another type stays, so that
/// it cannot make the answer unreadable.
pub(crate) fn take_strings(fields: &mut Map<String, Value>, name: &str) -> Vec<String> {
    let texts = fields.get(name).and_then(Value::as_array).and_then(|list| {
        let texts = list.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>()
    });
    if texts.is_some() {
        fields.remove(name);
    }
    texts.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(json: Value) -> Map<String, Value> {
        match json {
            Value::Object(fields) => fields,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn no_text_at_any_depth_keeps_the_token() {
        let token = PermitToken::new("permit_0123456789").unwrap();
        let other = OtherFields::new(fields(json!({
            "permit": {"token": "permit_0123456789", "list": [["is permit_0123456789"]]},
            "permit_0123456789": true, "n": null
        })));
        let scrubbed = other.scrubbed(&token);
        assert_eq!(
            Value::from(scrubbed.0),
            json!({"permit": {"token": "…456789", "list": [["is …456789"]]}, "…456789": true})
        );
    }

    #[test]
    fn a_field_of_an_unexpected_kind_stays_among_the_others() {
        let mut map = fields(json!({"a": "x", "b": 7, "c": ["x", 1], "d": ["x", "y"], "e": []}));
        assert_eq!(take_string(&mut map, "a").as_deref(), Some("x"));
        assert_eq!(take_string(&mut map, "b"), None);
        assert!(take_strings(&mut map, "c").is_empty());
        assert_eq!(take_strings(&mut map, "d"), ["x", "y"]);
        assert!(take_strings(&mut map, "e").is_empty());
        assert_eq!(Value::from(map), json!({"b": 7, "c": ["x", 1]}));
    }
}
