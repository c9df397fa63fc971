//! The schemas within a schema, and the targets of references among them.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

/// A schema that is an object.
pub(super) type Object = Map<String, Value>;

/// The keywords that refer to another schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// The keywords whose schemas only test a value. Leaving a part out of them would change the test.
const TESTS: [&str; 5] = ["if", "not", "contains", "propertyNames", "contentSchema"];

/// The value that the schemas of a keyword apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The value of the schema that contains the keyword, always or in some cases.
    Same,
    /// A part of that value.
    Part,
    /// No value: other schemas refer to these.
    Named,
}

/// Returns the value that the schemas of a keyword apply to. Returns `None` for keywords without
/// schemas, and for keywords that only test.
pub(super) fn place(keyword: &str) -> Option<Place> {
    Some(match keyword {
        "allOf" | "anyOf" | "oneOf" | "then" | "else" | "dependentSchemas" | "dependencies" => {
            Place::Same
        }
        "properties"
        | "patternProperties"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "items"
        | "prefixItems"
        | "additionalItems"
        | "unevaluatedItems" => Place::Part,
        "$defs" | "definitions" => Place::Named,
        _ => return None,
    })
}

/// Whether the value of a keyword is an object with a schema in each member.
pub(super) fn is_map(keyword: &str) -> bool {
    matches!(
        keyword,
        "properties"
            | "patternProperties"
            | "dependentSchemas"
            | "dependencies"
            | "$defs"
            | "definitions"
    )
}

/// Returns the schemas of a keyword.
pub(super) fn schemas_of<'a>(
    keyword: &str,
    value: &'a Value,
) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
    match value {
        Value::Object(map) if is_map(keyword) => Box::new(map.values()),
        Value::Array(items) => Box::new(items.iter()),
        one => Box::new(std::iter::once(one)),
    }
}

/// Returns the address of a schema, which identifies it within its document.
pub(super) fn address(object: &Object) -> usize {
    std::ptr::from_ref(object).addr()
}

/// A schema, and all schemas within it.
#[derive(Debug)]
pub(super) struct Document<'a> {
    root: &'a Value,
    /// Outer schemas come before inner ones.
    schemas: Vec<&'a Object>,
    known: HashSet<usize>,
    anchors: BTreeMap<&'a str, Vec<&'a Object>>,
    /// Whether an inner schema has an `$id`, which changes what the references in it name.
    has_inner_ids: bool,
}

impl<'a> Document<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        let mut document = Self {
            root,
            schemas: Vec::new(),
            known: HashSet::new(),
            anchors: BTreeMap::new(),
            has_inner_ids: false,
        };
        let mut found: Vec<&Object> = root.as_object().into_iter().collect();
        while let Some(schema) = found.pop() {
            document.add(schema);
            for (keyword, value) in schema {
                if place(keyword).is_some() || TESTS.contains(&&**keyword) {
                    found.extend(schemas_of(keyword, value).filter_map(Value::as_object));
                }
            }
        }
        document
    }

    fn add(&mut self, schema: &'a Object) {
        // `id` is the keyword of the first drafts.
        let has_id = ["$id", "id"]
            .iter()
            .any(|keyword| schema.contains_key(*keyword));
        self.has_inner_ids |= !self.schemas.is_empty() && has_id;
        self.schemas.push(schema);
        self.known.insert(address(schema));
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let Some(Value::String(anchor)) = schema.get(keyword) {
                self.anchors.entry(anchor).or_default().push(schema);
            }
        }
    }

    /// Returns the outermost schema, if it is an object.
    pub(super) fn root(&self) -> Option<&'a Object> {
        self.root.as_object()
    }

    /// Returns all schemas, inner ones first.
    pub(super) fn inner_first(&self) -> impl Iterator<Item = &'a Object> + '_ {
        self.schemas.iter().rev().copied()
    }

    /// Returns the schemas that an object refers to. Returns `None` if one of its references does
    /// not name a schema of this document.
    pub(super) fn referred(&self, object: &'a Object) -> Option<Vec<&'a Object>> {
        let mut found = Vec::new();
        for reference in REFERENCES.iter().filter_map(|keyword| object.get(*keyword)) {
            let fragment = reference.as_str()?.strip_prefix('#')?;
            if self.has_inner_ids {
                return None;
            }
            if !fragment.is_empty() && !fragment.starts_with('/') {
                found.extend(self.anchors.get(fragment)?);
                continue;
            }
            match self.root.pointer(&decoded(fragment)?)? {
                Value::Object(target) if self.known.contains(&address(target)) => {
                    found.push(target);
                }
                Value::Bool(_) => {}
                _ => return None,
            }
        }
        Some(found)
    }

    /// Returns the schemas that apply, or may apply, to the same value as an object.
    pub(super) fn in_place(&self, object: &'a Object) -> Vec<&'a Object> {
        let mut found: Vec<_> = object
            .iter()
            .filter(|(keyword, _)| place(keyword) == Some(Place::Same))
            .flat_map(|(keyword, value)| schemas_of(keyword, value))
            .filter_map(Value::as_object)
            .collect();
        found.extend(self.referred(object).into_iter().flatten());
        found
    }

    /// Returns whether a schema refers to itself for the same value. Checking a value by such a
    /// schema would never end.
    pub(super) fn is_endless(&self) -> bool {
        let mut done = HashSet::new();
        for start in self.inner_first() {
            // The path of schemas from `start`, each with the schemas that are still to be visited.
            let mut way = vec![(address(start), self.tested(start))];
            let mut on_way = HashSet::from([address(start)]);
            if done.contains(&address(start)) {
                continue;
            }
            while let Some((here, next)) = way.last_mut() {
                let here = *here;
                match next.pop() {
                    None => {
                        done.insert(here);
                        on_way.remove(&here);
                        way.pop();
                    }
                    Some(next) if on_way.contains(&address(next)) => return true,
                    Some(next) if done.contains(&address(next)) => {}
                    Some(next) => {
                        on_way.insert(address(next));
                        way.push((address(next), self.tested(next)));
                    }
                }
            }
        }
        false
    }

    /// Returns the schemas that a check of the same value may enter.
    fn tested(&self, object: &'a Object) -> Vec<&'a Object> {
        let mut found = self.in_place(object);
        let tests = ["if", "not"]
            .iter()
            .filter_map(|keyword| object.get(*keyword));
        found.extend(tests.filter_map(Value::as_object));
        found
    }
}

/// Decodes the percent-encoding of a fragment.
fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = fragment.bytes();
    let mut decoded = Vec::with_capacity(fragment.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refers(schema: &Value) -> Option<usize> {
        let document = Document::new(schema);
        let referred = document.referred(document.root().unwrap());
        referred.map(|found| found.len())
    }

    #[test]
    fn references_within_the_document_are_resolved_and_no_others() {
        for (reference, found) in [
            (json!({"$ref": "#/$defs/A"}), Some(1)),
            (json!({"$ref": "#/%24defs/A"}), Some(1)),
            (json!({"$ref": "#"}), Some(1)),
            (json!({"$ref": "#a"}), Some(1)),
            (json!({"$dynamicRef": "#b"}), Some(1)),
            (json!({"$recursiveRef": "#"}), Some(1)),
            (json!({"$ref": "#/$defs/Anything"}), Some(0)),
            (json!({"type": "object"}), Some(0)),
            (json!({"$ref": "#/$defs/B"}), None),
            (json!({"$ref": "#c"}), None),
            (json!({"$ref": "#/%zz"}), None),
            (json!({"$ref": "other#/$defs/A"}), None),
            (json!({"$ref": "#/x-more/A"}), None),
            (json!({"$ref": 7}), None),
            (
                json!({"$ref": "#/$defs/A", "properties": {"p": {"$id": "x"}}}),
                None,
            ),
        ] {
            let mut schema = json!({
                "$defs": {"A": {"$anchor": "a", "$dynamicAnchor": "b"}, "Anything": true},
                "x-more": {"A": {}},
            });
            let members = reference.as_object().unwrap().clone();
            schema.as_object_mut().unwrap().extend(members);
            assert_eq!(refers(&schema), found, "{reference}");
        }
    }

    #[test]
    fn a_schema_that_only_comes_back_to_itself_is_endless() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}),
            json!({"$ref": "#/$defs/A", "$defs": {"A": {"not": {"$ref": "#/$defs/B"}}, "B": {"$ref": "#/$defs/A"}}}),
        ] {
            assert!(Document::new(&schema).is_endless(), "{schema}");
        }
        let tree = json!({"$ref": "#/$defs/N", "$defs": {"N": {"properties": {"next": {"$ref": "#/$defs/N"}}}}});
        assert!(!Document::new(&tree).is_endless());
    }
}
