//! `has` tests for attributes that the schema does not declare, which are never true.
//!
//! Reading an undeclared attribute is an error at load. A `has` is not: Cedar knows that it is
//! false, and warns only if that makes the whole policy impossible.

use cedar_policy::{Policy, PolicySet, ValidationMode, ValidationWarning, Validator};
use serde_json::{Value, json};

use super::{PolicyProblem, Subject, parts};

/// Returns a problem for each `has` that is false for every request that the policy can match.
pub(super) fn attributes(validator: &Validator, subject: &Subject<'_>) -> Vec<PolicyProblem> {
    let mut looked_for = Vec::new();
    collect(&subject.json, &mut looked_for);
    // A policy that no request can match gets a warning at load.
    if looked_for.is_empty() || is_impossible(validator, &subject.json, &json!([])) {
        return Vec::new();
    }
    looked_for
        .into_iter()
        .filter(|has| {
            let condition = json!([{ "kind": "when", "body": guarded(has) }]);
            is_impossible(validator, &subject.json, &condition)
        })
        .map(|has| {
            let code = shown(has);
            let message = format!(
                "policy `{}` asks `{code}`, which is never true: the schema declares no such attribute",
                subject.annotated.id
            );
            subject.problem_at(&code, message)
        })
        .collect()
}

/// Returns whether a policy with the scope of this one and these conditions can never match.
fn is_impossible(validator: &Validator, policy: &Value, conditions: &Value) -> bool {
    let mut policy = policy.clone();
    if let Some(policy) = policy.as_object_mut() {
        policy.insert("conditions".to_owned(), conditions.clone());
    }
    let Ok(policy) = Policy::from_json(None, policy) else {
        return false;
    };
    let Ok(set) = PolicySet::from_policies([policy]) else {
        return false;
    };
    let result = validator.validate(&set, ValidationMode::Strict);
    let mut warnings = result.validation_warnings();
    result.validation_passed()
        && warnings.any(|warning| matches!(warning, ValidationWarning::ImpossiblePolicy(_)))
}

/// Returns the `has`, with a `has` for each attribute on its path before it: reading one that may
/// be absent would be an error.
fn guarded(has: &Value) -> Value {
    let mut guarded = json!({ "has": has });
    let mut left = has.get("left");
    while let Some(access) = left.and_then(|left| left.get(".")) {
        guarded = json!({ "&&": { "left": { "has": access }, "right": guarded } });
        left = access.get("left");
    }
    guarded
}

fn collect<'p>(json: &'p Value, found: &mut Vec<&'p Value>) {
    if let Some(has) = json.get("has").filter(|has| has.get("attr").is_some())
        && !found.contains(&has)
    {
        found.push(has);
    }
    for part in parts(json) {
        collect(part, found);
    }
}

/// Returns the expression as it is written in a policy, as far as it is a path.
fn shown(has: &Value) -> String {
    let left = has.get("left").map(super::path::path).unwrap_or_default();
    let attribute = match has.get("attr") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            names.join(".")
        }
        _ => String::new(),
    };
    format!("{left} has {attribute}")
}
