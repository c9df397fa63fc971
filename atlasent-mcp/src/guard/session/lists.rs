//! Lists of what a server offers, shortened to what the caller may use.
//!
//! A list is rewritten only where something is left out. What stays is the text as the server wrote
//! it, member by member and item by item.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object as they were written, in their order.
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(crate) fn parse(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| *value)
    }

    /// Returns the items of a member that is an array.
    pub(crate) fn items(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Writes the object with other items in one member.
    pub(crate) fn with_items(&self, name: &str, items: &[&str]) -> String {
        self.with(name, &format!("[{}]", items.join(",")))
    }

    /// Writes the object with another value, as JSON, in one member. A member that the object lacks
    /// comes last.
    pub(crate) fn with(&self, name: &str, json: &str) -> String {
        let quoted = |member: &str| serde_json::Value::from(member).to_string();
        let members = self.0.iter().map(|(member, value)| {
            let value = if member == name { json } else { value.get() };
            format!("{}:{value}", quoted(member))
        });
        let mut members: Vec<String> = members.collect();
        if self.get(name).is_none() {
            members.push(format!("{}:{json}", quoted(name)));
        }
        format!("{{{}}}", members.join(","))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
