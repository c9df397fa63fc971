//! Actions whose name is probably a misspelling of another's: a policy about one that nobody asks for never applies.

use std::collections::{BTreeMap, HashSet};

use cedar_policy::ActionConstraint;
use serde_json::Value;
use strsim::damerau_levenshtein;

use super::{PolicyProblem, Subject};

/// One problem for each suspect action. `known` are the names that the entities vouch for.
pub(super) fn misspelled(subjects: &[Subject<'_>], known: &HashSet<String>) -> Vec<PolicyProblem> {
    // Which policies name an action, by their position.
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
        (better.map(|(other, _)| other.as_str()))
            .chain(known.iter().map(String::as_str))
            .filter(|other| looks_like(name, other))
            .min_by_key(|other| (damerau_levenshtein(name, other), *other))
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
                subject.rule.id
            );
            Some(subject.problem_at(&format!("Action::\"{name}\""), message))
        })
        .collect()
}

/// The actions that a policy names, in its scope or its conditions.
fn actions_in(subject: &Subject<'_>) -> HashSet<String> {
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
    let listed = json.as_array().into_iter().flatten();
    let named = json
        .as_object()
        .into_iter()
        .flat_map(|members| members.values());
    for part in listed.chain(named) {
        collect_literals(part, names);
    }
}

/// Whether one of the names is probably the other, misspelled. Names are compared word by word, so that `file.read` and
/// `file.load` stay two, and the shorter a word, the less of it may differ.
fn looks_like(a: &str, b: &str) -> bool {
    let without_digits = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    // `deploy.eu1` and `deploy.eu2` differ on purpose.
    if a == b || without_digits(a) == without_digits(b) {
        return false;
    }
    let (a_words, b_words) = (words(a), words(b));
    if a_words.concat() == b_words.concat() {
        return true;
    }
    if a_words.len() != b_words.len() {
        return false;
    }
    let mut distance = 0;
    for (a, b) in a_words.iter().zip(&b_words).filter(|(a, b)| a != b) {
        let found = damerau_levenshtein(a, b);
        let length = a.chars().count().max(b.chars().count());
        let allowed = match length {
            0..4 => 0,
            4..8 => 1,
            _ => 2,
        };
        // `install` and `uninstall` are opposites.
        let has_prefix = found > 1 && (a.ends_with(b) || b.ends_with(a));
        if found > allowed || has_prefix {
            return false;
        }
        distance += found;
    }
    distance <= 2
}

fn words(name: &str) -> Vec<&str> {
    name.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_are_told_from_other_names() {
        for (a, b) in [
            ("deploy.production", "deploy.producton"),
            ("deploy.production", "deploy.prodcution"),
            ("deploy.production", "deploy.produktions"),
            ("deploy.production", "deploy_production"),
            ("deploy.production", "depoly.production"),
            ("deploy.production", "Deploy.production"),
            ("modify_patient_record", "modify_pateint_record"),
            ("read", "raed"),
            ("deployProduction", "deploy.Production"),
        ] {
            assert!(looks_like(a, b) && looks_like(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("read", "read"),
            ("read", "load"),
            ("file.read", "file.load"),
            ("lock", "unlock"),
            ("install", "uninstall"),
            ("deploy.eu1", "deploy.eu2"),
            ("deploy.v9", "deploy.v10"),
            ("get", "set"),
            ("user.add", "user.ack"),
            ("deploy.production", "deploy.staging"),
            ("deploy", "deploy.production"),
            ("", "a"),
        ] {
            assert!(!looks_like(a, b) && !looks_like(b, a), "{a} {b}");
        }
    }
}
