//! Converting JSON values to Cedar values, by the rules at [`Policies`](super::Policies).
//!
//! Cedar's own JSON reader gives keys such as `__entity` and `__extn` a meaning. Contexts come from
//! agents, so that reader is not used: whatever the key, a string stays a string.

use std::fmt;

use atlasent::wire::WrittenNumbers;
use cedar_policy::{Context, EntityId, EntityUid, RestrictedExpression};
use serde_json::{Map, Number, Value};

use super::number::Numeral;
use super::types::{Record, Type};

/// How many arrays and objects may be nested in a context. Deeper ones are rejected, since both
/// this module and Cedar recurse over them.
pub(super) const MAX_DEPTH: usize = 64;

/// A value that has no Cedar counterpart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("the context nests more than {MAX_DEPTH} arrays and objects in each other")]
    TooDeep,
    /// Without Cedar's message, which quotes values.
    #[error("the context cannot be expressed as a Cedar record")]
    NotExpressible,
    #[error("the request is not in the schema: {0}")]
    TypeMismatch(TypeMismatches),
}

/// How many mismatches an answer lists. Further ones are counted only.
const LISTED: usize = 8;

/// The values that their declared types reject: at least one.
#[derive(Debug, Default)]
pub(super) struct TypeMismatches {
    listed: Vec<TypeMismatch>,
    unlisted: usize,
}

impl TypeMismatches {
    fn extend(&mut self, others: Self) {
        self.unlisted += others.unlisted;
        for mismatch in others.listed {
            match self.listed.len() < LISTED {
                true => self.listed.push(mismatch),
                false => self.unlisted += 1,
            }
        }
    }

    fn within(mut self, step: &str) -> Self {
        for mismatch in &mut self.listed {
            mismatch.path.push(step.to_owned());
        }
        self
    }

    /// Returns `converted`, or the mismatches if there are any.
    fn or<T>(self, converted: T) -> Result<T, Self> {
        match self.listed.is_empty() {
            true => Ok(converted),
            false => Err(self),
        }
    }
}

impl From<TypeMismatch> for TypeMismatches {
    fn from(mismatch: TypeMismatch) -> Self {
        Self {
            listed: vec![mismatch],
            unlisted: 0,
        }
    }
}

impl fmt::Display for TypeMismatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, mismatch) in self.listed.iter().enumerate() {
            let separator = if place > 0 { "; " } else { "" };
            write!(f, "{separator}{mismatch}")?;
        }
        match self.unlisted {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// A value that its declared type rejects. It names the path and the types, and no value.
#[derive(Debug)]
struct TypeMismatch {
    /// The path from the value up to the context, innermost step first.
    path: Vec<String>,
    what: MismatchKind,
}

#[derive(Debug)]
enum MismatchKind {
    Missing {
        expected: String,
    },
    Undeclared {
        found: &'static str,
    },
    Unfit {
        expected: String,
        found: &'static str,
    },
}

impl TypeMismatch {
    fn new(what: MismatchKind) -> Self {
        let path = Vec::new();
        Self { path, what }
    }
}

fn unfit(expected: &Type, found: &'static str) -> TypeMismatches {
    let expected = expected.to_string();
    TypeMismatch::new(MismatchKind::Unfit { expected, found }).into()
}

impl fmt::Display for TypeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`context")?;
        self.path
            .iter()
            .rev()
            .try_for_each(|step| f.write_str(step))?;
        match &self.what {
            MismatchKind::Missing { expected } => {
                write!(f, "` is missing, and has to be of type `{expected}`")
            }
            MismatchKind::Undeclared { found } => {
                write!(f, "`, {found}, is not declared for this action")
            }
            MismatchKind::Unfit { expected, found } => {
                write!(f, "` has to be of type `{expected}`, and is {found}")
            }
        }
    }
}

/// Returns `.key`, or `["odd key"]`, shortened where it is long.
fn key_step(key: &str) -> String {
    const SHOWN: usize = 64;
    let is_plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if key.len() <= SHOWN && is_plain(key) {
        return format!(".{key}");
    }
    let mut shown: String = key.chars().take(SHOWN).collect();
    if shown.len() < key.len() {
        shown.push('…');
    }
    format!("[\"{}\"]", shown.escape_debug())
}

pub(super) type Attributes = Vec<(String, RestrictedExpression)>;

/// Converts values that have no declared type.
pub(super) fn attributes(
    object: &Map<String, Value>,
    written: Option<&WrittenNumbers>,
    depth: usize,
) -> Result<Attributes, ConvertError> {
    let mut attributes = Vec::with_capacity(object.len());
    for (key, value) in object {
        let written = written.and_then(|written| written.member(key));
        if let Some(value) = expression(value, written, depth)? {
            attributes.push((key.clone(), value));
        }
    }
    Ok(attributes)
}

/// Returns `None` for `null`: Cedar has no such value, and `has` should be false for the key.
fn expression(
    value: &Value,
    written: Option<&WrittenNumbers>,
    depth: usize,
) -> Result<Option<RestrictedExpression>, ConvertError> {
    if let Some(text) = written.and_then(WrittenNumbers::text) {
        return Ok(Some(written_number(text)));
    }
    let expression = match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => RestrictedExpression::new_bool(*value),
        Value::Number(value) => number(value),
        Value::String(value) => RestrictedExpression::new_string(value.clone()),
        Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => {
            return Err(ConvertError::TooDeep);
        }
        Value::Array(values) => {
            let mut elements = Vec::with_capacity(values.len());
            for (index, value) in values.iter().enumerate() {
                let written = written.and_then(|written| written.item(index));
                elements.extend(expression(value, written, depth + 1)?);
            }
            RestrictedExpression::new_set(elements)
        }
        Value::Object(object) => {
            let attributes = attributes(object, written, depth + 1)?;
            RestrictedExpression::new_record(attributes)
                .map_err(|_| ConvertError::NotExpressible)?
        }
    };
    Ok(Some(expression))
}

/// Converts a number that has no declared type.
pub(super) fn number(number: &Number) -> RestrictedExpression {
    match small_integer(number) {
        Some(long) => RestrictedExpression::new_long(long),
        None => written_number(&number.to_string()),
    }
}

/// Returns the number, if it is integral and its text is not needed to tell.
fn small_integer(number: &Number) -> Option<i64> {
    /// Up to 2^53, each integer is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let float = || number.as_f64().filter(|float| float.abs() < EXACT);
    let whole = || float().filter(|float| float.fract() == 0.0);
    number
        .as_i64()
        .or_else(|| whole().map(|whole| whole as i64))
}

fn written_number(text: &str) -> RestrictedExpression {
    let numeral = Numeral::parse(text);
    if let Some(long) = numeral.and_then(|numeral| numeral.long()) {
        return RestrictedExpression::new_long(long);
    }
    match numeral.and_then(|numeral| numeral.decimal()) {
        Some(decimal) => RestrictedExpression::new_decimal(decimal),
        // Dropping or rounding the number could disable a `forbid`. A string satisfies `has`, and
        // ordering it is a type error, which denies.
        None => RestrictedExpression::new_string(text.to_owned()),
    }
}

/// Converts values by their declared types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typed {
    /// Whether each extension value is evaluated at once, which finds the invalid ones and costs an
    /// evaluation each.
    pub(super) probes: bool,
}

impl Typed {
    pub(super) fn attributes(
        self,
        object: &Map<String, Value>,
        written: Option<&WrittenNumbers>,
        record: &Record,
    ) -> Result<Attributes, TypeMismatches> {
        let mut attributes = Vec::with_capacity(record.len());
        let mut mismatches = TypeMismatches::default();
        for (key, value) in object {
            if value.is_null() {
                continue;
            }
            let written = written.and_then(|written| written.member(key));
            let expression = match record.get(key) {
                Some(attribute) => self.expression(value, written, &attribute.kind),
                None => {
                    let found = kind_of(value, written);
                    Err(TypeMismatch::new(MismatchKind::Undeclared { found }).into())
                }
            };
            match expression {
                Ok(expression) => attributes.push((key.clone(), expression)),
                Err(found) => mismatches.extend(found.within(&key_step(key))),
            }
        }
        for (key, attribute) in record.iter().filter(|(_, attribute)| attribute.is_required) {
            if object.get(key).is_none_or(Value::is_null) {
                let expected = attribute.kind.to_string();
                let missing =
                    TypeMismatches::from(TypeMismatch::new(MismatchKind::Missing { expected }));
                mismatches.extend(missing.within(&key_step(key)));
            }
        }
        mismatches.or(attributes)
    }

    fn expression(
        self,
        value: &Value,
        written: Option<&WrittenNumbers>,
        kind: &Type,
    ) -> Result<RestrictedExpression, TypeMismatches> {
        let misfit = || unfit(kind, kind_of(value, written));
        let text = written.and_then(WrittenNumbers::text);
        Ok(match (kind, value) {
            (Type::Long, value) => {
                let long = match (text, value) {
                    (Some(text), _) => Numeral::parse(text).and_then(|numeral| numeral.long()),
                    (None, Value::Number(number)) => small_integer(number)
                        .or_else(|| Numeral::parse(&number.to_string())?.long()),
                    (None, _) => None,
                };
                RestrictedExpression::new_long(long.ok_or_else(misfit)?)
            }
            (Type::Decimal, value) => {
                let decimal = |text: &str| Numeral::parse(text)?.decimal();
                let decimal = match (text, value) {
                    (Some(text), _) => decimal(text),
                    (None, Value::Number(number)) => decimal(&number.to_string()),
                    (None, Value::String(text)) => decimal(text),
                    (None, _) => None,
                };
                RestrictedExpression::new_decimal(decimal.ok_or_else(misfit)?)
            }
            // No other declared type accepts a number that needs its text.
            _ if text.is_some() => return Err(misfit()),
            (Type::Bool, Value::Bool(value)) => RestrictedExpression::new_bool(*value),
            (Type::String, Value::String(text)) => RestrictedExpression::new_string(text.clone()),
            (Type::Ipaddr, Value::String(text)) => self.extension(
                RestrictedExpression::new_ip(text),
                kind,
                "a string that is not an IP address",
            )?,
            (Type::Datetime, Value::String(text)) => self.extension(
                RestrictedExpression::new_datetime(text),
                kind,
                "a string that is not a datetime",
            )?,
            (Type::Duration, Value::String(text)) => self.extension(
                RestrictedExpression::new_duration(text),
                kind,
                "a string that is not a duration",
            )?,
            (Type::Entity(_, Some(ids)), Value::String(id)) if !ids.contains(id) => {
                let found = "a string that is not one of its ids";
                return Err(unfit(kind, found));
            }
            (Type::Entity(name, _), Value::String(id)) => {
                let id = EntityId::new(id);
                let uid = EntityUid::from_type_name_and_id(name.clone(), id);
                RestrictedExpression::new_entity_uid(uid)
            }
            (Type::Set(element), Value::Array(values)) => {
                let mut elements = Vec::with_capacity(values.len());
                let mut mismatches = TypeMismatches::default();
                for (index, value) in values.iter().enumerate().filter(|(_, v)| !v.is_null()) {
                    let written = written.and_then(|written| written.item(index));
                    match self.expression(value, written, element) {
                        Ok(expression) => elements.push(expression),
                        Err(found) => mismatches.extend(found.within(&format!("[{index}]"))),
                    }
                }
                RestrictedExpression::new_set(mismatches.or(elements)?)
            }
            (Type::Record(record), Value::Object(object)) => {
                let attributes = self.attributes(object, written, record)?;
                RestrictedExpression::new_record(attributes).map_err(|_| misfit())?
            }
            _ => return Err(misfit()),
        })
    }

    /// Builds an extension value from a string. Cedar evaluates it with the context, unless it is
    /// probed.
    fn extension(
        self,
        expression: RestrictedExpression,
        kind: &Type,
        found: &'static str,
    ) -> Result<RestrictedExpression, TypeMismatches> {
        if self.probes {
            let pair = ("value".to_owned(), expression.clone());
            Context::from_pairs([pair]).map_err(|_| unfit(kind, found))?;
        }
        Ok(expression)
    }
}

/// Returns the kind of a value, for people.
fn kind_of(value: &Value, written: Option<&WrittenNumbers>) -> &'static str {
    let numeral = |text: &str| {
        let numeral = Numeral::parse(text);
        if numeral.is_some_and(|numeral| numeral.long().is_some()) {
            "an integer"
        } else if numeral.is_some_and(|numeral| numeral.decimal().is_some()) {
            "a fraction"
        } else {
            "a number that neither `Long` nor `decimal` holds"
        }
    };
    match (written.and_then(WrittenNumbers::text), value) {
        (Some(text), _) => numeral(text),
        (None, Value::Number(number)) => numeral(&number.to_string()),
        (None, Value::Null) => "absent",
        (None, Value::Bool(_)) => "a boolean",
        (None, Value::String(_)) => "a string",
        (None, Value::Array(_)) => "an array",
        (None, Value::Object(_)) => "an object",
    }
}
