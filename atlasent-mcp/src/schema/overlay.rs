//! Makes a schema that refuses hidden fields, whichever branch of the tool's schema applies.
//!
//! A branch that does not apply does not refuse its hidden field, but the server may still act on
//! the field:
//!
//! ```text
//! {"if": A, "then": {"properties": {"force": {"x-atlasent-requires": "a"}}}}
//! {"anyOf": [{"properties": {"force": {"x-atlasent-requires": "a"}}}, {"type": "object"}]}
//! ```
//!
//! So the overlay gathers, for each place in the arguments, the set of all schemas that may apply
//! to it. A field that one of them hides, and that none declares open, is `false` there. Each set
//! becomes one named schema, and a repeated set becomes a reference to it, because schemas can
//! contain themselves:
//!
//! ```text
//! {"$ref": "#/$defs/0", "$defs": {"0": {"properties": {"force": false, "next": {"$ref": "#/$defs/0"}}}}}
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::document::{Object, address};
use super::hidden::{Hidden, Member};

/// The most named schemas. A schema that needs more refuses all arguments.
const MAX_SETS: usize = 4_096;

/// The keywords for the fields that `properties` does not name.
const OTHER_FIELDS: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];
/// The keywords for the items that have no schema of their own.
const OTHER_ITEMS: [&str; 3] = ["items", "additionalItems", "unevaluatedItems"];

/// Returns the overlay.
pub(super) fn overlay(hidden: &Hidden<'_>) -> Value {
    let Some(root) = hidden.root() else {
        return Value::Bool(true);
    };
    let mut overlay = Overlay {
        hidden,
        known: BTreeMap::new(),
        sets: Vec::new(),
    };
    let first = overlay.set(vec![(root, false)]);
    let mut named = Map::new();
    while let Some(set) = overlay.sets.get(named.len()).cloned() {
        if hidden.is_exhausted() || overlay.sets.len() > MAX_SETS {
            return Value::Bool(false);
        }
        let number = named.len().to_string();
        named.insert(number, overlay.schema(&set));
    }
    let reference = first.get("$ref").cloned().unwrap_or_default();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": reference,
        "$defs": named,
    })
}

struct Overlay<'h, 'a> {
    hidden: &'h Hidden<'a>,
    /// The numbers of the sets, by the addresses of the schemas in them.
    known: BTreeMap<Vec<(usize, bool)>, usize>,
    sets: Vec<Vec<Member<'a>>>,
}

impl<'a> Overlay<'_, 'a> {
    /// Returns one schema for all schemas of a set.
    fn schema(&mut self, set: &[Member<'a>]) -> Value {
        let members = self.hidden.closure(set);
        let mut schema = Map::new();
        for (keyword, others) in [
            ("properties", &OTHER_FIELDS[..]),
            ("patternProperties", &[][..]),
        ] {
            let maps = members
                .iter()
                .filter_map(|(one, _)| one.get(keyword)?.as_object());
            let names: BTreeSet<&str> = maps.flat_map(Map::keys).map(String::as_str).collect();
            let parts = names.into_iter().map(|name| {
                let own = |one: &'a Object| one.get(keyword)?.get(name);
                (name.to_owned(), self.part(&members, own, others))
            });
            let parts: Map<String, Value> = parts.collect();
            if !parts.is_empty() {
                schema.insert(keyword.to_owned(), Value::Object(parts));
            }
        }
        let lengths = members
            .iter()
            .map(|(one, _)| own_items(one).map_or(0, Vec::len));
        let length = lengths.max().unwrap_or_default();
        if length > 0 {
            let parts = (0..length).map(|place| {
                let own = |one: &'a Object| own_items(one)?.get(place);
                self.part(&members, own, &OTHER_ITEMS)
            });
            schema.insert("prefixItems".to_owned(), parts.collect());
        }
        for (keyword, others) in [
            ("additionalProperties", &OTHER_FIELDS[..]),
            ("items", &OTHER_ITEMS[..]),
        ] {
            let parts = members
                .iter()
                .flat_map(|member| self.others(member, others));
            let parts: Vec<_> = parts.collect();
            let schema_of_others = self.together(&parts, &[]);
            schema.insert(keyword.to_owned(), schema_of_others);
        }
        Value::Object(schema)
    }

    /// Returns the schema of a part of the value. `own` is the schema that a member declares for
    /// the part, and `others` are the keywords for parts without one.
    fn part(
        &mut self,
        members: &[Member<'a>],
        own: impl Fn(&'a Object) -> Option<&'a Value>,
        others: &[&str],
    ) -> Value {
        self.hidden.step(members.len());
        if self.hidden.is_exhausted() {
            return Value::Bool(false);
        }
        let (mut declared, mut implied) = (Vec::new(), Vec::new());
        for member in members {
            let (schema, is_hidden) = *member;
            match own(schema) {
                Some(part) => declared.push((part, is_hidden || self.hidden.hides_value(part))),
                None => implied.extend(self.others(member, others)),
            }
        }
        self.together(&declared, &implied)
    }

    /// Returns the schemas of a member for the parts that it does not declare.
    fn others(&self, member: &Member<'a>, keywords: &[&str]) -> Vec<(&'a Value, bool)> {
        let (schema, is_hidden) = *member;
        let parts = keywords.iter().filter_map(|keyword| schema.get(*keyword));
        let parts = parts.filter(|part| match part {
            Value::Object(_) => true,
            // `true` in a hidden branch hides no named field, and `false` declares no field.
            Value::Bool(is_open) => *is_open && !is_hidden,
            // An array has a schema for each position, which `own_items` reads.
            _ => false,
        });
        parts
            .map(|part| (part, is_hidden || self.hidden.hides_value(part)))
            .collect()
    }

    /// Returns `false` if every schema that declares a part hides it. Otherwise, returns a schema
    /// that refuses what is hidden within the part.
    fn together(&mut self, declared: &[(&'a Value, bool)], implied: &[(&'a Value, bool)]) -> Value {
        if !declared.is_empty() && declared.iter().all(|(_, is_hidden)| *is_hidden) {
            return Value::Bool(false);
        }
        let all = declared.iter().chain(implied);
        let objects = all.filter_map(|(part, is_hidden)| Some((part.as_object()?, *is_hidden)));
        self.set(objects.collect())
    }

    /// Returns a reference to the schema of a set.
    fn set(&mut self, mut set: Vec<Member<'a>>) -> Value {
        if set.is_empty() {
            return Value::Bool(true);
        }
        set.sort_by_key(|(schema, is_hidden)| (address(schema), *is_hidden));
        set.dedup_by_key(|(schema, is_hidden)| (address(schema), *is_hidden));
        let key = set
            .iter()
            .map(|(schema, is_hidden)| (address(schema), *is_hidden));
        let next = self.sets.len();
        let number = *self.known.entry(key.collect()).or_insert(next);
        if number == next {
            self.hidden.step(set.len());
            self.sets.push(set);
        }
        json!({ "$ref": format!("#/$defs/{number}") })
    }
}

/// Returns the schemas of a schema for the items at each place.
fn own_items(schema: &Object) -> Option<&Vec<Value>> {
    let prefix = schema.get("prefixItems").and_then(Value::as_array);
    prefix.or_else(|| schema.get("items").and_then(Value::as_array))
}
