//! Writes the values of a tape in the forms that are hashed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::number::python_spelling;
use super::tape::{Flags, Kind, Tape, prefix};

/// How a text is to be written. Compact, and with as few escapes as JSON allows, it is in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) order: Order,
    pub(crate) spelling: Spelling,
}

/// The order of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By code point, which is what is hashed.
    Sorted,
    /// As they stand, which is what is signed.
    #[cfg_attr(
        not(feature = "audit"),
        expect(dead_code, reason = "bundles alone keep the order")
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

/// A key and its value; in an array, a value.
#[derive(Clone, Copy)]
struct Item {
    key: Option<usize>,
    /// See [`prefix`]: of the key.
    prefix: u64,
    value: usize,
}

/// A container that is being written.
struct Open {
    /// Where its items begin in the list of items to write.
    items: usize,
    next: usize,
    close: char,
}

impl<'a> Tape<'a> {
    /// The text of a value as it stands, if that is its text in this form.
    pub(crate) fn text_in(&self, form: Form, node: usize) -> Option<&'a str> {
        let mut against = Flags::LOOSE;
        if form.order == Order::Sorted {
            against = against.with(Flags::UNSORTED);
        }
        if form.spelling == Spelling::Python {
            against = against.with(Flags::RESPELLED);
        }
        (!self.flags(node).has_any(against)).then(|| self.text(node))
    }

    /// The text of a value in this form.
    pub(crate) fn to_string_in(&self, form: Form, node: usize) -> String {
        let mut out = String::with_capacity(self.text(node).len());
        self.write(form, node, &mut out);
        out
    }

    /// Writes a value in this form.
    pub(crate) fn write(&self, form: Form, node: usize, out: &mut String) {
        let mut items = Vec::new();
        let mut open = Vec::new();
        self.begin(form, node, &mut items, &mut open, out);
        while let Some(container) = open.last_mut() {
            let Some(item) = items.get(container.next).copied() else {
                out.push(container.close);
                items.truncate(container.items);
                open.pop();
                continue;
            };
            if container.next > container.items {
                out.push(',');
            }
            container.next += 1;
            if let Some(key) = item.key {
                self.begin(form, key, &mut items, &mut open, out);
                out.push(':');
            }
            self.begin(form, item.value, &mut items, &mut open, out);
        }
    }

    /// Writes a value whole, or opens it.
    fn begin(
        &self,
        form: Form,
        node: usize,
        items: &mut Vec<Item>,
        open: &mut Vec<Open>,
        out: &mut String,
    ) {
        if let Some(text) = self.text_in(form, node) {
            return out.push_str(text);
        }
        let first = items.len();
        let (opening, close) = match self.kind(node) {
            Some(Kind::Object) => ('{', '}'),
            Some(Kind::Array) => ('[', ']'),
            Some(Kind::String) => {
                // Into memory, it cannot fail.
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
            items.extend(self.members(node).map(|(key, value)| Item {
                key: Some(key),
                prefix: prefix(&self.string(key)),
                value,
            }));
            if self.flags(node).has_any(Flags::REPEATED) {
                self.keep_last(items, first);
            }
            if form.order == Order::Sorted {
                let members = items.get_mut(first..).unwrap_or_default();
                // UTF-8 sorts as its code points do.
                members.sort_unstable_by(|one, other| {
                    let by_prefix = one.prefix.cmp(&other.prefix);
                    by_prefix.then_with(|| self.name(one).cmp(&self.name(other)))
                });
            }
        } else {
            items.extend(self.items(node).map(|value| Item {
                key: None,
                prefix: 0,
                value,
            }));
        }
        open.push(Open {
            items: first,
            next: first,
            close,
        });
    }

    fn name(&self, item: &Item) -> Cow<'a, str> {
        item.key.map_or_else(Cow::default, |key| self.string(key))
    }

    /// Of a key that stands more than once, its last value counts, in its first place: what JavaScript's and
    /// Python's parsers make of it, and so what servers signed.
    fn keep_last(&self, items: &mut Vec<Item>, first: usize) {
        let mut kept: Vec<Item> = Vec::new();
        let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
        for item in items.drain(first..) {
            match places.entry(self.name(&item)) {
                Entry::Occupied(place) => {
                    if let Some(before) = kept.get_mut(*place.get()) {
                        before.value = item.value;
                    }
                }
                Entry::Vacant(place) => {
                    place.insert(kept.len());
                    kept.push(item);
                }
            }
        }
        items.append(&mut kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANONICAL: Form = Form {
        order: Order::Sorted,
        spelling: Spelling::AsWritten,
    };
    const SIGNED: Form = Form {
        order: Order::Received,
        spelling: Spelling::AsWritten,
    };

    fn written(form: Form, json: &str) -> String {
        Tape::of(json).to_string_in(form, Tape::ROOT)
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
        let tape = Tape::of(json);
        assert!(tape.flags(Tape::ROOT).has_any(Flags::REPEATED));
        assert!(
            !Tape::of(r#"{"b":1,"a":{"b":1}}"#)
                .flags(Tape::ROOT)
                .has_any(Flags::REPEATED)
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
            let tape = Tape::of(json);
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
