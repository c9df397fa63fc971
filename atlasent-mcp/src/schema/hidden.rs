//! Finds the schemas of a document that one caller may not use: the hidden ones.
//!
//! A schema is hidden if no value that the caller may send could fit it:
//!
//! - It requires something that the caller does not have, or refers to a hidden schema.
//! - A part of its `allOf`, or each part of its `anyOf` or `oneOf`, is hidden.
//! - It lists a field as `required` that the caller may not set.
//! - It requires something that the caller does not have in a place that cannot be left out: a test
//!   (`if`, `not`, `contains`, `propertyNames`), or an unknown keyword.
//! - It has a reference that does not name a schema of the document.
//!
//! The caller may not set a field if a schema for the object hides it, in any branch, and no other
//! schema declares it open.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::document::{Document, Object, address, place, schemas_of};
use super::restrict::{Meets, requires_more};

/// The keywords with values that are not schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// The most steps for one caller and one tool. A schema that needs more is hidden as a whole, so
/// that no server keeps a guard busy.
const MAX_STEPS: usize = 200_000;

/// A schema, and whether it belongs to a hidden branch.
pub(super) type Member<'a> = (&'a Object, bool);

/// The hidden schemas of a document.
pub(super) struct Hidden<'a> {
    document: &'a Document<'a>,
    meets: Meets<'a>,
    hidden: HashSet<usize>,
    steps: Cell<usize>,
}

impl<'a> Hidden<'a> {
    pub(super) fn new(document: &'a Document<'a>, meets: Meets<'a>) -> Self {
        let mut hidden = Self {
            document,
            meets,
            hidden: HashSet::new(),
            steps: Cell::new(0),
        };
        // A hidden schema can hide others anywhere in the document, so all schemas are visited
        // until a round finds no more.
        loop {
            let before = hidden.hidden.len();
            for schema in document.inner_first() {
                if !hidden.contains(schema) && hidden.hides(schema) {
                    hidden.hidden.insert(address(schema));
                }
            }
            if hidden.hidden.len() == before || hidden.is_exhausted() {
                return hidden;
            }
        }
    }

    /// Whether a schema is hidden.
    pub(super) fn hides_value(&self, schema: &Value) -> bool {
        schema
            .as_object()
            .is_some_and(|schema| self.contains(schema))
    }

    /// Whether the schema needs too many steps. Everything is hidden then.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.get() > MAX_STEPS
    }

    /// Counts steps.
    pub(super) fn step(&self, count: usize) {
        self.steps.set(self.steps.get().saturating_add(count));
    }

    /// Returns the outermost schema, if it is an object.
    pub(super) fn root(&self) -> Option<&'a Object> {
        self.document.root()
    }

    fn contains(&self, schema: &Object) -> bool {
        self.is_exhausted() || self.hidden.contains(&address(schema))
    }

    fn hides(&self, schema: &'a Object) -> bool {
        self.step(1);
        let Some(referred) = self.document.referred(schema) else {
            return true;
        };
        let all = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
        requires_more(schema, self.meets)
            || referred.into_iter().any(|referred| self.contains(referred))
            || all("allOf").is_some_and(|all| all.iter().any(|part| self.hides_value(part)))
            || ["anyOf", "oneOf"]
                .into_iter()
                .filter_map(all)
                .any(|any| !any.is_empty() && any.iter().all(|part| self.hides_value(part)))
            || schema
                .iter()
                .filter(|(keyword, _)| place(keyword).is_none() && !DATA.contains(&&***keyword))
                .any(|(_, value)| self.requires_more_within(value))
            || self.requires_hidden_field(schema)
    }

    /// Whether anything within a value, or that it refers to, requires what the caller lacks.
    fn requires_more_within(&self, value: &'a Value) -> bool {
        let (mut values, mut objects) = (vec![value], Vec::new());
        let mut visited = HashSet::new();
        loop {
            self.step(1);
            if self.is_exhausted() {
                return true;
            }
            if let Some(object) = objects.pop() {
                if !visited.insert(address(object)) {
                    continue;
                }
                let Some(referred) = self.document.referred(object) else {
                    return true;
                };
                if requires_more(object, self.meets) {
                    return true;
                }
                objects.extend(referred);
                values.extend(object.values());
                continue;
            }
            match values.pop() {
                None => return false,
                Some(Value::Array(items)) => values.extend(items),
                Some(Value::Object(object)) => objects.push(object),
                Some(_) => {}
            }
        }
    }

    /// Whether a schema, or one that always applies with it, requires a field that is hidden.
    fn requires_hidden_field(&self, schema: &'a Object) -> bool {
        let mut required = BTreeSet::new();
        let (mut found, mut visited) = (vec![schema], HashSet::new());
        while let Some(schema) = found.pop() {
            if !visited.insert(address(schema)) {
                continue;
            }
            required.extend(names_in(schema.get("required")));
            let all = schema.get("allOf").into_iter();
            found.extend(
                all.flat_map(|all| schemas_of("allOf", all))
                    .filter_map(Value::as_object),
            );
            found.extend(self.document.referred(schema).into_iter().flatten());
        }
        self.step(visited.len());
        !required.is_empty() && !self.hidden_names(schema).is_disjoint(&required)
    }

    /// Returns the fields that a schema for an object hides.
    pub(super) fn hidden_names(&self, schema: &'a Object) -> BTreeSet<&'a str> {
        let mut names: BTreeMap<&str, bool> = BTreeMap::new();
        for (member, is_hidden) in self.closure(&[(schema, false)]) {
            let Some(Value::Object(properties)) = member.get("properties") else {
                continue;
            };
            self.step(properties.len());
            for (name, part) in properties {
                let is_open = !is_hidden && !self.hides_value(part);
                *names.entry(name).or_default() |= is_open;
            }
        }
        let hidden = names.into_iter().filter(|(_, is_open)| !is_open);
        hidden.map(|(name, _)| name).collect()
    }

    /// Returns all schemas that apply to the same value as these, or may. A schema that an open one
    /// and a hidden one lead to is open.
    pub(super) fn closure(&self, starts: &[Member<'a>]) -> Vec<Member<'a>> {
        let (mut members, mut visited) = (Vec::new(), HashSet::new());
        let (hidden, open): (Vec<_>, Vec<_>) = starts
            .iter()
            .copied()
            .partition(|(_, is_hidden)| *is_hidden);
        let mut later: Vec<&Object> = hidden.into_iter().map(|(schema, _)| schema).collect();
        let mut found: Vec<&Object> = open.into_iter().map(|(schema, _)| schema).collect();
        for is_hidden in [false, true] {
            while let Some(schema) = found.pop() {
                if !visited.insert(address(schema)) {
                    continue;
                }
                members.push((schema, is_hidden));
                for next in self.document.in_place(schema) {
                    match !is_hidden && self.contains(next) {
                        true => later.push(next),
                        false => found.push(next),
                    }
                }
            }
            found = std::mem::take(&mut later);
        }
        self.step(members.len());
        members
    }
}

/// Returns the names in the value of `required`.
pub(super) fn names_in(required: Option<&Value>) -> impl Iterator<Item = &str> {
    let names = required.and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str)
}
