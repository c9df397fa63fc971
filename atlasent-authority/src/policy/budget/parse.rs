//! Reads `@budget`: `amount 1000/day per agent, calls 100/hour per organization`.

use std::sync::Arc;

use super::{Budget, BudgetScope, Counted, Units};
use crate::policy::number::Numeral;
use crate::policy::suggest::nearest;

/// The maximum number of budgets of one policy.
pub(super) const MAX_BUDGETS: usize = 8;

/// The maximum length of a path, in characters.
const MAX_PATH: usize = 256;

/// The names of the units of time, with their lengths in seconds.
const UNITS: [(&str, u32); 4] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
];

/// Reads the budgets of a policy, or returns why the text is invalid, in words for people.
pub(super) fn parse_all(policy: &Arc<str>, text: &str) -> Result<Vec<Budget>, String> {
    let mut budgets: Vec<Budget> = Vec::new();
    for item in text.split(',') {
        let budget = Budget::parse(policy, item.trim())?;
        let is_same = |known: &Budget| {
            let [known, new] = [known, &budget].map(|one| (&one.counted, one.unit, one.scope));
            known == new
        };
        if budgets.iter().any(is_same) {
            return Err(format!("`{budget}` has two limits: give one"));
        }
        budgets.push(budget);
    }
    if budgets.len() > MAX_BUDGETS {
        return Err(format!(
            "a policy has at most {MAX_BUDGETS} budgets, and this one {}",
            budgets.len()
        ));
    }
    Ok(budgets)
}

impl Budget {
    fn parse(policy: &Arc<str>, text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [counted, rate, "per", scope] = *words else {
            return Err(format!(
                "`{text}` is not a budget: write what is counted, a limit with its unit of time, \
                 and who shares it, as in `amount 1000/day per agent` or `calls 100/hour per \
                 organization`"
            ));
        };
        let counted = match counted {
            "calls" => Counted::Calls,
            path => Counted::Value(checked_path(path)?),
        };
        let Some((limit, unit)) = rate.split_once('/') else {
            return Err(format!(
                "`{rate}` is not a limit: write a number, `/` and a unit of time, as in `1000/day`"
            ));
        };
        let numeral = Numeral::parse(limit);
        let limit = match numeral.as_ref().and_then(Units::from_numeral) {
            Some(Units(0)) => {
                return Err("a limit of 0 allows nothing: remove the policy".to_owned());
            }
            Some(limit) if counted == Counted::Calls && limit.0 % Units::ONE.0 != 0 => {
                return Err(format!("`{limit}` is not a whole number of calls"));
            }
            Some(limit) => limit,
            None => {
                return Err(format!(
                    "`{limit}` is not a limit: write a positive number of at most four digits \
                     after the point"
                ));
            }
        };
        let units = || UNITS.map(|(name, _)| name).into_iter();
        let Some((unit, seconds)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
            return Err(unknown("unit of time", unit, units()));
        };
        let scopes = || BudgetScope::ALL.map(BudgetScope::as_str).into_iter();
        let mut known = BudgetScope::ALL.into_iter();
        let Some(scope) = known.find(|known| known.as_str() == scope) else {
            return Err(unknown("scope of a budget", scope, scopes()));
        };
        Ok(Self {
            policy: Arc::clone(policy),
            counted,
            limit,
            unit,
            seconds,
            scope,
            is_redacted: false,
        })
    }
}

/// Checks a path of the context: keys with dots between them.
fn checked_path(path: &str) -> Result<String, String> {
    if path == "context" || path.starts_with("context.") {
        return Err(format!(
            "`{path}` starts with `context`: write the path within the context"
        ));
    }
    if path.split('.').any(str::is_empty) || path.chars().any(char::is_control) {
        return Err(format!(
            "`{path}` is not a path: write the keys of the context with dots between them, as \
             in `order.total`"
        ));
    }
    if path.chars().count() > MAX_PATH {
        return Err(format!("a path has more than {MAX_PATH} characters"));
    }
    Ok(path.to_owned())
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let meant = match nearest(word, known.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("use `{}`", known.collect::<Vec<_>>().join("`, `")),
    };
    format!("`{word}` is not a {what}: {meant}")
}
