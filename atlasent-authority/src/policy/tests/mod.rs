//! The promises of a policy set. Smaller promises are tested beside their code.

mod annotations;
mod approvals;
mod approving;
mod budgets;
mod converting;
mod deciding;
mod depth;
mod failing;
mod filing;
mod folders;
mod inferring;
mod limits;
mod linting;
mod loading;
mod random;
mod shadows;
mod slicing;
mod suspect;
mod traces;
mod unknown;
mod unmatchable;

use atlasent::Context;
use serde_json::Value;

use super::{Policies, PolicyError, PolicyInput, Verdict};
use crate::policy::fields::Fields;

const PERMIT: &str = "permit (principal, action, resource);\n";

/// Returns the verdict on `deploy-bot` doing `action` in `context`.
fn ask(policies: &Policies, action: &str, context: &Value) -> Verdict {
    let context = Context::from(context.as_object().unwrap().clone());
    policies.decide(PolicyInput {
        agent: "deploy-bot",
        action,
        resource: None,
        context: &context,
        fields: Fields::default(),
        is_shadow: false,
    })
}

fn parse_error(text: &str) -> String {
    Policies::parse(text).unwrap_err().to_string()
}

fn places(error: &PolicyError) -> Vec<String> {
    (error.problems().iter())
        .map(|problem| match (problem.line(), problem.column()) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", problem.source_name()),
            _ => problem.source_name().to_owned(),
        })
        .collect()
}
