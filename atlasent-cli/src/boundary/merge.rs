//! Adds entries to the `disallowed-methods` of a `clippy.toml`, and changes nothing else in it.

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::methods::Method;

/// The key of the list.
const KEY: &str = "disallowed-methods";

/// A file with the entries.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) text: String,
    /// The number of methods that the file had.
    pub(crate) present: usize,
}

/// Returns the list as a file of its own.
pub(crate) fn block(methods: &[Method], line_end: &str) -> String {
    let entries = entries(methods, line_end);
    format!("{KEY} = [{line_end}{entries}]{line_end}")
}

/// Adds the methods that the file does not have. The text of the file stays as it is, comments
/// included. An entry that the file has for a method stays, too.
///
/// The error says why nothing can be added.
pub(crate) fn merge(text: &str, methods: &[Method]) -> Result<Merged, String> {
    let file = parse(text)?;
    let listed = listed(file.get_ref())?;
    let (present, missing): (Vec<&Method>, Vec<&Method>) = methods
        .iter()
        .partition(|method| listed.contains(&method.path.as_str()));
    let missing: Vec<Method> = missing.into_iter().cloned().collect();
    let present = present.len();
    if missing.is_empty() {
        let text = text.to_owned();
        return Ok(Merged { text, present });
    }
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let merged = match file.get_ref().get(KEY) {
        None => Some(with_list(text, &block(&missing, line_end), line_end)),
        Some(list) => {
            let last = match list.get_ref() {
                DeValue::Array(entries) => entries.iter().last().map(|entry| entry.span().end),
                _ => None,
            };
            match text.get(list.span()) {
                Some(list_text)
                    if list_text.starts_with('[')
                        && list_text.ends_with(']')
                        && !is_header(list_text) =>
                {
                    into_array(text, list.span().end, last, &missing, line_end)
                }
                _ => Some(with_tables(text, &missing, line_end)),
            }
        }
    };
    merged
        .filter(|merged| adds_only(text, merged, &missing))
        .map(|text| Merged { text, present })
        .ok_or_else(|| {
            format!("its `{KEY}` is written in a way that this command does not know; run it without `--merge`")
        })
}

fn parse(text: &str) -> Result<Spanned<DeTable<'_>>, String> {
    DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text
            .bytes()
            .take(start)
            .filter(|byte| *byte == b'\n')
            .count()
            + 1;
        format!("line {line} is not valid TOML: {}", error.message())
    })
}

/// Returns the paths of the entries: strings, or tables with a `path`.
fn listed<'a>(file: &'a DeTable<'_>) -> Result<Vec<&'a str>, String> {
    let list = match file.get(KEY).map(|list| list.get_ref()) {
        None => return Ok(Vec::new()),
        Some(DeValue::Array(list)) => list,
        Some(_) => return Err(format!("its `{KEY}` is not a list")),
    };
    let path = |entry: &'a DeValue<'_>| match entry {
        DeValue::Table(entry) => entry.get("path").and_then(|path| path.get_ref().as_str()),
        other => other.as_str(),
    };
    Ok(list
        .iter()
        .filter_map(|entry| path(entry.get_ref()))
        .collect())
}

/// Whether the text of an array is a header: `[[disallowed-methods]]`.
fn is_header(text: &str) -> bool {
    text.starts_with("[[")
}

/// Adds the list to a file without one.
fn with_list(text: &str, block: &str, line_end: &str) -> String {
    let (mark, rest) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    };
    // Behind the header of a table, a key belongs to the table.
    match rest.lines().any(|line| line.trim_start().starts_with('[')) {
        true => format!("{mark}{block}{line_end}{rest}"),
        false => on_new_line(text, line_end) + block,
    }
}

/// Adds a table for each method to a file whose list consists of tables.
fn with_tables(text: &str, methods: &[Method], line_end: &str) -> String {
    let mut text = on_new_line(text, line_end);
    for method in methods {
        let lines = method.lines().join(line_end);
        text.push_str(&format!("{line_end}[[{KEY}]]{line_end}{lines}{line_end}"));
    }
    text
}

/// Adds the methods to an array that ends at `end`, with its last entry at `last`.
fn into_array(
    text: &str,
    end: usize,
    last: Option<usize>,
    methods: &[Method],
    line_end: &str,
) -> Option<String> {
    let (before, after) = text.split_at_checked(end.checked_sub(1)?)?;
    let entries = entries(methods, line_end);
    // A comma behind the last entry, which may be before a comment.
    let before = match last {
        Some(last) => {
            let (entry, rest) = before.split_at_checked(last)?;
            let comma = if has_comma(rest) { "" } else { "," };
            format!("{entry}{comma}{rest}")
        }
        None => before.to_owned(),
    };
    // The indentation of the closing bracket stays in front of it.
    let kept = before.trim_end_matches([' ', '\t']);
    let (kept, indentation) = match kept.ends_with('\n') {
        true => before.split_at_checked(kept.len())?,
        false => (before.as_str(), ""),
    };
    Some(on_new_line(kept, line_end) + &entries + indentation + after)
}

/// Whether the text between an entry and the closing bracket has a comma outside of comments.
fn has_comma(text: &str) -> bool {
    text.lines().any(|line| {
        line.split('#')
            .next()
            .is_some_and(|code| code.contains(','))
    })
}

/// Returns one line for each entry, each with its comma.
fn entries(methods: &[Method], line_end: &str) -> String {
    methods
        .iter()
        .map(|method| format!("    {},{line_end}", method.inline()))
        .collect()
}

/// Ends the last line of a text.
fn on_new_line(text: &str, line_end: &str) -> String {
    match text.is_empty() || text.ends_with('\n') {
        true => text.to_owned(),
        false => format!("{text}{line_end}"),
    }
}

/// Whether a file has all that it had before, in the same order, and the methods at the end of its
/// list.
fn adds_only(before: &str, merged: &str, added: &[Method]) -> bool {
    let (Ok(mut before), Ok(mut after)) = (before.parse::<Table>(), merged.parse::<Table>()) else {
        return false;
    };
    let entries = |file: &mut Table| match file.remove(KEY) {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    let (old, new) = (entries(&mut before), entries(&mut after));
    let path = |entry: &Value| entry.get("path")?.as_str().map(str::to_owned);
    let paths = new.iter().skip(old.len()).map(path);
    let expected = added.iter().map(|method| Some(method.path.clone()));
    before == after && new.starts_with(&old) && paths.eq(expected)
}
