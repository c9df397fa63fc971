//! Reads a struct from a JSON object, with or without the unknown fields.
//!
//! A derived `Deserialize` also accepts an array of the fields in order. The answer
//! `["allow", true, "token"]` must be rejected, so the types here accept objects only.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::json::unique::Shallow;

/// A `T` that was read from a JSON object.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectOnly<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOnly<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer
            .deserialize_map(ObjectOnly(PhantomData))
            .map(Self)
    }
}

/// A `T` that was read from a JSON object, and the object's other fields.
///
/// A repeated field of `T` is an error. Decisions do not depend on the other fields, so one that is
/// repeated, contains a repeated key or nests too deep is left out instead. With the fields
/// `decision` and `reason` known:
///
/// ```text
/// {"decision":"deny","new":1,"new":2,"old":[3],"deep":[[[…]]]}
///  known: decision = deny        other: {"old":[3]}
/// ```
///
/// The `flatten` of `serde` would keep the last `new` and fail on `deep`.
pub(crate) struct ObjectAndOthers<T> {
    pub(crate) known: T,
    pub(crate) other: Map<String, Value>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ObjectAndOthers<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectOnly<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectOnly<T> {
            type Value = ObjectAndOthers<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                let mut other = Map::new();
                let known = T::deserialize(FieldSplitter {
                    fields,
                    other: &mut other,
                })?;
                Ok(ObjectAndOthers { known, other })
            }
        }

        deserializer.deserialize_map(ObjectOnly(PhantomData))
    }
}

/// Deserializes an object: fields that the struct has go to the struct, and the rest to `other`.
struct FieldSplitter<'a, A> {
    fields: A,
    other: &'a mut Map<String, Value>,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for FieldSplitter<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.fields)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(SplitFields {
            fields: self.fields,
            names,
            other: self.other,
            seen: HashSet::new(),
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct SplitFields<'a, A> {
    fields: A,
    /// The names of the struct's fields.
    names: &'static [&'static str],
    other: &'a mut Map<String, Value>,
    /// The names of the other fields so far, including those that were left out.
    seen: HashSet<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for SplitFields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.fields.next_key::<String>()? {
            if self.names.contains(&key.as_str()) {
                return seed.deserialize(StringDeserializer::new(key)).map(Some);
            }
            let Shallow(value) = self.fields.next_value()?;
            let is_first = self.seen.insert(key.clone());
            match value.filter(|_| is_first) {
                Some(value) => drop(self.other.insert(key, value)),
                None => drop(self.other.remove(&key)),
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.fields.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct TwoFields {
        a: Option<u8>,
        #[serde(default, rename = "b-b")]
        b: Vec<u8>,
    }

    fn read(text: &str) -> Result<(TwoFields, Value), serde_json::Error> {
        let ObjectAndOthers { known, other } = serde_json::from_str(text)?;
        Ok((known, Value::Object(other)))
    }

    #[test]
    fn a_field_goes_to_the_struct_or_to_the_others() {
        let (known, other) = read(r#"{"x":[1],"b-b":[7],"b":null,"y":{"a":2},"a":null}"#).unwrap();
        assert_eq!((known.a, known.b), (None, vec![7]));
        assert_eq!(
            other,
            serde_json::json!({"x": [1], "b": null, "y": {"a": 2}})
        );
        let (known, _) = serde_json::from_str("{}")
            .map(|ObjectAndOthers { known, other }: ObjectAndOthers<TwoFields>| (known, other))
            .unwrap();
        assert_eq!((known.a, known.b), (None, vec![]));
    }

    #[test]
    fn a_field_of_the_struct_that_stands_twice_is_an_error() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"x":2,"a":1}"#,
            "[1,[2]]",
            r#"{"a":1"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn another_field_that_stands_twice_or_holds_a_key_twice_is_left_out() {
        for twice in [
            r#""x":1,"x":2"#,
            r#""x":1,"x":1,"x":1"#,
            r#""x":[{"n":1,"n":2,"m":[3]},4]"#,
            r#""x":{"n":{"n":1,"n":2},"m":3}"#,
        ] {
            let (known, other) = read(&format!(r#"{{"y":5,{twice},"a":3}}"#)).unwrap();
            assert_eq!(known.a, Some(3));
            assert_eq!(other, serde_json::json!({"y": 5}), "{twice}");
        }
    }

    #[test]
    fn a_field_that_is_nested_too_deep_is_left_out() {
        for depth in [1, 60, 100, 5_000] {
            for (open, close) in [("[", "]"), (r#"{"n":"#, "}")] {
                let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let (known, other) = read(&format!(r#"{{"deep":{deep},"a":3}}"#)).unwrap();
                assert_eq!(known.a, Some(3));
                assert_eq!(other.get("deep").is_some(), depth <= 60, "{depth}");
            }
        }
    }
}
