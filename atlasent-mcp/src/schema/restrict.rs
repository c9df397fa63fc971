//! Finds the parts of a schema that require something, and makes the schema of one caller.
//!
//! A schema is a tree of values, and a part that requires something is an object with one of the
//! keywords. For the caller who lacks `a`:
//!
//! ```text
//! {"properties": {"path": {…}, "force": {"type": "boolean", "x-atlasent-requires": "a"}},
//!  "oneOf": [{"const": "copy"}, {"const": "move", "x-atlasent-requires": "a"}]}
//!
//! shown     {"properties": {"path": {…}}, "oneOf": [{"const": "copy"}]}
//! enforced  {"properties": {"path": {…}, "force": false}, "oneOf": [{"const": "copy"}, false]}
//! ```
//!
//! `hidden.rs` finds the hidden parts. `overlay.rs` makes a second enforced schema, for the fields
//! that only some branches hide. The arguments have to fit both enforced schemas.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::document::{Document, Object, Place, is_map, place};
use super::hidden::{Hidden, names_in};
use super::overlay::overlay;
use super::{REQUIRES_ACTION, REQUIRES_SCOPE, Requirement};

/// Returns everything that parts of the schema require.
///
/// # Errors
///
/// The keyword, if its value is not a string with characters.
pub(super) fn requirements(schema: &Value) -> Result<BTreeSet<Requirement>, &'static str> {
    let mut found = BTreeSet::new();
    collect(schema, &mut found)?;
    Ok(found)
}

fn collect(schema: &Value, found: &mut BTreeSet<Requirement>) -> Result<(), &'static str> {
    match schema {
        Value::Object(object) => {
            for requirement in of_part(object) {
                found.insert(requirement?);
            }
            object.values().try_for_each(|value| collect(value, found))
        }
        Value::Array(items) => items.iter().try_for_each(|value| collect(value, found)),
        _ => Ok(()),
    }
}

/// Returns what one part requires.
fn of_part(
    object: &Map<String, Value>,
) -> impl Iterator<Item = Result<Requirement, &'static str>> + '_ {
    [REQUIRES_SCOPE, REQUIRES_ACTION]
        .into_iter()
        .filter_map(|keyword| {
            let value = object.get(keyword)?;
            let text = value.as_str().filter(|text| !text.is_empty());
            Some(match text {
                None => Err(keyword),
                Some(text) if keyword == REQUIRES_SCOPE => Ok(Requirement::Scope(text.to_owned())),
                Some(text) => Ok(Requirement::Action(text.to_owned())),
            })
        })
}

/// Whether a caller meets a requirement.
pub(super) type Meets<'a> = &'a dyn Fn(&Requirement) -> bool;

/// Returns whether a part of a schema requires something that the caller does not have.
pub(super) fn requires_more(object: &Object, meets: Meets<'_>) -> bool {
    of_part(object).any(|required| !required.is_ok_and(|required| meets(&required)))
}

/// A schema as one caller may use it.
#[derive(Debug)]
pub(super) struct Restricted {
    /// The schema that the caller sees. `None` if the caller cannot call with any arguments.
    pub(super) shown: Option<Value>,
    /// The schemas that the arguments of the caller have to fit beside the tool's own.
    pub(super) enforced: [Value; 2],
}

impl Restricted {
    pub(super) fn new(root: &Value, meets: Meets<'_>) -> Self {
        let document = Document::new(root);
        let hidden = Hidden::new(&document, meets);
        let enforced = [enforced(&hidden, root), overlay(&hidden)];
        let shown = (!hidden.hides_value(root)).then(|| {
            let mut shown = shown(&hidden, root, &BTreeSet::new());
            strip(&mut shown);
            shown
        });
        Self { shown, enforced }
    }
}

/// Returns a schema whose hidden parts are `false`.
fn enforced(hidden: &Hidden<'_>, schema: &Value) -> Value {
    let object = match schema {
        _ if hidden.hides_value(schema) => return Value::Bool(false),
        Value::Object(object) => object,
        other => return other.clone(),
    };
    let members = object.iter().map(|(keyword, value)| {
        let value = match (place(keyword), value) {
            (None, value) => value.clone(),
            (Some(_), Value::Object(schemas)) if is_map(keyword) => {
                let schemas = schemas.iter();
                let schemas = schemas.map(|(name, one)| (name.clone(), enforced(hidden, one)));
                Value::Object(schemas.collect())
            }
            (Some(_), Value::Array(schemas)) => {
                schemas.iter().map(|one| enforced(hidden, one)).collect()
            }
            (Some(_), schema) => enforced(hidden, schema),
        };
        (keyword.clone(), value)
    });
    Value::Object(members.collect())
}

/// Returns a schema without its hidden parts. `above` are the fields that the surrounding schemas
/// of the same value hide.
fn shown<'a>(hidden: &Hidden<'a>, schema: &'a Value, above: &BTreeSet<&'a str>) -> Value {
    let Value::Object(object) = schema else {
        return schema.clone();
    };
    let mut names = hidden.hidden_names(object);
    names.extend(above);
    let members = object.iter().map(|(keyword, value)| {
        let value = match place(keyword) {
            Some(place) => shown_schemas(hidden, keyword, place, value, &names),
            None => value.clone(),
        };
        (keyword.clone(), value)
    });
    Value::Object(members.collect())
}

/// Returns the value of a keyword without its hidden schemas.
fn shown_schemas<'a>(
    hidden: &Hidden<'a>,
    keyword: &str,
    place: Place,
    value: &'a Value,
    names: &BTreeSet<&'a str>,
) -> Value {
    let none = BTreeSet::new();
    let above = if place == Place::Same { names } else { &none };
    let is_hidden = |schema: &Value| {
        hidden.hides_value(schema)
            || names_in(schema.get("required")).any(|name| above.contains(name))
    };
    match value {
        Value::Object(schemas) if is_map(keyword) => {
            let of_fields = matches!(keyword, "properties" | "dependentSchemas" | "dependencies");
            let visible = schemas.iter().filter(|(name, schema)| {
                !(is_hidden(schema) || of_fields && names.contains(&***name))
            });
            let visible = visible.map(|(name, one)| (name.clone(), shown(hidden, one, above)));
            Value::Object(visible.collect())
        }
        Value::Array(schemas) if matches!(keyword, "anyOf" | "oneOf") => {
            let visible = schemas.iter().filter(|schema| !is_hidden(schema));
            let visible: Vec<Value> = visible.map(|one| shown(hidden, one, above)).collect();
            // The list of these keywords is never empty.
            match visible.is_empty() {
                true => Value::Array(vec![Value::Bool(false)]),
                false => Value::Array(visible),
            }
        }
        Value::Array(schemas) => {
            let all = schemas.iter().map(|schema| match is_hidden(schema) {
                true => Value::Bool(false),
                false => shown(hidden, schema, above),
            });
            all.collect()
        }
        schema if is_hidden(schema) => Value::Bool(false),
        schema => shown(hidden, schema, above),
    }
}

/// Removes the keywords of requirements.
fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|keyword, _| keyword != REQUIRES_SCOPE && keyword != REQUIRES_ACTION);
            object.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
