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
//! Of `{"anyOf": [{"properties": {"force": …}}, {"type": "object"}]}`, the second branch accepts
//! any `force`, and the server may read the value as the first one all the same. So a name that is
//! hidden in one branch is `false` beside the branches, too, unless another branch declares it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{REQUIRES_ACTION, REQUIRES_SCOPE, Requirement};

/// The keywords whose schemas apply to the same value as the schema that they stand in.
const IN_PLACE: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// How deep references are followed. A schema that refers to itself would be followed for good.
const MAX_REFERENCES: usize = 8;

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

/// A schema as one caller may use it.
#[derive(Clone, Copy)]
pub(super) struct Restricted<'a> {
    root: &'a Value,
    meets: Meets<'a>,
}

impl<'a> Restricted<'a> {
    pub(super) fn new(root: &'a Value, meets: Meets<'a>) -> Self {
        Self { root, meets }
    }

    /// Returns the schema that the caller sees.
    pub(super) fn shown(self) -> Value {
        self.show(self.root)
    }

    /// Returns the schema that the arguments of the caller have to fit beside the tool's own.
    pub(super) fn enforced(self) -> Value {
        self.enforce(self.root)
    }

    /// Returns whether a part is hidden, by what it requires itself or by what it refers to.
    fn is_hidden(self, part: &Value) -> bool {
        let mut part = part;
        for _ in 0..MAX_REFERENCES {
            let Value::Object(object) = part else {
                return false;
            };
            if self.requires_more(object) {
                return true;
            }
            match self.referred(object) {
                Some(referred) => part = referred,
                None => return false,
            }
        }
        // A chain of references without an end says nothing.
        true
    }

    fn requires_more(self, object: &Map<String, Value>) -> bool {
        of_part(object).any(|required| !required.is_ok_and(|required| (self.meets)(&required)))
    }

    /// Returns what an object refers to within the schema.
    fn referred(self, object: &Map<String, Value>) -> Option<&'a Value> {
        let pointer = object.get("$ref")?.as_str()?.strip_prefix('#')?;
        self.root.pointer(pointer)
    }

    fn show(self, schema: &Value) -> Value {
        match schema {
            Value::Object(object) => {
                let mut visible = Map::new();
                for (key, value) in object {
                    let is_ours = key == REQUIRES_SCOPE || key == REQUIRES_ACTION;
                    if !is_ours && !self.is_hidden(value) {
                        visible.insert(key.clone(), self.show(value));
                    }
                }
                let properties = object.get("properties").and_then(Value::as_object);
                if let (Some(Value::Array(required)), Some(properties)) =
                    (visible.get_mut("required"), properties)
                {
                    required.retain(|name| {
                        let part = name.as_str().and_then(|name| properties.get(name));
                        !part.is_some_and(|part| self.is_hidden(part))
                    });
                }
                Value::Object(visible)
            }
            Value::Array(items) => {
                let visible = items.iter().filter(|item| !self.is_hidden(item));
                visible.map(|item| self.show(item)).collect()
            }
            other => other.clone(),
        }
    }

    fn enforce(self, schema: &Value) -> Value {
        match schema {
            _ if self.is_hidden(schema) => Value::Bool(false),
            Value::Object(object) => {
                let members = object.iter();
                let members = members.map(|(key, value)| (key.clone(), self.enforce(value)));
                let mut enforced: Map<String, Value> = members.collect();
                let names = self.hidden_in_branches(object);
                if !names.is_empty() {
                    let names = names.into_iter().map(|name| (name, Value::Bool(false)));
                    let beside = serde_json::json!({"properties": Map::from_iter(names)});
                    match enforced.get_mut("allOf") {
                        Some(Value::Array(all)) => all.push(beside),
                        _ => {
                            enforced.insert("allOf".to_owned(), Value::Array(vec![beside]));
                        }
                    }
                }
                Value::Object(enforced)
            }
            Value::Array(items) => items.iter().map(|item| self.enforce(item)).collect(),
            other => other.clone(),
        }
    }

    /// Returns the names of properties that are hidden in a branch of the object, and that the
    /// object and its other branches do not declare.
    fn hidden_in_branches(self, object: &Map<String, Value>) -> BTreeSet<String> {
        let has_branches = IN_PLACE.iter().any(|keyword| object.contains_key(*keyword));
        let mut names = Names::default();
        if has_branches || object.contains_key("$ref") {
            self.collect_names(object, &mut names, MAX_REFERENCES);
        }
        names.hidden.difference(&names.declared).cloned().collect()
    }

    fn collect_names(self, object: &Map<String, Value>, names: &mut Names, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        let is_hidden = self.requires_more(object);
        if let Some(Value::Object(properties)) = object.get("properties") {
            for (name, part) in properties {
                match is_hidden || self.is_hidden(part) {
                    true => names.hidden.insert(name.clone()),
                    false => names.declared.insert(name.clone()),
                };
            }
        }
        let branches = IN_PLACE
            .iter()
            .filter_map(|keyword| object.get(*keyword)?.as_array());
        for branch in branches.flatten().filter_map(Value::as_object) {
            self.collect_names(branch, names, depth);
        }
        if let Some(Value::Object(referred)) = self.referred(object) {
            self.collect_names(referred, names, depth);
        }
    }
}

/// The names of the properties of an object and of its branches.
#[derive(Default)]
struct Names {
    hidden: BTreeSet<String>,
    declared: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOTHING: Meets<'_> = &|_| false;

    fn shown(schema: &Value, meets: Meets<'_>) -> Value {
        Restricted::new(schema, meets).shown()
    }

    fn enforced(schema: &Value, meets: Meets<'_>) -> Value {
        Restricted::new(schema, meets).enforced()
    }

    #[test]
    fn a_hidden_field_is_gone_from_what_is_shown_and_false_in_what_is_enforced() {
        let schema = json!({
            "properties": {
                "path": {"type": "string"},
                "force": {"type": "boolean", "x-atlasent-requires": "a"},
                "deep": {"type": "array", "items": {"properties": {"x": {"x-atlasent-requires-action": "b"}}}},
            },
            "required": ["path", "force"],
        });
        assert_eq!(
            shown(&schema, NOTHING),
            json!({
                "properties": {"path": {"type": "string"}, "deep": {"type": "array", "items": {"properties": {}}}},
                "required": ["path"],
            })
        );
        let enforced = enforced(&schema, NOTHING);
        assert_eq!(enforced["properties"]["force"], false);
        assert_eq!(
            enforced["properties"]["deep"]["items"]["properties"]["x"],
            false
        );
        let all = requirements(&schema).unwrap();
        assert_eq!(all.len(), 2);
        let shown = shown(&schema, &|requirement| {
            *requirement == Requirement::Scope("a".to_owned())
        });
        assert_eq!(shown["properties"]["force"], json!({"type": "boolean"}));
    }

    #[test]
    fn a_hidden_variant_is_gone() {
        let schema =
            json!({"oneOf": [{"const": "copy"}, {"const": "move", "x-atlasent-requires": "a"}]});
        assert_eq!(
            shown(&schema, NOTHING),
            json!({"oneOf": [{"const": "copy"}]})
        );
        let referred = json!({
            "properties": {"mode": {"$ref": "#/$defs/Mode"}},
            "$defs": {"Mode": {"enum": ["a"], "x-atlasent-requires": "a"}},
        });
        assert_eq!(
            shown(&referred, NOTHING),
            json!({"properties": {}, "$defs": {}})
        );
        assert_eq!(
            enforced(&schema, NOTHING),
            json!({"oneOf": [{"const": "copy"}, false]})
        );
    }

    #[test]
    fn a_name_that_one_branch_hides_is_false_beside_the_branches() {
        let schema = json!({
            "anyOf": [{"$ref": "#/$defs/A"}, {"type": "object"}],
            "$defs": {"A": {"properties": {"force": {"x-atlasent-requires": "a"}, "path": {}}}},
        });
        let schema = enforced(&schema, NOTHING);
        assert_eq!(schema["allOf"], json!([{"properties": {"force": false}}]));
        let declared = json!({"anyOf": [
            {"properties": {"force": {"x-atlasent-requires": "a"}}}, {"properties": {"force": {}}},
        ]});
        assert_eq!(enforced(&declared, NOTHING).get("allOf"), None);
        let endless = json!({"$ref": "#"});
        assert_eq!(enforced(&endless, NOTHING), json!(false));
    }

    #[test]
    fn a_requirement_that_is_no_text_is_an_error() {
        for value in [json!(7), json!(""), json!(["a"]), json!(null)] {
            assert!(
                requirements(&json!({"properties": {"a": {"x-atlasent-requires": value}}}))
                    .is_err()
            );
        }
    }
}
