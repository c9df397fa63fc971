//! Converting JSON values to Cedar values, by the rules at [`Policies`](super::Policies).
//!
//! Cedar's own JSON reader gives keys such as `__entity` and `__extn` a meaning. Contexts come from
//! agents, so that reader is not used: whatever the key, a string stays a string. The values are
//! built as Cedar's evaluator has them. Only values of extension types go through Cedar's
//! evaluator, which has the functions that parse them.

use std::fmt;

use atlasent::wire::WrittenNumbers;
use cedar_policy::{EntityId, EntityUid, RestrictedExpression};
use cedar_policy_core::ast::{EntityUID, Value as CedarValue};
use cedar_policy_core::evaluator::RestrictedEvaluator;
use cedar_policy_core::extensions::Extensions;
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
    /// Whether a value is present and does not fit, listed or not.
    has_misfit: bool,
}

impl TypeMismatches {
    /// Returns whether each mismatch is an attribute that is missing.
    pub(super) fn are_all_missing(&self) -> bool {
        !self.has_misfit
    }

    fn extend(&mut self, others: Self) {
        self.unlisted += others.unlisted;
        self.has_misfit |= others.has_misfit;
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
            has_misfit: !matches!(mismatch.what, MismatchKind::Missing { .. }),
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

/// The attributes of a record, each with another key.
type Attributes<'v> = Vec<(&'v str, CedarValue)>;

fn attributes<'v>(
    object: &'v Map<String, Value>,
    written: Option<&WrittenNumbers>,
    depth: usize,
) -> Result<Attributes<'v>, ConvertError> {
    let mut attributes = Vec::with_capacity(object.len());
    each_attribute(object, written, depth, |key, value| {
        attributes.push((key, value));
    })?;
    Ok(attributes)
}

/// Converts values that have no declared type, and passes each on with its key.
pub(super) fn each_attribute<'v>(
    object: &'v Map<String, Value>,
    written: Option<&WrittenNumbers>,
    depth: usize,
    mut pass: impl FnMut(&'v str, CedarValue),
) -> Result<(), ConvertError> {
    for (key, value) in object {
        let written = written.and_then(|written| written.member(key));
        if let Some(value) = untyped(value, written, depth)? {
            pass(key, value);
        }
    }
    Ok(())
}

/// Returns `None` for `null`: Cedar has no such value, and `has` should be false for the key.
fn untyped(
    value: &Value,
    written: Option<&WrittenNumbers>,
    depth: usize,
) -> Result<Option<CedarValue>, ConvertError> {
    if let Some(text) = written.and_then(WrittenNumbers::text) {
        return written_number(text).map(Some);
    }
    let value = match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => CedarValue::from(*value),
        Value::Number(value) => number(value)?,
        Value::String(value) => CedarValue::from(&**value),
        Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => {
            return Err(ConvertError::TooDeep);
        }
        Value::Array(values) => {
            let mut elements = Vec::with_capacity(values.len());
            for (index, value) in values.iter().enumerate() {
                let written = written.and_then(|written| written.item(index));
                elements.extend(untyped(value, written, depth + 1)?);
            }
            CedarValue::set(elements, None)
        }
        Value::Object(object) => CedarValue::record(attributes(object, written, depth + 1)?, None),
    };
    Ok(Some(value))
}

/// Converts a number that has no declared type.
pub(super) fn number(number: &Number) -> Result<CedarValue, ConvertError> {
    match small_integer(number) {
        Some(long) => Ok(CedarValue::from(long)),
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

fn written_number(text: &str) -> Result<CedarValue, ConvertError> {
    let numeral = Numeral::parse(text);
    if let Some(long) = numeral.and_then(|numeral| numeral.long()) {
        return Ok(CedarValue::from(long));
    }
    match numeral.and_then(|numeral| numeral.decimal()) {
        Some(decimal) => extension(&RestrictedExpression::new_decimal(decimal))
            .ok_or(ConvertError::NotExpressible),
        // Dropping or rounding the number could disable a `forbid`. A string satisfies `has`, and
        // ordering it is a type error, which denies.
        None => Ok(CedarValue::from(text)),
    }
}

/// Returns the value of an extension type that the function of an expression makes of its text, or
/// `None` if the text is invalid.
fn extension(call: &RestrictedExpression) -> Option<CedarValue> {
    let evaluator = RestrictedEvaluator::new(Extensions::all_available());
    evaluator.interpret(call.as_ref().as_borrowed()).ok()
}

/// Converts values by their declared types.
pub(super) fn typed_attributes<'v>(
    object: &'v Map<String, Value>,
    written: Option<&WrittenNumbers>,
    record: &Record,
) -> Result<Attributes<'v>, TypeMismatches> {
    let mut attributes = Vec::with_capacity(record.len());
    let mut mismatches = TypeMismatches::default();
    for (key, value) in object {
        if value.is_null() {
            continue;
        }
        let written = written.and_then(|written| written.member(key));
        let converted = match record.get(key) {
            Some(attribute) => typed(value, written, &attribute.kind),
            None => {
                let found = kind_of(value, written);
                Err(TypeMismatch::new(MismatchKind::Undeclared { found }).into())
            }
        };
        match converted {
            Ok(value) => attributes.push((&**key, value)),
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

fn typed(
    value: &Value,
    written: Option<&WrittenNumbers>,
    kind: &Type,
) -> Result<CedarValue, TypeMismatches> {
    let misfit = || unfit(kind, kind_of(value, written));
    let text = written.and_then(WrittenNumbers::text);
    let parsed = |call: RestrictedExpression, found: &'static str| {
        extension(&call).ok_or_else(|| unfit(kind, found))
    };
    Ok(match (kind, value) {
        (Type::Long, value) => {
            let long = match (text, value) {
                (Some(text), _) => Numeral::parse(text).and_then(|numeral| numeral.long()),
                (None, Value::Number(number)) => {
                    small_integer(number).or_else(|| Numeral::parse(&number.to_string())?.long())
                }
                (None, _) => None,
            };
            CedarValue::from(long.ok_or_else(misfit)?)
        }
        (Type::Decimal, value) => {
            let decimal = |numeral: Option<Numeral<'_>>| numeral?.decimal();
            let decimal = match (text, value) {
                (Some(text), _) => decimal(Numeral::parse(text)),
                (None, Value::Number(number)) => decimal(Numeral::parse(&number.to_string())),
                (None, Value::String(text)) => decimal(Numeral::parse_in_string(text)),
                (None, _) => None,
            };
            let decimal = RestrictedExpression::new_decimal(decimal.ok_or_else(misfit)?);
            extension(&decimal).ok_or_else(misfit)?
        }
        // No other declared type accepts a number that needs its text.
        _ if text.is_some() => return Err(misfit()),
        (Type::Bool, Value::Bool(value)) => CedarValue::from(*value),
        (Type::String, Value::String(text)) => CedarValue::from(&**text),
        (Type::Ipaddr, Value::String(text)) => parsed(
            RestrictedExpression::new_ip(text),
            "a string that is not an IP address",
        )?,
        (Type::Datetime, Value::String(text)) => parsed(
            RestrictedExpression::new_datetime(text),
            "a string that is not a datetime",
        )?,
        (Type::Duration, Value::String(text)) => parsed(
            RestrictedExpression::new_duration(text),
            "a string that is not a duration",
        )?,
        (Type::Entity(_, Some(ids)), Value::String(id)) if !ids.contains(id) => {
            return Err(unfit(kind, "a string that is not one of its ids"));
        }
        (Type::Entity(name, _), Value::String(id)) => {
            let id = EntityId::new(id);
            let uid = EntityUid::from_type_name_and_id(name.clone(), id);
            CedarValue::from(EntityUID::from(uid))
        }
        (Type::Set(element), Value::Array(values)) => {
            let mut elements = Vec::with_capacity(values.len());
            let mut mismatches = TypeMismatches::default();
            for (index, value) in values.iter().enumerate().filter(|(_, v)| !v.is_null()) {
                let written = written.and_then(|written| written.item(index));
                match typed(value, written, element) {
                    Ok(value) => elements.push(value),
                    Err(found) => mismatches.extend(found.within(&format!("[{index}]"))),
                }
            }
            CedarValue::set(mismatches.or(elements)?, None)
        }
        (Type::Record(record), Value::Object(object)) => {
            CedarValue::record(typed_attributes(object, written, record)?, None)
        }
        _ => return Err(misfit()),
    })
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
