//! Reading JSON that may be hostile: every object's members are unique, at any depth (RFC 7515 §4,
//! RFC 7519 §4).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A string, borrowed from the text unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The names of members that were seen, of those that nothing else keeps.
#[derive(Default)]
pub(crate) struct Seen<'a>(BTreeSet<Cow<'a, str>>);

impl<'a> Seen<'a> {
    /// Fails at the second of a name.
    pub(crate) fn add<E: Error>(&mut self, name: Cow<'a, str>) -> Result<(), E> {
        if self.0.insert(name) {
            Ok(())
        } else {
            Err(E::custom(TWICE))
        }
    }
}

/// The text of an error about a member that is there twice.
pub(crate) const TWICE: &str = "a member is there twice";

/// Any value, of which nothing is kept. Reading it fails if an object in it names a member twice.
pub(crate) struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(UniqueVisitor)
    }
}

/// An object, of which nothing is kept. Reading it fails as [`Unique`] does.
pub(crate) struct UniqueObject;

impl<'de> Deserialize<'de> for UniqueObject {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(UniqueVisitor).map(|Unique| Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        while items.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unique, A::Error> {
        let mut seen = Seen::default();
        while let Some(Text(name)) = members.next_key()? {
            seen.add(name)?;
            members.next_value::<Unique>()?;
        }
        Ok(Unique)
    }
}
