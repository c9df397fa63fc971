//! JSON Schema as types of a Cedar schema, with sample values.
//!
//! Cedar has fewer types: a set has one type of members, a record has known keys, and there is no
//! type for "any value". A schema without a matching type is returned as an error with the reason,
//! and left out by the caller.
//!
//! The Cedar project's `cedar-policy-mcp-schema-generator` is not used, because its schema fits
//! only requests that it makes itself: with the arguments below `context.input`, with the texts of
//! an `enum` as entities, and all in one namespace. Requests here have the arguments as their
//! context, and other action names. It also pins one version of `cedar-policy-core` exactly (0.7.0:
//! 4.14.0), beside the version that the authority's engine uses.

use std::cell::Cell;

use serde_json::{Map, Number, Value, json};

/// How deep schemas may nest, references included. A schema that contains itself ends there.
const MAX_DEPTH: usize = 16;

/// The most schemas that one argument is read from. References let a short schema stand for a type
/// of any size.
const MAX_STEPS: usize = 10_000;

/// The type of an argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Type {
    Text,
    Integer,
    Fraction,
    Flag,
    SetOf(Box<Type>),
    Record(Vec<Attribute>),
}

/// An argument, or a member of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) is_required: bool,
    pub(super) value: Type,
    /// A value that the JSON Schema accepts, as far as its type says.
    pub(super) sample: Value,
}

/// An argument that has no type in Cedar.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Untyped {
    pub(super) name: String,
    pub(super) is_required: bool,
    pub(super) why: &'static str,
}

/// A type with a value of it.
struct Typed {
    value: Type,
    sample: Value,
    can_be_null: bool,
}

/// Returns the arguments that a tool's input schema declares, and those that have no type.
pub(super) fn arguments(schema: &Map<String, Value>) -> (Vec<Attribute>, Vec<Untyped>) {
    let (mut typed, mut untyped) = (Vec::new(), Vec::new());
    for (name, is_required, property) in members(schema) {
        let reader = Reader {
            root: schema,
            steps: Cell::new(0),
        };
        match reader.value(property, 1) {
            Ok(read) => typed.push(read.attribute(name, is_required)),
            Err(why) => untyped.push(Untyped {
                name: name.to_owned(),
                is_required,
                why,
            }),
        }
    }
    (typed, untyped)
}

impl Type {
    /// Returns the type in Cedar's schema syntax.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text => "String".to_owned(),
            Self::Integer => "Long".to_owned(),
            Self::Fraction => "decimal".to_owned(),
            Self::Flag => "Bool".to_owned(),
            Self::SetOf(member) => format!("Set<{}>", member.text()),
            Self::Record(attributes) if attributes.is_empty() => "{}".to_owned(),
            Self::Record(attributes) => {
                let attributes: Vec<String> = attributes.iter().map(Attribute::text).collect();
                format!("{{ {} }}", attributes.join(", "))
            }
        }
    }
}

impl Attribute {
    /// Returns the attribute in Cedar's schema syntax.
    pub(super) fn text(&self) -> String {
        let mark = if self.is_required { "" } else { "?" };
        format!("{}{mark}: {}", quoted(&self.name), self.value.text())
    }
}

impl Typed {
    fn new(value: Type, sample: impl Into<Value>) -> Self {
        Self {
            value,
            sample: sample.into(),
            can_be_null: false,
        }
    }

    fn attribute(self, name: &str, is_required: bool) -> Attribute {
        Attribute {
            name: name.to_owned(),
            // To the policies, a key whose value is `null` is absent.
            is_required: is_required && !self.can_be_null,
            value: self.value,
            sample: self.sample,
        }
    }
}

/// Returns a text as a string of Cedar.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// Reads the schemas of one argument.
struct Reader<'s> {
    /// The schema of the tool.
    root: &'s Map<String, Value>,
    steps: Cell<usize>,
}

impl Reader<'_> {
    /// Returns the type of a value. A value that can only be `null` has none.
    fn value(&self, schema: &Value, depth: usize) -> Result<Typed, &'static str> {
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
        for several in ["anyOf", "oneOf", "allOf"] {
            if let Some(Value::Array(alternatives)) = schema.get(several) {
                return self.one_of(alternatives.iter(), depth + 1);
            }
        }
        let values = match (schema.get("const"), schema.get("enum")) {
            (Some(value), _) => Some(vec![value.clone()]),
            (None, Some(Value::Array(values))) => Some(values.clone()),
            _ => None,
        };
        if let Some(values) = values {
            let typed = values.iter().map(scalar);
            return together(typed.collect::<Result<Vec<_>, _>>()?);
        }
        match schema.get("type") {
            Some(Value::String(name)) => self.named(name, schema, depth),
            Some(Value::Array(names)) => {
                let types = names
                    .iter()
                    .map(|name| self.named(name.as_str().unwrap_or_default(), schema, depth));
                together(types.collect::<Result<Vec<_>, _>>()?)
            }
            _ if schema.contains_key("properties") => self.named("object", schema, depth),
            _ => Err("its schema allows values of any type"),
        }
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

    /// Returns the schema that a reference within the same document names.
    fn referenced(&self, reference: &str) -> Option<&Value> {
        let mut keys = reference.strip_prefix("#/")?.split('/');
        let unescaped = |key: &str| key.replace("~1", "/").replace("~0", "~");
        let first = self.root.get(&unescaped(keys.next()?))?;
        keys.try_fold(first, |value, key| value.get(unescaped(key)))
    }
}

/// Returns the properties of an object's schema, and whether they are required.
fn members(schema: &Map<String, Value>) -> Vec<(&str, bool, &Value)> {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    match schema.get("properties") {
        Some(Value::Object(properties)) => properties
            .iter()
            .map(|(name, property)| (name.as_str(), is_required(name), property))
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns the one type of several alternatives.
fn together(types: Vec<Typed>) -> Result<Typed, &'static str> {
    let can_be_null = types.iter().any(|typed| typed.can_be_null);
    let mut rest = types.into_iter().filter(|typed| !typed.sample.is_null());
    let mut first = rest.next().ok_or("it can only be null")?;
    for other in rest {
        if first.value == other.value {
            continue;
        }
        match (&first.value, &other.value) {
            // Every integer is a number.
            (Type::Integer | Type::Fraction, Type::Integer | Type::Fraction) => {
                first.value = Type::Fraction;
            }
            _ => return Err("it can have values of several types"),
        }
    }
    first.can_be_null = can_be_null;
    Ok(first)
}

fn null() -> Typed {
    Typed {
        value: Type::Flag,
        sample: Value::Null,
        can_be_null: true,
    }
}

/// Returns the type of a value that a schema lists.
fn scalar(value: &Value) -> Result<Typed, &'static str> {
    Ok(match value {
        Value::Null => null(),
        Value::Bool(_) => Typed::new(Type::Flag, value.clone()),
        Value::String(_) => Typed::new(Type::Text, value.clone()),
        Value::Number(number) if number.is_f64() => Typed::new(Type::Fraction, value.clone()),
        Value::Number(_) => Typed::new(Type::Integer, value.clone()),
        Value::Array(_) | Value::Object(_) => return Err("it is one of several arrays or objects"),
    })
}

/// Returns a number that is not below the least value of a schema.
fn sample_number(schema: &Map<String, Value>) -> Number {
    let least = schema.get("minimum").and_then(Value::as_i64);
    Number::from(least.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the types of the arguments, and the reasons of those without one.
    fn read(schema: Value) -> (Vec<String>, Vec<String>) {
        let (typed, untyped) = arguments(schema.as_object().unwrap());
        let typed = typed.iter().map(Attribute::text).collect();
        let untyped = untyped
            .iter()
            .map(|one| format!("{}: {}", one.name, one.why));
        (typed, untyped.collect())
    }

    #[test]
    fn arguments_have_the_types_of_cedar() {
        let (typed, untyped) = read(json!({
            "type": "object",
            "required": ["path", "nullable", "when"],
            "properties": {
                "path": {"type": "string"},
                "head": {"type": "integer"},
                "ratio": {"type": "number"},
                "dry \"run\"": {"type": "boolean"},
                "paths": {"type": "array", "items": {"type": "string"}},
                "mode": {"enum": ["fast", "slow"]},
                "nullable": {"type": ["string", "null"]},
                "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "either": {"oneOf": [{"type": "integer"}, {"type": "number"}]},
                "edits": {"type": "array", "items": {"$ref": "#/$defs/edit"}},
                "when": {"allOf": [{"$ref": "#/$defs/edit"}]},
            },
            "$defs": {"edit": {"type": "object", "required": ["old"], "properties": {
                "new": {"type": "string"}, "old": {"type": "string"},
            }}},
        }));
        assert_eq!(untyped, [""; 0]);
        let expected = [
            r#""dry \"run\""?: Bool"#,
            r#""edits"?: Set<{ "new"?: String, "old": String }>"#,
            r#""either"?: decimal"#,
            r#""head"?: Long"#,
            r#""maybe"?: Long"#,
            r#""mode"?: String"#,
            r#""nullable"?: String"#,
            r#""path": String"#,
            r#""paths"?: Set<String>"#,
            r#""ratio"?: decimal"#,
            r#""when": { "new"?: String, "old": String }"#,
        ];
        assert_eq!(typed.len(), expected.len());
        for line in expected {
            assert!(typed.iter().any(|one| one == line), "{line} {typed:?}");
        }
    }

    #[test]
    fn a_short_schema_of_a_huge_type_is_given_up_soon() {
        let mut parts = Map::new();
        for level in 0..6 {
            let next = json!({"$ref": format!("#/$defs/{}", level + 1)});
            let fields = (0..50).map(|field| (format!("f{field}"), next.clone()));
            let fields: Map<String, Value> = fields.collect();
            let part = json!({"type": "object", "properties": fields});
            parts.insert(level.to_string(), part);
        }
        parts.insert("6".to_owned(), json!({"type": "string"}));
        let (typed, untyped) = read(json!({
            "properties": {"huge": {"$ref": "#/$defs/0"}, "path": {"type": "string"}},
            "$defs": parts,
        }));
        assert_eq!(typed, [r#""path"?: String"#]);
        assert_eq!(untyped, ["huge: its schema has too many parts"]);
    }

    #[test]
    fn an_argument_without_a_type_says_why() {
        for (schema, why) in [
            (json!(true), "its schema allows any value"),
            (json!({}), "its schema allows values of any type"),
            (
                json!({"type": "object"}),
                "its schema allows objects with any keys",
            ),
            (json!({"type": "array"}), "its items have no schema"),
            (
                json!({"type": "array", "items": {"type": ["null", "string"]}}),
                "its items can be null",
            ),
            (
                json!({"type": ["string", "integer"]}),
                "it can have values of several types",
            ),
            (
                json!({"enum": ["a", 1]}),
                "it can have values of several types",
            ),
            (
                json!({"enum": [[1]]}),
                "it is one of several arrays or objects",
            ),
            (json!({"type": "null"}), "it can only be null"),
            (json!({"type": "blob"}), "its type is unknown"),
            (
                json!({"$ref": "https://example.com/x"}),
                "its schema refers to another document",
            ),
            (
                json!({"$ref": "#/$defs/nothing"}),
                "its schema refers to another document",
            ),
            (
                json!({"$ref": "#/$defs/tree"}),
                "its schema contains itself, or nests too deep",
            ),
        ] {
            let tree = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}});
            let (typed, untyped) = read(json!({
                "properties": {"x": schema}, "$defs": {"tree": tree},
            }));
            assert_eq!((typed.len(), untyped), (0, vec![format!("x: {why}")]));
        }
    }
}
