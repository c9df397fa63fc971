//! Actions whose name is probably a misspelling of another's. A policy about a misspelt action
//! never applies.

use std::collections::{BTreeMap, HashSet};

use cedar_policy::ActionConstraint;
use serde_json::Value;

use super::{PolicyProblem, Subject, parts};
use crate::policy::suggest::nearest;

/// Returns one problem for each suspect action. `known` holds the names that the entities define.
pub(super) fn misspelled(subjects: &[Subject<'_>], known: &HashSet<String>) -> Vec<PolicyProblem> {
    // The positions of the policies that name an action.
    let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (n, subject) in subjects.iter().enumerate() {
        for name in actions_in(subject) {
            named.entry(name).or_default().push(n);
        }
    }
    let meant = |name: &str, nth: usize| {
        let better = named.iter().filter(|(other, by)| {
            // Of two that are named once each, the later one is the suspect.
            let vouched = by.len() > 1 || known.contains(*other);
            vouched || by.first().is_some_and(|first| *first < nth)
        });
        let better = better.map(|(other, _)| other.as_str());
        nearest(name, better.chain(known.iter().map(String::as_str)))
    };
    let suspects = named.iter().filter_map(|(name, by)| match by.as_slice() {
        [nth] if !known.contains(name) => Some((name, *nth)),
        _ => None,
    });
    suspects
        .filter_map(|(name, nth)| {
            let (subject, meant) = (subjects.get(nth)?, meant(name, nth)?);
            let message = format!(
                "policy `{}` names the action `{name}`, which no other policy does; did you mean `{meant}`?",
                subject.annotated.id
            );
            Some(subject.problem_at(&format!("Action::\"{name}\""), message))
        })
        .collect()
}

/// Returns the actions that a policy names, in its scope or its conditions.
pub(super) fn actions_in(subject: &Subject<'_>) -> HashSet<String> {
    let in_scope = match subject.policy.action_constraint() {
        ActionConstraint::Any => Vec::new(),
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
    };
    let mut names: HashSet<String> = (in_scope.iter())
        .filter(|uid| uid.type_name().to_string() == "Action")
        .map(|uid| uid.id().unescaped().to_owned())
        .collect();
    collect_literals(&subject.json, &mut names);
    names
}

fn collect_literals(json: &Value, names: &mut HashSet<String>) {
    if let Some(entity) = json.get("__entity") {
        let text = |key: &str| entity.get(key).and_then(Value::as_str);
        if let (Some("Action"), Some(id)) = (text("type"), text("id")) {
            names.insert(id.to_owned());
        }
    }
    for part in parts(json) {
        collect_literals(part, names);
    }
}
