//! The names of what a client can let the server complete: the arguments of prompts, and the
//! variables of resource templates (RFC 6570).

use std::collections::BTreeSet;

use serde_json::Value;

/// The operators that an expression of a template can start with, the reserved ones included
/// (RFC 6570, section 2.2).
const OPERATORS: [char; 12] = ['+', '#', '.', '/', ';', '?', '&', '=', ',', '!', '@', '|'];

/// Returns the names of the arguments of all prompts.
pub(super) fn prompt_arguments(prompts: &[Value]) -> BTreeSet<String> {
    let arguments = prompts
        .iter()
        .filter_map(|prompt| prompt.get("arguments")?.as_array());
    let names = arguments
        .flatten()
        .filter_map(|argument| argument.get("name")?.as_str());
    names
        .filter(|name| *name != "actors")
        .map(str::to_owned)
        .collect()
}

/// Returns the names of the variables of all resource templates.
pub(super) fn template_variables(templates: &[Value]) -> BTreeSet<String> {
    let templates = templates
        .iter()
        .filter_map(|template| template.get("uriTemplate")?.as_str());
    templates.flat_map(variables).map(str::to_owned).collect()
}

/// Returns the names of the variables of a template, such as `owner` and `path` of
/// `repo://{owner}/files{/path*}`.
fn variables(template: &str) -> impl Iterator<Item = &str> {
    // What comes before the first brace is literal.
    let expressions = template.split('{').skip(1);
    let expressions = expressions.filter_map(|rest| Some(rest.split_once('}')?.0));
    let names = expressions.flat_map(|expression| {
        let list = expression.strip_prefix(OPERATORS).unwrap_or(expression);
        list.split(',')
    });
    let names = names.map(|name| {
        // `name:3` is the first three characters of a value, and `name*` each part of a list.
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        name.strip_suffix('*').unwrap_or(name)
    });
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_variables_of_a_template_are_found_in_each_form() {
        for (template, names) in [
            ("repo://{owner}/{name}/x", &["owner", "name"][..]),
            ("file:///{path}", &["path"]),
            ("file:///a", &[]),
            (
                "repo://{+a}{#b}{.c}{/d*}{;e:3}{?f,g*}{&h}",
                &["a", "b", "c", "d", "e", "f", "g", "h"],
            ),
            ("file:///{}/{,}/{open", &[]),
        ] {
            assert_eq!(variables(template).collect::<Vec<_>>(), names, "{template}");
        }
    }

    #[test]
    fn names_are_sorted_and_listed_once() {
        let templates = [
            json!({"uriTemplate": "a://{z}/{a}"}),
            json!({"uriTemplate": "b://{a}"}),
            json!({"uriTemplate": 7}),
        ];
        let names: Vec<String> = template_variables(&templates).into_iter().collect();
        assert_eq!(names, ["a", "z"]);
        let prompts = [
            json!({"name": "p", "arguments": [{"name": "z"}, {"name": "a"}, {"name": "actors"}]}),
            json!({"name": "q", "arguments": [{"name": "a"}, {}]}),
        ];
        let names: Vec<String> = prompt_arguments(&prompts).into_iter().collect();
        assert_eq!(names, ["a", "z"]);
    }
}
