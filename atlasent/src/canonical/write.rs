//! Writes the values of a tape in the forms that are hashed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::number::python_spelling;
use super::tape::{Flags, Kind, Tape, prefix};

/// The form in which a text is written. Every form is compact and has only the escapes that JSON
/// requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) order: KeyOrder,
    pub(crate) spelling: Spelling,
}

/// The order of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyOrder {
    /// Sorted by code point: the form that is hashed.
    Sorted,
    /// In the order of the text: the form that is signed.
    #[cfg_attr(
        not(feature = "audit"),
        expect(dead_code, reason = "only bundles keep the order")
    )]
    Received,
}

/// The spelling of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    AsWritten,
    /// See [`python_spelling`].
    Python,
}

/// A value that is still to be written, with its key in an object.
#[derive(Clone, Copy)]
struct PendingValue {
    key: Option<usize>,
    /// The [`prefix`] of the key.
    prefix: u64,
    value: usize,
}

/// A container that is being written.
struct ContainerCursor {
    /// The index of its first value in the list of pending values.
    first: usize,
    /// The index of the value to write next.
    next: usize,
    /// Its closing bracket.
    close: char,
}

impl<'a> Tape<'a> {
    /// Returns the text of a value as it stands, if it already has this form.
    pub(crate) fn text_in(&self, form: Form, node: usize) -> Option<&'a str> {
        let mut differences = Flags::NOT_COMPACT;
        if form.order == KeyOrder::Sorted {
            differences = differences.with(Flags::UNSORTED);
        }
        if form.spelling == Spelling::Python {
            differences = differences.with(Flags::RESPELLED);
        }
        (!self.flags(node).has_any(differences)).then(|| self.text(node))
    }

    /// Returns the text of a value in this form.
    pub(crate) fn to_string_in(&self, form: Form, node: usize) -> String {
        let mut out = String::with_capacity(self.text(node).len());
        self.write(form, node, &mut out);
        out
    }

    /// Writes a value in this form, without recursion.
    ///
    /// `[{"b":1,"a":2},3]`, sorted, goes through these states (the list of pending values, then the
    /// text so far):
    ///
    /// ```text
    /// [{…} 3]            [
    /// [{…} 3 a:2 b:1]    [{
    /// [{…} 3 a:2 b:1]    [{"a":2,"b":1
    /// [{…} 3]            [{"a":2,"b":1}
    /// []                 [{"a":2,"b":1},3]
    /// ```
    pub(crate) fn write(&self, form: Form, node: usize, out: &mut String) {
        let mut pending = Vec::new();
        let mut containers = Vec::new();
        self.begin(form, node, &mut pending, &mut containers, out);
        while let Some(container) = containers.last_mut() {
            let Some(value) = pending.get(container.next).copied() else {
                out.push(container.close);
                pending.truncate(container.first);
                containers.pop();
                continue;
            };
            if container.next > container.first {
                out.push(',');
            }
            container.next += 1;
            if let Some(key) = value.key {
                self.begin(form, key, &mut pending, &mut containers, out);
                out.push(':');
            }
            self.begin(form, value.value, &mut pending, &mut containers, out);
        }
    }

    /// Writes a value if it needs no rearranging; otherwise writes its opening bracket and adds its
    /// contents to `pending`.
    fn begin(
        &self,
        form: Form,
        node: usize,
        pending: &mut Vec<PendingValue>,
        containers: &mut Vec<ContainerCursor>,
        out: &mut String,
    ) {
        if let Some(text) = self.text_in(form, node) {
            return out.push_str(text);
        }
        let first = pending.len();
        let (opening, close) = match self.kind(node) {
            Some(Kind::Object) => ('{', '}'),
            Some(Kind::Array) => ('[', ']'),
            Some(Kind::String) => {
                // Serializing a string into memory cannot fail.
                let string = serde_json::to_string(&self.string(node));
                return out.push_str(&string.unwrap_or_default());
            }
            _ => {
                let text = self.text(node);
                let spelled = python_spelling(text);
                return out.push_str(spelled.as_deref().unwrap_or(text));
            }
        };
        out.push(opening);
        if opening == '{' {
            pending.extend(self.members(node).map(|(key, value)| PendingValue {
                key: Some(key),
                prefix: prefix(&self.string(key)),
                value,
            }));
            if self.flags(node).has_any(Flags::REPEATED_KEY) {
                self.keep_last(pending, first);
            }
            if form.order == KeyOrder::Sorted {
                let members = pending.get_mut(first..).unwrap_or_default();
                // The order of UTF-8 bytes is the order of code points.
                members.sort_unstable_by(|one, other| {
                    let by_prefix = one.prefix.cmp(&other.prefix);
                    by_prefix.then_with(|| self.name(one).cmp(&self.name(other)))
                });
            }
        } else {
            pending.extend(self.items(node).map(|value| PendingValue {
                key: None,
                prefix: 0,
                value,
            }));
        }
        containers.push(ContainerCursor {
            first,
            next: first,
            close,
        });
    }

    fn name(&self, member: &PendingValue) -> Cow<'a, str> {
        member.key.map_or_else(Cow::default, |key| self.string(key))
    }

    /// Keeps the last value of each repeated key, at the position of its first occurrence:
    /// `b:1 a:2 b:3` becomes `b:3 a:2`. JavaScript's and Python's parsers do the same, and servers
    /// sign the result.
    fn keep_last(&self, pending: &mut Vec<PendingValue>, first: usize) {
        let mut kept: Vec<PendingValue> = Vec::new();
        let mut positions: HashMap<Cow<'a, str>, usize> = HashMap::new();
        for member in pending.drain(first..) {
            match positions.entry(self.name(&member)) {
                Entry::Occupied(position) => {
                    if let Some(before) = kept.get_mut(*position.get()) {
                        before.value = member.value;
                    }
                }
                Entry::Vacant(position) => {
                    position.insert(kept.len());
                    kept.push(member);
                }
            }
        }
        pending.append(&mut kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANONICAL: Form = Form {
        order: KeyOrder::Sorted,
        spelling: Spelling::AsWritten,
    };
    const SIGNED: Form = Form {
        order: KeyOrder::Received,
        spelling: Spelling::AsWritten,
    };

    fn written(form: Form, json: &str) -> String {
        Tape::parse(json).to_string_in(form, Tape::ROOT)
    }

    #[test]
    fn keys_are_sorted_by_code_point_at_every_depth() {
        assert_eq!(
            written(
                CANONICAL,
                r#"{"b":[{"z":1,"a":2}],"é":0,"Z":{"y":null,"x":true},"🦀":1,"\uffff":2,"a":-3}"#
            ),
            "{\"Z\":{\"x\":true,\"y\":null},\"a\":-3,\"b\":[{\"a\":2,\"z\":1}],\"é\":0,\"\u{ffff}\":2,\"🦀\":1}"
        );
    }

    #[test]
    fn what_is_signed_keeps_its_order() {
        assert_eq!(
            written(
                SIGNED,
                r#" { "b" : [ {"z":1, "a":2} ] , "a":{ } , "c":[ ]} "#
            ),
            r#"{"b":[{"z":1,"a":2}],"a":{},"c":[]}"#
        );
    }

    #[test]
    fn strings_escape_what_json_demands_and_nothing_else() {
        let string = r#""\u0000\u001f\b\f\n\r\t\"\\\/\u007f\u2028\u00E9\ud83e\udd80é""#;
        let escaped = "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\/\u{7f}\u{2028}é🦀é\"";
        assert_eq!(written(CANONICAL, string), escaped);
        assert_eq!(
            written(SIGNED, &format!("{{{string}:[{string}]}}")),
            format!("{{{escaped}:[{escaped}]}}")
        );
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let numbers = "[1e2,1.50,-0,0.0,1E+5,123456789012345678901234567890]";
        assert_eq!(written(CANONICAL, numbers), numbers);
        let python = Form {
            spelling: Spelling::Python,
            ..CANONICAL
        };
        assert_eq!(
            written(python, numbers),
            "[100.0,1.5,0,0.0,100000.0,123456789012345678901234567890]"
        );
    }

    #[test]
    fn of_a_repeated_key_the_last_value_counts_in_the_first_place() {
        let json = r#"{"b":1,"a":{"x":1,"\u0078":2},"b":3}"#;
        assert_eq!(written(SIGNED, json), r#"{"b":3,"a":{"x":2}}"#);
        assert_eq!(written(CANONICAL, json), r#"{"a":{"x":2},"b":3}"#);
        let tape = Tape::parse(json);
        assert!(tape.flags(Tape::ROOT).has_any(Flags::REPEATED_KEY));
        assert!(
            !Tape::parse(r#"{"b":1,"a":{"b":1}}"#)
                .flags(Tape::ROOT)
                .has_any(Flags::REPEATED_KEY)
        );
    }

    #[test]
    fn a_text_in_its_form_is_not_written_anew() {
        for (json, sorted, received) in [
            (r#"{"a":[1,{}],"b":"\n"}"#, true, true),
            (r#"{"b":1,"a":2}"#, false, true),
            (r#"{"a":1, "b":2}"#, false, false),
            (r#"{"a":"\u000a"}"#, false, false),
            (r#"{"a":1,"a":2}"#, false, false),
            (r#"[{"b":1,"a":2}]"#, false, true),
        ] {
            let tape = Tape::parse(json);
            for (form, stays) in [(CANONICAL, sorted), (SIGNED, received)] {
                assert_eq!(tape.text_in(form, Tape::ROOT).is_some(), stays, "{json}");
                assert_eq!(tape.to_string_in(form, Tape::ROOT) == json, stays, "{json}");
            }
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = format!(
            "{}{}{}",
            "[{\"a\":".repeat(100_000),
            "1 ",
            "}]".repeat(100_000)
        );
        assert_eq!(written(CANONICAL, &deep), deep.replace(' ', ""));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{},:\"\\\\u0-9a-f.eE \\-ntrué]{0,40}") {
            for form in [CANONICAL, SIGNED] {
                written(form, &text);
            }
        }
    }
}
