//! How texts, times and JSON are shown. What comes from outside is shown on one line, with control
//! characters and invisible ones escaped; `maud` escapes it as HTML.

use atlasent::text::Escaped;
use jiff::Timestamp;
use maud::{Markup, html};

/// The deepest indentation of JSON, in levels.
const MAX_INDENT: usize = 24;

/// Shows a text from outside on one line.
pub(super) fn shown(text: &str) -> Escaped<'_> {
    Escaped::new(text)
}

/// Shows a text from outside that has lines, such as a note or a policy. Only line feeds stay.
pub(super) fn lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        // Tabs indent, and nothing else.
        let line = line.replace('\t', "    ");
        Escaped::new(&line).to_string()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Shows a time to the second, in UTC.
pub(super) fn time(time: Timestamp) -> Markup {
    let (machine, text) = (
        time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        time.strftime("%Y-%m-%d %H:%M:%S"),
    );
    html! { time datetime=(machine) { (text) } " UTC" }
}

/// Shows the time of an event, which is a text on the chain.
pub(super) fn event_time(text: &str) -> Markup {
    match text.parse() {
        Ok(parsed) => time(parsed),
        Err(_) => html! { (shown(text)) },
    }
}

/// Says how long it is until a time: `in 3 h 20 min`, or that it is over.
pub(super) fn left(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.duration_since(now).as_secs();
    if seconds <= 0 {
        return "over".to_owned();
    }
    format!("in {}", length(seconds))
}

/// Says how long some seconds are, in the two largest units.
pub(super) fn length(seconds: i64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

/// Indents JSON, for people. Numbers and strings stay as they are written, which a parser would not
/// keep.
pub(super) fn json(text: &str) -> String {
    let (mut out, mut depth) = (String::with_capacity(text.len() * 2), 0_usize);
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let token = match first {
            '"' => string_length(rest),
            '{' | '[' | '}' | ']' | ',' | ':' => 1,
            _ => rest
                .find(['{', '[', '}', ']', ',', ':', '"'])
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(token.max(first.len_utf8()));
        rest = after.trim_start();
        match first {
            '{' | '[' if rest.starts_with(['}', ']']) => out.push(first),
            '{' | '[' => {
                depth += 1;
                out.push(first);
                new_line(&mut out, depth);
            }
            '}' | ']' => {
                if !out.ends_with(['{', '[']) {
                    depth = depth.saturating_sub(1);
                    new_line(&mut out, depth);
                }
                out.push(first);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => out.push_str(&Escaped::new(token.trim_end()).to_string()),
        }
    }
    out
}

/// Returns the length of the JSON string at the start of a text, in bytes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth.min(MAX_INDENT)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_indented_and_keeps_the_text_of_its_values() {
        let text = r#"{"a":1.50,"b":[],"c":{},"d":["x{,}:\"]",{"e":1e400}],"f":null}"#;
        assert_eq!(
            json(text),
            "{\n  \"a\": 1.50,\n  \"b\": [],\n  \"c\": {},\n  \"d\": [\n    \"x{,}:\\\"]\",\n    {\n      \
             \"e\": 1e400\n    }\n  ],\n  \"f\": null\n}"
        );
        assert_eq!(json("{}"), "{}");
        assert_eq!(json("\"a\u{202e}b\""), "\"a\\u{202e}b\"");
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        for (seconds, text) in [
            (5, "5 s"),
            (65, "1 min"),
            (3_600, "1 h"),
            (12_000, "3 h 20 min"),
            (86_400, "1 d"),
            (100_000, "1 d 3 h"),
        ] {
            assert_eq!(length(seconds), text);
        }
    }

    #[test]
    fn notes_keep_their_lines_and_nothing_else_that_moves_text() {
        assert_eq!(
            lines("a\r\nb\n\tc\u{202e}\u{1b}"),
            "a\nb\n    c\\u{202e}\\u{1b}"
        );
    }

    proptest! {
        /// Indenting adds white space and escapes, and takes nothing away.
        #[test]
        fn indented_json_is_the_same_json(value in any_json()) {
            let text = value.to_string();
            let parsed: serde_json::Value = serde_json::from_str(&json(&text)).unwrap();
            prop_assert_eq!(parsed, value);
        }

        #[test]
        fn no_text_breaks_the_indentation(text in ".{0,80}") {
            json(&text);
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[ -~äß]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::vec(("[ -~]{0,8}", inner), 0..5)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
