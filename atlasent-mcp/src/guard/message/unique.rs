//! Checks that each member of a JSON text stands once, at every depth.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Malformed;

/// The deepest nesting of a text that is decided on.
pub const MAX_DEPTH: usize = 64;

/// Checks a JSON text: each member of each object stands once, and it nests at most [`MAX_DEPTH`]
/// levels deep. Of `{"path":"a","path":"b"}`, one reader takes `a` and another one `b`.
///
/// # Errors
///
/// [`Malformed`] says what is wrong, and repeats nothing of the text.
pub fn check_unique(json: &str) -> Result<(), Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let checked = Level(MAX_DEPTH).deserialize(&mut deserializer);
    let checked = checked.and_then(|()| deserializer.end());
    checked.map_err(|error| {
        let text = error.to_string();
        let known = [REPEATED, TOO_DEEP]
            .into_iter()
            .find(|reason| text.starts_with(reason));
        Malformed::invalid(known.unwrap_or("a value of the message is not valid JSON"))
    })
}

const REPEATED: &str = "a member is repeated";
const TOO_DEEP: &str = "the message nests more than 64 levels deep";

/// The number of levels that may still be entered.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let levels = self.0.checked_sub(1);
        levels.map(Self).ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom(REPEATED));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}
