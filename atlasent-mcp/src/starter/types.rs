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

mod reader;

use serde_json::{Map, Number, Value};

use reader::{Reader, members};

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
        match Reader::new(schema).value(property, 1) {
            Ok(read) => typed.push(read.attribute(name, is_required)),
            Err(why) => untyped.push(Untyped {
                name: name.to_owned(),
                is_required,
                why,
            }),
        }
    }
    untyped.extend(Reader::new(schema).undeclared(schema, 1));
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

/// Returns the one type of several alternatives.
fn together(types: Vec<Typed>) -> Result<Typed, &'static str> {
    let can_be_null = types.iter().any(|typed| typed.can_be_null);
    let are_decimals = (types.iter()).all(|typed| typed.sample.as_number().is_none_or(is_decimal));
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
    if first.value == Type::Fraction && !are_decimals {
        return Err("it is a number that no type of the policies holds");
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
        Value::Number(number) if is_long(number) => Typed::new(Type::Integer, value.clone()),
        Value::Number(_) => Typed::new(Type::Fraction, value.clone()),
        Value::Array(_) | Value::Object(_) => return Err("it is one of several arrays or objects"),
    })
}

/// Returns whether `Long` holds a number: whether it is an integer of 64 bits, in any spelling.
fn is_long(number: &Number) -> bool {
    /// 2^63, the first integer beyond.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    let is_whole = |float: f64| float.fract() == 0.0 && float.abs() < BOUND;
    number.is_i64() || number.is_f64() && number.as_f64().is_some_and(is_whole)
}

/// Returns whether `decimal` holds a number: whether it has at most four digits after the point,
/// and is within 64 bits as a count of ten-thousandths.
fn is_decimal(number: &Number) -> bool {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let fraction = fraction.trim_end_matches('0');
    // A number with an exponent is too small or too large, and is not parsed.
    fraction.len() <= 4 && format!("{whole}{fraction:0<4}").parse::<i64>().is_ok()
}

/// Returns a number that is not below the least value of a schema.
fn sample_number(schema: &Map<String, Value>) -> Number {
    let least = schema.get("minimum").and_then(Value::as_i64);
    Number::from(least.unwrap_or(1).max(1))
}

#[cfg(test)]
mod tests;
