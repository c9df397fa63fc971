//! Reading the keywords of a JSON Schema.
//!
//! All keywords of a schema hold at once. So a `type`, `const`, `enum` or `properties` is enough to
//! know the type, and `anyOf`, `oneOf` and `allOf` beside it can only narrow it.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Type, Typed, Untyped, null, sample_number, scalar, together};

/// How deep schemas may nest, references included. A schema that contains itself ends there.
const MAX_DEPTH: usize = 16;

/// The most schemas that one argument is read from. References let a short schema stand for a type
/// of any size.
const MAX_STEPS: usize = 10_000;

/// The keywords that combine schemas.
const COMBINATORS: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// Reads the schemas of one argument.
pub(super) struct Reader<'s> {
    /// The schema of the tool.
    root: &'s Map<String, Value>,
    steps: Cell<usize>,
}

/// The members of an object that parts of its schema name: a referenced schema, and the schemas
/// that it combines.
#[derive(Default)]
struct MembersOfParts {
    declared: BTreeSet<String>,
    /// The members that each object has to have.
    required: BTreeSet<String>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(root: &'s Map<String, Value>) -> Self {
        Self {
            root,
            steps: Cell::new(0),
        }
    }

    /// Returns the type of a value. A value that can only be `null` has none.
    pub(super) fn value(&self, schema: &Value, depth: usize) -> Result<Typed, &'static str> {
        together(vec![self.typed(schema, depth)?])
    }

    /// Returns the type of a value, or `null`, which may be one of several alternatives.
    fn typed(&self, schema: &Value, depth: usize) -> Result<Typed, &'static str> {
        if depth > MAX_DEPTH {
            return Err("its schema contains itself, or nests too deep");
        }
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Err("its schema has too many parts");
        }
        let Value::Object(schema) = schema else {
            return Err("its schema allows any value");
        };
        if let Some(reference) = schema.get("$ref") {
            let target = reference.as_str().and_then(|text| self.referenced(text));
            let target = target.ok_or("its schema refers to another document")?;
            return self.typed(target, depth + 1);
        }
        if let Some(values) = listed_values(schema) {
            let typed = values.iter().map(scalar);
            return together(typed.collect::<Result<Vec<_>, _>>()?);
        }
        let own = match schema.get("type") {
            Some(Value::String(name)) => self.named(name, schema, depth),
            Some(Value::Array(names)) => self.named_together(names, schema, depth),
            _ if schema.contains_key("properties") => self.named("object", schema, depth),
            _ => Err("its schema allows values of any type"),
        };
        match own {
            // Such as `object` alone, whose members are in the combined schemas.
            Err(why) if members(schema).is_empty() => {
                self.combined(schema, depth).unwrap_or(Err(why))
            }
            own => own,
        }
    }

    /// Returns the type that the combined schemas have in common. `None` if they name no type.
    fn combined(
        &self,
        schema: &Map<String, Value>,
        depth: usize,
    ) -> Option<Result<Typed, &'static str>> {
        let mut types = Vec::new();
        for keyword in COMBINATORS {
            let Some(Value::Array(parts)) = schema.get(keyword) else {
                continue;
            };
            if !parts.iter().any(names_a_type) {
                continue;
            }
            // A value fits all parts of `allOf`, so those that name no type change nothing.
            let parts = parts
                .iter()
                .filter(|part| keyword != "allOf" || names_a_type(part));
            types.push(self.one_of(parts, depth + 1));
        }
        let types: Result<Vec<_>, _> = types.into_iter().collect();
        match types {
            Ok(types) if types.is_empty() => None,
            Ok(types) => Some(together(types)),
            Err(why) => Some(Err(why)),
        }
    }

    fn named_together(
        &self,
        names: &[Value],
        schema: &Map<String, Value>,
        depth: usize,
    ) -> Result<Typed, &'static str> {
        let types = names
            .iter()
            .map(|name| self.named(name.as_str().unwrap_or_default(), schema, depth));
        together(types.collect::<Result<Vec<_>, _>>()?)
    }

    fn named(
        &self,
        name: &str,
        schema: &Map<String, Value>,
        depth: usize,
    ) -> Result<Typed, &'static str> {
        Ok(match name {
            "string" => Typed::new(Type::Text, "x"),
            "integer" => Typed::new(Type::Integer, sample_number(schema)),
            "number" => Typed::new(Type::Fraction, sample_number(schema)),
            "boolean" => Typed::new(Type::Flag, false),
            "null" => null(),
            "array" => {
                let items = schema.get("items").ok_or("its items have no schema")?;
                let items = self.value(items, depth + 1)?;
                if items.can_be_null {
                    return Err("its items can be null");
                }
                let least = schema.get("minItems").and_then(Value::as_u64);
                let sample = match least.unwrap_or_default() {
                    0 => json!([]),
                    _ => json!([items.sample]),
                };
                Typed::new(Type::SetOf(Box::new(items.value)), sample)
            }
            "object" => self.record(schema, depth)?,
            _ => return Err("its type is unknown"),
        })
    }

    fn record(&self, schema: &Map<String, Value>, depth: usize) -> Result<Typed, &'static str> {
        if !matches!(schema.get("properties"), Some(Value::Object(properties)) if !properties.is_empty())
        {
            return Err("its schema allows objects with any keys");
        }
        if !self.undeclared(schema, depth).is_empty() {
            return Err("its schema has keys beside its `properties`");
        }
        let mut attributes = Vec::new();
        let mut sample = Map::new();
        for (name, is_required, property) in members(schema) {
            let attribute = self
                .value(property, depth + 1)?
                .attribute(name, is_required);
            if attribute.is_required {
                sample.insert(name.to_owned(), attribute.sample.clone());
            }
            attributes.push(attribute);
        }
        Ok(Typed::new(Type::Record(attributes), sample))
    }

    fn one_of<'a>(
        &self,
        alternatives: impl Iterator<Item = &'a Value>,
        depth: usize,
    ) -> Result<Typed, &'static str> {
        let types = alternatives.map(|schema| self.typed(schema, depth));
        together(types.collect::<Result<Vec<_>, _>>()?)
    }

    /// Returns the members of an object that only parts of its schema declare, or that are required
    /// and nowhere declared.
    pub(super) fn undeclared(&self, schema: &Map<String, Value>, depth: usize) -> Vec<Untyped> {
        let mut parts = MembersOfParts::default();
        let required = required(schema).into_iter();
        parts.required.extend(required.map(str::to_owned));
        self.read_parts(schema, true, depth, &mut parts);
        let own: BTreeSet<&str> = members(schema).into_iter().map(|(name, ..)| name).collect();
        let names = parts.declared.union(&parts.required);
        names
            .filter(|name| !own.contains(name.as_str()))
            .map(|name| Untyped {
                name: name.clone(),
                is_required: parts.required.contains(name),
                why: match parts.declared.contains(name) {
                    true => "it is declared beside the tool's own `properties`",
                    false => "the tool requires it and does not declare it",
                },
            })
            .collect()
    }

    /// Adds the members that the parts of an object's schema name. `always` tells whether each
    /// object fits the schema, and not one of several.
    fn read_parts(
        &self,
        schema: &Map<String, Value>,
        always: bool,
        depth: usize,
        found: &mut MembersOfParts,
    ) {
        self.steps.set(self.steps.get() + 1);
        if depth > MAX_DEPTH || self.steps.get() > MAX_STEPS {
            return;
        }
        let reference = schema.get("$ref").and_then(Value::as_str);
        let referenced = reference.and_then(|text| self.referenced(text));
        let combined = COMBINATORS.into_iter().flat_map(|keyword| {
            let parts = schema.get(keyword).and_then(Value::as_array);
            let always = always && keyword == "allOf";
            parts.into_iter().flatten().map(move |part| (always, part))
        });
        let parts = referenced.map(|part| (always, part)).into_iter();
        for (always, part) in parts.chain(combined) {
            let Value::Object(part) = part else {
                continue;
            };
            let (declared, required) = (members(part), required(part));
            // Each name is a step: references let a short schema have many parts of many members.
            let names = declared.len() + required.len();
            self.steps.set(self.steps.get() + names);
            let declared = declared.into_iter().map(|(name, ..)| name.to_owned());
            found.declared.extend(declared);
            if always {
                found
                    .required
                    .extend(required.into_iter().map(str::to_owned));
            }
            self.read_parts(part, always, depth + 1, found);
        }
    }

    /// Returns the schema that a reference within the same document names.
    fn referenced(&self, reference: &str) -> Option<&'s Value> {
        let mut keys = reference.strip_prefix("#/")?.split('/');
        let unescaped = |key: &str| key.replace("~1", "/").replace("~0", "~");
        let first = self.root.get(&unescaped(keys.next()?))?;
        keys.try_fold(first, |value, key| value.get(unescaped(key)))
    }
}

/// Returns the values that a schema lists, if it lists its values.
fn listed_values(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => Some(vec![value.clone()]),
        (None, Some(Value::Array(values))) => Some(values.clone()),
        _ => None,
    }
}

/// Returns whether a schema or a part of it has a keyword by which values have a type.
fn names_a_type(schema: &Value) -> bool {
    let has = |keyword: &str| schema.get(keyword).is_some();
    let parts = COMBINATORS
        .into_iter()
        .filter_map(|keyword| schema.get(keyword)?.as_array());
    ["$ref", "const", "enum", "properties", "type"]
        .into_iter()
        .any(has)
        || parts.flatten().any(names_a_type)
}

/// Returns the names of the members that an object's schema requires.
fn required(schema: &Map<String, Value>) -> BTreeSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    let names = names.into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// Returns the properties of an object's schema, and whether they are required.
pub(super) fn members(schema: &Map<String, Value>) -> Vec<(&str, bool, &Value)> {
    let required = required(schema);
    match schema.get("properties") {
        Some(Value::Object(properties)) => properties
            .iter()
            .map(|(name, property)| (name.as_str(), required.contains(name.as_str()), property))
            .collect(),
        _ => Vec::new(),
    }
}
