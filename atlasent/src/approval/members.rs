//! Reads members of JSON objects from outside. A member of the wrong type reads as absent.

use serde_json::{Map, Value};

use super::reason::Reason;

pub(super) type Object = Map<String, Value>;

/// Returns a member that is a string.
pub(super) fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// Returns a member that is an object.
pub(super) fn object<'a>(object: &'a Object, name: &str) -> Option<&'a Object> {
    object.get(name)?.as_object()
}

/// Returns an optional member. `null` is the same as absent.
pub(super) fn optional<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// Whether a member is this string.
pub(super) fn is(object: &Object, name: &str, expected: &str) -> bool {
    text(object, name) == Some(expected)
}

/// Whether the object has no other members than these.
pub(super) fn has_only(object: &Object, names: &[&str]) -> bool {
    object.keys().all(|name| names.contains(&name.as_str()))
}

/// Whether a member that is an object has no other members than these. A member of another type is
/// judged by the check that reads it.
pub(super) fn member_has_only(object: &Object, name: &str, names: &[&str]) -> bool {
    self::object(object, name).is_none_or(|member| has_only(member, names))
}

/// Whether an optional member has this form.
pub(super) fn optional_is(object: &Object, name: &str, form: impl FnOnce(&Value) -> bool) -> bool {
    optional(object, name).is_none_or(form)
}

/// Whether the value is an array of strings.
pub(super) fn is_texts(value: &Value) -> bool {
    (value.as_array()).is_some_and(|items| items.iter().all(Value::is_string))
}

/// Whether the value is a nonce: a string of at least 8 characters.
pub(super) fn is_nonce(value: &Value) -> bool {
    (value.as_str()).is_some_and(|nonce| nonce.chars().nth(7).is_some())
}

/// Whether a member is a string that is not empty.
pub(super) fn is_name(object: &Object, name: &str) -> bool {
    text(object, name).is_some_and(|text| !text.is_empty())
}

/// Returns the reason unless the condition holds.
pub(super) fn ensure(holds: bool, otherwise: Reason) -> Result<(), Reason> {
    match holds {
        true => Ok(()),
        false => Err(otherwise),
    }
}
