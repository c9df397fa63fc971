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
        (
            "completion/complete",
            r#""ref": { "type": String, "name"?: String, "uri"?: String, "title"?: String },
    "argument": { "name": String, "value": String },"#,
        ),
        ("logging/setLevel", r#""level": String,"#),
    ] {
        let lines = attributes.lines().map(str::trim).map(str::to_owned);
        text.push('\n');
        text.push_str(&action_text(&starter.method(method), lines));
    }
    let prompts = starter.prompt_arguments.iter();
    let prompts = prompts.map(|name| format!("{}?: String,", quoted(name)));
    text.push('\n');
    text.push_str(&action_text(&starter.method("prompts/get"), prompts));
    text
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
