//! Reads the members that say how to answer a text that is no valid tool call: `type`, `id` and
//! `call_id`.
//!
//! ```text
//! {"type":"tool_use","id":"toolu_1","name":"pay","input":{"cents":7,"cents":8}}
//!          ╰ the shape     ╰ the call that is answered    ╰ the reason of the refusal
//! ```

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members that are kept.
const NAMES: [&str; 3] = ["type", "id", "call_id"];

/// The kept members of a text, in their order, with the values that are strings.
#[derive(Debug, Default)]
pub(super) struct Envelope(Vec<(String, Option<String>)>);

impl Envelope {
    /// Reads the members of an object, up to the first syntax error. Other values are skipped,
    /// however deep they nest. Any other text has no members.
    pub(super) fn read(json: &str) -> Self {
        let mut envelope = Self::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        // A call that is cut off is answered by the members in front of the cut.
        let _ = Reader(&mut envelope).deserialize(&mut deserializer);
        envelope
    }

    /// Returns the string of a member. Returns `None` if the member is missing, is no string, or
    /// occurs twice with different values.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut values = (self.0.iter())
            .filter(|(member, _)| member == name)
            .map(|(_, value)| value.as_deref());
        let first = values.next()?;
        first.filter(|_| values.all(|value| value == first))
    }
}

struct Reader<'a>(&'a mut Envelope);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self(Envelope(kept)) = self;
        while let Some(name) = members.next_key::<String>()? {
            if NAMES.contains(&name.as_str()) {
                let value: &RawValue = members.next_value()?;
                kept.push((name, serde_json::from_str(value.get()).ok()));
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        Envelope::read(json).text("id").map(str::to_owned)
    }

    #[test]
    fn a_member_is_read_beside_and_in_front_of_anything_unreadable() {
        let deep = format!(
            r#"{{"input":{}{},"id":"c1"}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        for json in [
            r#"{"id":"c1"}"#,
            r#"{"id":"c1","id":"c1"}"#,
            r#"{"id":"c\u0031","\u0069d":"c1"}"#,
            r#"{"type":["\ud800"],"input":{"a":1,"a":1e999},"id":"c1"}"#,
            r#"{"id":"c1","input":{"cents":"#,
            r#"{"id":"c1"} {"id":"c2"}"#,
            &deep,
        ] {
            assert_eq!(text(json).as_deref(), Some("c1"), "{json}");
        }
    }

    #[test]
    fn a_member_that_is_missing_ambiguous_or_no_string_is_not_returned() {
        for json in [
            "",
            "null",
            r#""id""#,
            r#"[{"id":"c1"}]"#,
            r#"{"Id":"c1","input":{"id":"c1"}}"#,
            r#"{"id":null}"#,
            r#"{"id":1}"#,
            r#"{"id":["c1"]}"#,
            r#"{"id":"\ud800"}"#,
            r#"{"id":"c1","id":"c2"}"#,
            r#"{"id":"c1","id":1}"#,
            r#"{"id":1,"id":"c1"}"#,
            r#"{"id":"c"#,
            r#"{"input":{"cents":},"id":"c1"}"#,
        ] {
            assert_eq!(text(json), None, "{json}");
        }
    }
}
