//! The schema of a starter set.

use super::types::quoted;
use super::{Starter, StarterTool};

const HEADER: &str = "\
// The tools, and the types of their arguments. A call with an argument that is not declared here is
// denied, and so is one whose value has another type. An array is a set, and a number with a
// fraction a decimal of at most four digits after the point.

entity Group;
entity Agent in [Group];
entity Resource;
";

/// The actors of a delegated token, which the authority sets.
const ACTORS: &str = "\"actors\"?: Set<String>,";

/// Returns the schema.
pub(super) fn text(starter: &Starter) -> String {
    let mut text = HEADER.to_owned();
    for tool in &starter.tools {
        text.push('\n');
        text.push_str(&tool_text(tool));
    }
    for (method, attributes) in [
        ("connect", ""),
        ("resources/read", r#""uri": String,"#),
        ("resources/subscribe", r#""uri": String,"#),
        ("logging/setLevel", r#""level": String,"#),
    ] {
        let lines = attributes.lines().map(str::to_owned);
        text.push('\n');
        text.push_str(&action_text(&starter.method(method), lines));
    }
    let optional_text = |name: &String| format!("{}?: String,", quoted(name));
    let prompts = starter.prompt_arguments.iter().map(optional_text);
    text.push('\n');
    text.push_str(&action_text(&starter.method("prompts/get"), prompts));
    let known = starter.completed_names().map(optional_text);
    text.push('\n');
    text.push_str(&action_text(
        &starter.method("completion/complete"),
        completion(known),
    ));
    text
}

/// Returns the params of `completion/complete`. `known` are the arguments and variables that the
/// client can have values of already.
fn completion(known: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let before = [
        r#""ref": { "type": String, "name"?: String, "uri"?: String, "title"?: String },"#,
        r#""argument": { "name": String, "value": String },"#,
        r#""context"?: { "arguments"?: {"#,
    ];
    let known = known.map(|line| format!("  {line}"));
    let before = before.into_iter().map(str::to_owned);
    before.chain(known).chain(["} },".to_owned()])
}

fn tool_text(tool: &StarterTool) -> String {
    let typed = (tool.arguments.iter()).map(|argument| format!("{},", argument.text()));
    let untyped = (tool.untyped.iter())
        .map(|one| format!("// {} has no type here: {}.", quoted(&one.name), one.why));
    let comment = match tool.comment.as_str() {
        "" => String::new(),
        comment => format!("// {comment}\n"),
    };
    comment + &action_text(&tool.action, typed.chain(untyped))
}

fn action_text(action: &str, attributes: impl Iterator<Item = String>) -> String {
    let attributes = attributes.chain([ACTORS.to_owned()]);
    let attributes: String = attributes.map(|line| format!("    {line}\n")).collect();
    format!(
        "action {} appliesTo {{\n  principal: Agent,\n  resource: Resource,\n  context: {{\n{attributes}  }},\n}};\n",
        quoted(action)
    )
}
