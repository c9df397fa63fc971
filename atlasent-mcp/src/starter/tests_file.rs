//! The tests of a starter set, for `atlasent policy test`.

use serde_json::{Map, Value, json};

use super::{Effect, Starter, StarterTool};

/// Returns the test file: for each tool, that its group gets what the policies say, and that an
/// agent without a group is denied.
pub(super) fn text(starter: &Starter) -> String {
    let read = |agent: &str, expect: &str| {
        json!({
            "name": format!("{agent}: {expect} a resource"), "agent": agent,
            "action": starter.method("resources/read"), "context": {"uri": "file:///x"},
            "expect": expect,
        })
    };
    let mut cases = vec![
        read("reader-agent", "allow"),
        read("stranger", "deny"),
        completion(starter),
    ];
    for tool in &starter.tools {
        // Such a tool has no call that is not denied.
        if tool.untyped.iter().any(|untyped| untyped.is_required) {
            continue;
        }
        let agents: &[(&str, &str)] = match tool.effect {
            Effect::Reads => &[("reader-agent", "allow"), ("stranger", "deny")],
            Effect::Writes | Effect::Destroys => {
                &[("writer-agent", "hold"), ("reader-agent", "deny")]
            }
        };
        for (agent, expect) in agents {
            cases.push(json!({
                "name": format!("{agent}: {expect} {}", tool.action),
                "agent": agent, "action": tool.action, "context": sample(tool), "expect": expect,
            }));
        }
    }
    let mut text = "{\n  \"policies\": \".\",\n  \"cases\": [".to_owned();
    for (place, case) in cases.iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        text.push_str(&format!("{comma}\n    {case}"));
    }
    text.push_str("\n  ]\n}\n");
    text
}

/// Returns the case of a completion, for a client that has a value of another argument already.
fn completion(starter: &Starter) -> Value {
    let known = starter.completed_names().take(1);
    let known: Map<_, _> = known.map(|name| (name.clone(), json!("x"))).collect();
    json!({
        "name": "reader-agent: allow a completion", "agent": "reader-agent",
        "action": starter.method("completion/complete"),
        "context": {
            "ref": {"type": "ref/prompt", "name": "x"},
            "argument": {"name": "x", "value": ""},
            "context": {"arguments": known},
        },
        "expect": "allow",
    })
}

/// Returns a value for each argument that the tool requires.
fn sample(tool: &StarterTool) -> Value {
    let required = tool.arguments.iter().filter(|one| one.is_required);
    let members = required.map(|one| (one.name.clone(), one.sample.clone()));
    Value::Object(members.collect::<Map<_, _>>())
}
