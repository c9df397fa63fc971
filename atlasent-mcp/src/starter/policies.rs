//! The policies and the entities of a starter set.

use super::types::quoted;
use super::{Effect, Starter, StarterTool};

/// Two groups with example agents. `mcp-client`, which may read, is the agent of `atlasent guard`
/// for clients without a token.
pub(super) const ENTITIES: &str = r#"[
  { "uid": { "type": "Agent", "id": "mcp-client" }, "attrs": {}, "parents": [{ "type": "Group", "id": "tool-readers" }] },
  { "uid": { "type": "Agent", "id": "reader-agent" }, "attrs": {}, "parents": [{ "type": "Group", "id": "tool-readers" }] },
  {
    "uid": { "type": "Agent", "id": "writer-agent" },
    "attrs": {},
    "parents": [{ "type": "Group", "id": "tool-readers" }, { "type": "Group", "id": "tool-writers" }]
  },
  { "uid": { "type": "Group", "id": "tool-readers" }, "attrs": {}, "parents": [] },
  { "uid": { "type": "Group", "id": "tool-writers" }, "attrs": {}, "parents": [] }
]
"#;

/// Returns the policies.
pub(super) fn text(starter: &Starter) -> String {
    let server = &starter.server;
    let [reads, writes, destroys] =
        [Effect::Reads, Effect::Writes, Effect::Destroys].map(|effect| starter.with_effect(effect));
    let mut text = format!(
        "\
// Which agents may call which tools of `{server}`. What no policy here permits is denied.
//
// The tools are sorted by what the server says of them. Read each description before you rely on
// it: a server can be wrong, or lie. `entities.json` says which agents are in which group.
"
    );
    let methods = [
        "connect",
        "resources/read",
        "resources/subscribe",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
    ];
    let methods = methods.map(|method| starter.method(method));
    let methods = list(methods.iter().map(|name| (name.as_str(), "")));
    text.push_str(&format!(
        "
// What the protocol offers besides tools. Sampling, elicitation and roots are requests of the
// server to the agent's side: they are denied until a policy permits them and the schema declares
// them.
@id(\"{server}-protocol\")
{}",
        rule("permit", "tool-readers", &methods)
    ));
    if !reads.is_empty() {
        text.push_str(&format!(
            "
// The server says that these tools only read.
@id(\"{server}-read\")
{}",
            rule("permit", "tool-readers", &described(&reads))
        ));
    }
    let changes: Vec<&StarterTool> = writes.iter().chain(&destroys).copied().collect();
    if !changes.is_empty() {
        text.push_str(&format!(
            "
// These tools change something, or the server does not say. A person releases each call: see the
// policies below, which hold what this one permits.
@id(\"{server}-change\")
{}",
            rule("permit", "tool-writers", &described(&changes))
        ));
    }
    for (held, name, reason) in [
        (&writes, "write", "it changes something"),
        (&destroys, "destroy", "it may destroy something"),
    ] {
        if held.is_empty() {
            continue;
        }
        let actions = list(held.iter().map(|tool| (tool.action.as_str(), "")));
        text.push_str(&format!(
            "
@id(\"{server}-{name}-held\") @decision(\"hold\") @reason(\"{reason}: a person has to agree\")
@approvers(\"role:tool-approver\") @approval_ttl(\"1h\")
{}",
            rule("forbid", "tool-writers", &actions)
        ));
    }
    text
}

/// Returns a policy on actions of a group of agents, without its annotations.
fn rule(effect: &str, group: &str, actions: &str) -> String {
    format!(
        "{effect} (
  principal in Group::\"{group}\",
  action in [{actions}],
  resource
);
"
    )
}

/// Returns actions with the descriptions of their tools.
fn described(tools: &[&StarterTool]) -> String {
    list(
        tools
            .iter()
            .map(|tool| (tool.action.as_str(), tool.comment.as_str())),
    )
}

/// Returns actions, one a line, each under its comment.
fn list<'a>(actions: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let lines = actions.map(|(action, comment)| {
        let comment = match comment {
            "" => String::new(),
            comment => format!("\n    // {comment}"),
        };
        format!("{comment}\n    Action::{},", quoted(action))
    });
    format!("{}\n  ", lines.collect::<String>())
}
