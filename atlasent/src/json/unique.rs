//! Reads JSON and rejects repeated keys.
//!
//! Of `{"amount":1,"amount":9}`, `serde_json` keeps 9 and other programs keep 1. A policy must not
//! decide on another value than the one that is executed, so repeated keys are an error at every
//! depth. [`ValueReader`] is the one reader; its settings differ for three uses:
//!
//! ```text
//! use                                  repeated key      error names the key   depth
//! context of a request (`Unique`)      error             yes                   the format's limit
//! field of an answer (`…_of_answer`)   error             no: may be a secret   the format's limit
//! unknown field (`Shallow`)            value is skipped  -                     64, deeper is skipped
//! ```

use std::cell::Cell;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use crate::text::redact::excerpt;

/// A value without repeated keys, at every depth.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unique<T>(pub(crate) T);

impl<'de> Deserialize<'de> for Unique<Value> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueReader::NAMES_KEYS.deserialize(deserializer).map(Self)
    }
}

/// Reads the fields of an object. The error names a repeated key.
pub(crate) fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_map(ObjectReader(ValueReader::NAMES_KEYS))
}

/// Reads the fields of an object in an answer. The error quotes nothing, since any text of an
/// answer may be a secret.
#[cfg(feature = "client")]
pub(crate) fn object_of_answer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_map(ObjectReader(ValueReader::HIDES_KEYS))
}

/// Reads an optional value of an answer, where `null` is the same as absent. The error quotes
/// nothing.
pub(crate) fn optional_of_answer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Value>, D::Error> {
    let value = ValueReader::HIDES_KEYS.deserialize(deserializer)?;
    Ok(Some(value).filter(|value| !value.is_null()))
}

/// Reads an optional object, where `null` is the same as absent. The error quotes nothing.
pub(crate) fn optional_object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Map<String, Value>>, D::Error> {
    match optional_of_answer(deserializer)? {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(D::Error::custom("a value is not an object")),
    }
}

/// A value of an answer, or `None` if it nests deeper than 64 levels or repeats a key. Such a value
/// is read to its end and skipped.
pub(crate) struct Shallow(pub(crate) Option<Value>);

/// The maximum depth of a [`Shallow`] value. `serde_json` itself fails at 128 levels.
const MAX_DEPTH: usize = 64;

impl<'de> Deserialize<'de> for Shallow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let skipped = Cell::new(false);
        let reader = ValueReader {
            names_keys: false,
            levels: MAX_DEPTH,
            skipped: Some(&skipped),
        };
        let value = reader.deserialize(deserializer)?;
        Ok(Self(Some(value).filter(|_| !skipped.get())))
    }
}

#[derive(Clone, Copy)]
struct ValueReader<'a> {
    /// Whether an error may name the repeated key.
    names_keys: bool,
    /// The number of levels that may still be entered.
    levels: usize,
    /// Set to true when a value is too deep or repeats a key. If absent, a repeated key is an
    /// error.
    skipped: Option<&'a Cell<bool>>,
}

impl<'a> ValueReader<'a> {
    const NAMES_KEYS: Self = Self {
        names_keys: true,
        levels: usize::MAX,
        skipped: None,
    };
    const HIDES_KEYS: Self = Self {
        names_keys: false,
        ..Self::NAMES_KEYS
    };

    /// Returns the reader for the next level, or `None` if that level is too deep.
    fn inner(self) -> Option<Self> {
        let levels = self.levels.checked_sub(1);
        if let (None, Some(skipped)) = (levels, self.skipped) {
            skipped.set(true);
        }
        levels.map(|levels| Self { levels, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for ValueReader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueReader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        if value.is_finite() {
            return Ok(value.into());
        }
        Err(E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Some(inner) = self.inner() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Value, A::Error> {
        ObjectReader(self).visit_map(fields).map(Value::Object)
    }
}

/// Reads the fields of an object, and rejects every other value.
struct ObjectReader<'a>(ValueReader<'a>);

impl<'de> Visitor<'de> for ObjectReader<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        let Some(inner) = self.0.inner() else {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(object);
        };
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                if let Some(skipped) = self.0.skipped {
                    skipped.set(true);
                    fields.next_value::<IgnoredAny>()?;
                    continue;
                }
                return Err(match self.0.names_keys {
                    true => {
                        A::Error::custom(format_args!("the key `{}` is repeated", excerpt(&key)))
                    }
                    false => A::Error::custom("a key is repeated"),
                });
            }
            let value = fields.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Unique<Value>, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn what_has_each_key_once_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1e400",
            "0.1",
            "-0",
            r#""a\u00e9\ud83d\ude00""#,
            r#"[1,[],{"a":{"a":{"b":1,"a":null}}}]"#,
            "[1,]",
            "{1:2}",
        ] {
            let plain = serde_json::from_str::<Value>(text);
            assert_eq!(
                read(text).ok().map(|Unique(value)| value),
                plain.ok(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_key_that_stands_twice_at_any_depth_is_an_error() {
        for text in [
            r#"{"amount":1,"amount":1}"#,
            r#"{"a":[{"b":{"amount":1,"c":2,"amount":3}}]}"#,
            r#"[[[{"amount":1,"\u0061mount":3}]]]"#,
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(
                error.contains("the key `amount` is repeated at line 1"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_error_of_an_answer_repeats_nothing() {
        let mut text = serde_json::Deserializer::from_str(r#"[{"secret":1,"secret":2}]"#);
        let error = optional_of_answer(&mut text).unwrap_err().to_string();
        assert!(
            !error.contains("secret") && error.contains("is repeated"),
            "{error}"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_as_serde_json_reads_it_or_refused_for_its_keys(
            text in "[\\[\\]{},:\"ab0-9. e\\\\u-]{0,24}"
        ) {
            let plain = serde_json::from_str::<Value>(&text).ok();
            match read(&text) {
                Ok(Unique(value)) => proptest::prop_assert_eq!(Some(value), plain),
                Err(error) => proptest::prop_assert!(
                    plain.is_none() || error.to_string().contains("is repeated")
                ),
            }
        }
    }
}
