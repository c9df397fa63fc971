//! JSON output: indented on a terminal, one line otherwise.

use serde_json::Value;

use crate::output::{is_terminal_control, stdout_is_terminal};

/// Formats a JSON text for standard output: indented on a terminal, one line otherwise.
pub(crate) fn for_stdout(json: &str) -> String {
    if stdout_is_terminal() {
        lay_out(json, Layout::Indented)
    } else {
        lay_out(json, Layout::Line)
    }
}

/// Adds a member to an object. A value of `None` adds nothing, not even `null`.
pub(crate) fn with_member<T: Into<Value>>(
    mut object: Value,
    name: &str,
    member: Option<T>,
) -> Value {
    if let (Some(members), Some(member)) = (object.as_object_mut(), member) {
        members.insert(name.to_owned(), member.into());
    }
    object
}

#[derive(Clone, Copy, PartialEq)]
enum Layout {
    Indented,
    Line,
}

/// Changes the white space of a JSON text and escapes characters that control a terminal.
///
/// Works on the text because parsing and serializing would lose the order of the members and the
/// digits of large numbers, and a token's claims have to be printed as they are. In valid JSON,
/// characters that control a terminal occur in strings only, where the escape means the same.
fn lay_out(json: &str, layout: Layout) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for character in json.chars() {
        match character {
            _ if in_string => {
                in_string = escaped || character != '"';
                escaped = !escaped && character == '\\';
                push_escaped(&mut out, character);
            }
            ' ' | '\t' | '\r' | '\n' => {}
            '{' | '[' => {
                depth += 1;
                out.push(character);
                break_line(&mut out, layout, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                let filled = out.trim_ascii_end().len();
                let empty = out.trim_ascii_end().ends_with(['{', '[']);
                out.truncate(filled);
                if !empty {
                    break_line(&mut out, layout, depth);
                }
                out.push(character);
            }
            ',' => {
                out.push(character);
                break_line(&mut out, layout, depth);
            }
            ':' => out.push_str(if layout == Layout::Indented {
                ": "
            } else {
                ":"
            }),
            _ => {
                in_string = character == '"';
                out.push(character);
            }
        }
    }
    out.push('\n');
    out
}

fn push_escaped(out: &mut String, character: char) {
    if is_terminal_control(character) {
        out.push_str(&format!("\\u{:04x}", u32::from(character)));
    } else {
        out.push(character);
    }
}

fn break_line(out: &mut String, layout: Layout, depth: usize) {
    if layout == Layout::Indented {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_line_layout_removes_white_space_outside_of_strings() {
        let json = " { \"a\" :\t[ 1.50 , {} ],\r\n\"b\\\" , {\" : \"x : y\" } ";
        assert_eq!(
            lay_out(json, Layout::Line),
            "{\"a\":[1.50,{}],\"b\\\" , {\":\"x : y\"}\n"
        );
    }

    #[test]
    fn the_indented_layout_has_a_line_for_each_member() {
        assert_eq!(
            lay_out(
                r#"{"sub":"a","aud":["x","y"],"ati":{},"z":[ ]}"#,
                Layout::Indented
            ),
            r#"{
  "sub": "a",
  "aud": [
    "x",
    "y"
  ],
  "ati": {},
  "z": []
}
"#
        );
    }

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        let json = "{\"a\":\"\u{9b}31m\u{7f}\u{202e}ü\"}";
        assert_eq!(
            lay_out(json, Layout::Line),
            "{\"a\":\"\\u009b31m\\u007f\\u202eü\"}\n"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            r#"[\\"{}\[\]:, \n]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_layout_changes_no_value(value in value()) {
            for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                for layout in [Layout::Line, Layout::Indented] {
                    let laid_out = lay_out(&json, layout);
                    prop_assert_eq!(&serde_json::from_str::<Value>(&laid_out).unwrap(), &value);
                }
                prop_assert_eq!(lay_out(&json, Layout::Line).matches('\n').count(), 1);
            }
        }
    }
}
