//! Turns a `Serialize` value into a JSON value, and rejects what `serde_json` would silently
//! change.
//!
//! `serde_json` writes NaN and the infinities as `null`, which a policy reads as an absent field,
//! and keeps the last of two values with the same key. In both cases a policy would decide on other
//! data than what is executed.
//!
//! An error carries the path to the value. It is collected while the calls return, innermost step
//! first, and printed in reverse. For `{"payments": [1, {"amount": NaN}]}`:
//!
//! ```text
//! serialize_f64(NaN)          "the number NaN is not finite"   path []
//! ObjectBuilder of amount     within(Key("amount"))            path [.amount]
//! ArrayBuilder, element 1     within(Index(1))                 path [.amount, [1]]
//! ObjectBuilder of payments   within(Key("payments"))          path [.amount, [1], .payments]
//! Display                     "the number NaN is not finite, in `payments[1].amount`"
//! ```

use std::fmt;

use serde::ser::{self, Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use crate::json::unique::Unique;
use crate::text::redact::excerpt;

/// Returns the JSON value that `value` serializes to. It is checked and built in one pass, so a
/// value that serializes differently the second time cannot pass the check.
pub(crate) fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ToValueError> {
    value.serialize(ValueSerializer)
}

/// The reason why a value has no JSON form, and the path to the place in it.
#[derive(Debug)]
pub(crate) struct ToValueError {
    why: String,
    /// The path from the place to the whole value, innermost step first.
    path: Vec<PathStep>,
}

#[derive(Debug)]
enum PathStep {
    Key(String),
    Index(usize),
}

impl ToValueError {
    fn new(why: impl fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            path: Vec::new(),
        }
    }

    fn within(mut self, step: PathStep) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for ToValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)?;
        if self.path.is_empty() {
            return Ok(());
        }
        f.write_str(", in `")?;
        for (depth, step) in self.path.iter().rev().enumerate() {
            match step {
                PathStep::Key(key) if depth == 0 => f.write_str(&excerpt(key))?,
                PathStep::Key(key) => write!(f, ".{}", excerpt(key))?,
                PathStep::Index(index) => write!(f, "[{index}]")?,
            }
        }
        f.write_str("`")
    }
}

impl std::error::Error for ToValueError {}

impl ser::Error for ToValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// The struct name and the field name that `serde_json` uses for a `RawValue`.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The serializer behind [`to_value`].
struct ValueSerializer;

type ValueResult = Result<Value, ToValueError>;

macro_rules! as_value {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, value: $type) -> ValueResult {
            Ok(Value::from(value))
        }
    )*};
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = ToValueError;
    type SerializeSeq = ArrayBuilder;
    type SerializeTuple = ArrayBuilder;
    type SerializeTupleStruct = ArrayBuilder;
    type SerializeTupleVariant = ArrayBuilder;
    type SerializeMap = ObjectBuilder;
    type SerializeStruct = ObjectBuilder;
    type SerializeStructVariant = ObjectBuilder;

    as_value! {
        serialize_bool(bool) serialize_str(&str) serialize_bytes(&[u8])
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
    }

    fn serialize_i128(self, number: i128) -> ValueResult {
        let in_range = serde_json::value::Serializer.serialize_i128(number);
        in_range.map_err(ToValueError::new)
    }

    fn serialize_u128(self, number: u128) -> ValueResult {
        let in_range = serde_json::value::Serializer.serialize_u128(number);
        in_range.map_err(ToValueError::new)
    }

    fn serialize_f32(self, number: f32) -> ValueResult {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> ValueResult {
        if number.is_finite() {
            return Ok(Value::from(number));
        }
        Err(ToValueError::new(format_args!(
            "the number {number} is not finite"
        )))
    }

    fn serialize_char(self, character: char) -> ValueResult {
        Ok(Value::String(character.to_string()))
    }

    fn serialize_none(self) -> ValueResult {
        Ok(Value::Null)
    }

    fn serialize_unit(self) -> ValueResult {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> ValueResult {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> ValueResult {
        Ok(Value::from(variant))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> ValueResult {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> ValueResult {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> ValueResult {
        let value = value.serialize(self).map_err(in_field(variant))?;
        Ok(tagged(Some(variant), value))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ArrayBuilder, ToValueError> {
        Ok(ArrayBuilder::default())
    }

    fn serialize_tuple(self, _: usize) -> Result<ArrayBuilder, ToValueError> {
        Ok(ArrayBuilder::default())
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<ArrayBuilder, ToValueError> {
        Ok(ArrayBuilder::default())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ArrayBuilder, ToValueError> {
        Ok(ArrayBuilder {
            variant: Some(variant),
            ..ArrayBuilder::default()
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<ObjectBuilder, ToValueError> {
        Ok(ObjectBuilder::default())
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<ObjectBuilder, ToValueError> {
        Ok(ObjectBuilder {
            is_raw: name == RAW_VALUE,
            ..ObjectBuilder::default()
        })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ObjectBuilder, ToValueError> {
        Ok(ObjectBuilder {
            variant: Some(variant),
            ..ObjectBuilder::default()
        })
    }
}

/// An array that is being built.
#[derive(Default)]
struct ArrayBuilder {
    variant: Option<&'static str>,
    items: Vec<Value>,
}

impl ArrayBuilder {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToValueError> {
        let index = self.items.len();
        let value = value.serialize(ValueSerializer);
        self.items
            .push(value.map_err(|error| error.within(PathStep::Index(index)))?);
        Ok(())
    }

    fn end(self) -> ValueResult {
        Ok(tagged(self.variant, Value::Array(self.items)))
    }
}

/// An object that is being built.
#[derive(Default)]
struct ObjectBuilder {
    variant: Option<&'static str>,
    fields: Map<String, Value>,
    /// The key of the next value.
    key: Option<String>,
    /// Whether the struct is a `RawValue`: one field, whose value is JSON text.
    is_raw: bool,
}

impl ObjectBuilder {
    fn insert(&mut self, key: String, value: ValueResult) -> Result<(), ToValueError> {
        let value = value.map_err(in_field(&key))?;
        if self.fields.contains_key(&key) {
            let key = excerpt(&key);
            return Err(ToValueError::new(format_args!(
                "the key `{key}` is repeated"
            )));
        }
        self.fields.insert(key, value);
        Ok(())
    }

    fn end(self) -> ValueResult {
        if self.is_raw {
            let text = self.fields.get(RAW_VALUE).and_then(Value::as_str);
            let read = serde_json::from_str::<Unique<Value>>(text.unwrap_or_default());
            return read.map(|Unique(value)| value).map_err(ToValueError::new);
        }
        Ok(tagged(self.variant, Value::Object(self.fields)))
    }
}

/// Wraps the value of an enum variant in an object with the variant's name as its one key, as serde
/// does by default.
fn tagged(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Value::Object(Map::from_iter([(variant.to_owned(), value)])),
        None => value,
    }
}

fn in_field(key: &str) -> impl FnOnce(ToValueError) -> ToValueError + use<'_> {
    move |error| error.within(PathStep::Key(key.to_owned()))
}

/// Returns the text that `serde_json` makes of a map key, which may be a number or a boolean.
fn key_text<T: Serialize + ?Sized>(key: &T) -> Result<String, ToValueError> {
    struct Entry<'a, T: ?Sized>(&'a T);

    impl<T: Serialize + ?Sized> Serialize for Entry<'_, T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry(self.0, &())?;
            map.end()
        }
    }

    match serde_json::to_value(Entry(key)).map_err(ToValueError::new)? {
        Value::Object(entry) => entry.into_iter().next().map(|(key, _)| key),
        _ => None,
    }
    .ok_or_else(|| ToValueError::new("a key has no text"))
}

macro_rules! items {
    ($($shape:ident::$method:ident)*) => {$(
        impl ser::$shape for ArrayBuilder {
            type Ok = Value;
            type Error = ToValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToValueError> {
                self.push(value)
            }

            fn end(self) -> ValueResult {
                ArrayBuilder::end(self)
            }
        }
    )*};
}

macro_rules! fields {
    ($($shape:ident)*) => {$(
        impl ser::$shape for ObjectBuilder {
            type Ok = Value;
            type Error = ToValueError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ToValueError> {
                self.insert(key.to_owned(), value.serialize(ValueSerializer))
            }

            fn end(self) -> ValueResult {
                ObjectBuilder::end(self)
            }
        }
    )*};
}

items! {
    SerializeSeq::serialize_element
    SerializeTuple::serialize_element
    SerializeTupleStruct::serialize_field
    SerializeTupleVariant::serialize_field
}

fields! { SerializeStruct SerializeStructVariant }

impl SerializeMap for ObjectBuilder {
    type Ok = Value;
    type Error = ToValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ToValueError> {
        self.key = Some(key_text(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToValueError> {
        let key = self.key.take();
        let key = key.ok_or_else(|| ToValueError::new("a value stands before its key"))?;
        self.insert(key, value.serialize(ValueSerializer))
    }

    fn end(self) -> ValueResult {
        ObjectBuilder::end(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        Newtype(Vec<u8>),
        Tuple(i8, char),
        Struct { a: Option<f32>, b: () },
    }

    #[derive(Serialize)]
    struct Flat {
        amount: u64,
        #[serde(flatten)]
        more: BTreeMap<&'static str, u64>,
    }

    fn why(value: &impl Serialize) -> String {
        to_value(value).unwrap_err().to_string()
    }

    #[test]
    fn every_shape_is_what_serde_json_makes_of_it() {
        let shapes = [
            Shape::Unit,
            Shape::Newtype(vec![1, 2]),
            Shape::Tuple(-1, 'ü'),
            Shape::Struct {
                a: Some(0.1),
                b: (),
            },
        ];
        assert_eq!(
            to_value(&shapes).unwrap(),
            serde_json::to_value(&shapes).unwrap()
        );
        let keys: BTreeMap<i8, (u128, i128, &str)> = [(-5, (7, -8, "s"))].into();
        assert_eq!(
            to_value(&keys).unwrap(),
            serde_json::to_value(&keys).unwrap()
        );
        let flat = Flat {
            amount: 1,
            more: [("b", 2)].into(),
        };
        assert_eq!(to_value(&flat).unwrap(), json!({"amount": 1, "b": 2}));
        assert!(
            to_value(&BTreeMap::from([([1], 2)])).is_err(),
            "an array is no key"
        );
        assert!(to_value(&u128::MAX).is_err());
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_that_says_where() {
        let flat = || Flat {
            amount: 5,
            more: [("amount", 1_000_000)].into(),
        };
        assert_eq!(why(&flat()), "the key `amount` is repeated");
        let nested = json!({"a": 1});
        let nested = BTreeMap::from([("payments", vec![Ok(nested), Err(flat())])]);
        assert_eq!(
            why(&nested),
            "the key `amount` is repeated, in `payments[1].Err`"
        );

        struct Pairs;
        impl Serialize for Pairs {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // Different keys for serde, and the same in JSON.
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry(&1_u8, "one")?;
                map.serialize_entry("1", "two")?;
                map.end()
            }
        }
        assert_eq!(why(&Pairs), "the key `1` is repeated");
    }

    #[cfg(feature = "audit")]
    #[test]
    fn raw_json_text_is_checked_like_any_value() {
        let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
        let good = raw(r#"{"a": [1, {"b": null}]}"#);
        assert_eq!(to_value(&[good]).unwrap(), json!([{"a": [1, {"b": null}]}]));
        let error = why(&BTreeMap::from([("raw", raw(r#"{"a":[{"b":1,"b":2}]}"#))]));
        assert!(error.contains("the key `b` is repeated"), "{error}");
        assert!(error.ends_with("in `raw`"), "{error}");
    }

    #[test]
    fn a_key_of_any_length_stays_short_in_an_error() {
        let mut map = BTreeMap::new();
        map.insert("x".repeat(10_000), f64::NAN);
        assert!(why(&map).len() < 200);
    }
}
