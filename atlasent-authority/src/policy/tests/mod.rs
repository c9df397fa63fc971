//! What the policies of a program can rely on. Smaller promises are tested beside their code.

mod deciding;
mod loading;
mod slicing;

use serde_json::Value;

use super::{Policies, Question, Verdict};

/// Asks whether `deploy-bot` may do `action` in `context`.
fn ask(policies: &Policies, action: &str, context: &Value) -> Verdict {
    let context = context.as_object().unwrap();
    policies.decide(Question {
        agent: "deploy-bot",
        action,
        resource: None,
        context,
    })
}
