//! Budgets: how much the permits of a policy may add up to in a time (`@budget`).
//!
//! A budget is a sliding window, as a rate of a token is: `amount 1000/day per agent` lets the
//! amounts of an agent's permits add up to 1,000 in any 24 hours. What is used up is in
//! `ledger/budget.rs`.

use std::fmt;
use std::sync::Arc;

use atlasent::wire::{EvaluateRequest, WrittenNumbers};
use cedar_policy::{Effect, PolicyId};
use serde_json::Value;

use super::Policies;
use super::annotations::Statement;
use super::error::PolicyProblem;
use super::number::Numeral;
use super::suggest::nearest;

/// The annotation of a budget.
pub(super) const BUDGET: &str = "budget";

/// The maximum number of budgets of one policy.
const MAX_BUDGETS: usize = 8;

/// The maximum length of a path, in characters.
const MAX_PATH: usize = 256;

/// The names of the units of time, with their lengths in seconds.
const UNITS: [(&str, u32); 4] = [
    ("second", 1),
    ("minute", 60),
    ("hour", 3_600),
    ("day", 86_400),
];

/// A part of a budget: a number with at most four digits after the point, in ten-thousandths. So
/// sums are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Units(pub(crate) u64);

impl Units {
    const DIGITS: i64 = 4;
    /// One whole.
    pub(crate) const ONE: Self = Self(10_000);

    /// Converts a number. Returns `None` for a negative one, and for one with more digits than four
    /// after the point or some fifteen before it.
    fn from_numeral(numeral: &Numeral<'_>) -> Option<Self> {
        let scaled = numeral.scaled(Self::DIGITS)?;
        u64::try_from(scaled).ok().map(Self)
    }
}

/// Writes a decimal number without trailing zeros: `19.99`, `1000`.
impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / Self::ONE.0, self.0 % Self::ONE.0);
        write!(f, "{whole}")?;
        if fraction == 0 {
            return Ok(());
        }
        let digits = format!("{fraction:04}");
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}

/// One budget of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// The id of the policy.
    pub(crate) policy: Arc<str>,
    counted: Counted,
    pub(crate) limit: Units,
    unit: &'static str,
    /// The length of the window in seconds.
    pub(crate) seconds: u32,
    pub(crate) scope: BudgetScope,
}

/// What a budget adds up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Counted {
    /// One for each permit.
    Calls,
    /// The number at this path of the context.
    Value(String),
}

/// Who shares a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BudgetScope {
    /// Each agent has the budget, and its delegates share it.
    Agent,
    /// Each resource has the budget, whichever agent uses it.
    Resource,
    /// All agents of the organization share the budget.
    Organization,
}

impl BudgetScope {
    const ALL: [Self; 3] = [Self::Agent, Self::Resource, Self::Organization];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Resource => "resource",
            Self::Organization => "organization",
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calls => "calls",
            Self::Value(path) => path,
        })
    }
}

/// Writes the budget as a policy does: `amount 1000/day per agent`.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            counted,
            limit,
            unit,
            scope,
            ..
        } = self;
        write!(f, "{counted} {limit}/{unit} per {}", scope.as_str())
    }
}

impl Budget {
    /// Returns what is counted, which tells the budgets of one policy apart, with unit and scope.
    pub(crate) fn counted(&self) -> String {
        self.counted.to_string()
    }

    /// Returns the path of the number that the budget adds up. `None` if it counts calls.
    pub(super) fn path(&self) -> Option<&str> {
        match &self.counted {
            Counted::Calls => None,
            Counted::Value(path) => Some(path),
        }
    }

    /// Returns what a permit for `request` takes from the budget.
    ///
    /// # Errors
    ///
    /// The reason, for people, if the request has no such number. It quotes no value.
    pub(crate) fn amount(&self, request: &EvaluateRequest) -> Result<Units, String> {
        let Counted::Value(path) = &self.counted else {
            return Ok(Units::ONE);
        };
        let invalid = |why: &str| {
            let policy = &self.policy;
            Err(format!(
                "`context.{path}` {why}, and policy `{policy}` has a budget for it"
            ))
        };
        let Some(value) = value_at(request, path) else {
            return invalid("is missing");
        };
        let Some(numeral) = value.numeral() else {
            return invalid("is not a number");
        };
        match Units::from_numeral(&numeral) {
            Some(units) => Ok(units),
            None if numeral.is_negative() => invalid("is negative"),
            None => invalid("is too large, or has more than four digits after the point"),
        }
    }

    fn parse(policy: &Arc<str>, text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [counted, rate, "per", scope] = *words else {
            return Err(format!(
                "`{text}` is no budget: write what is counted, a limit with its unit of time, and \
                 who shares it, as in `amount 1000/day per agent` or `calls 100/hour per \
                 organization`"
            ));
        };
        let counted = match counted {
            "calls" => Counted::Calls,
            path => Counted::Value(checked_path(path)?),
        };
        let Some((limit, unit)) = rate.split_once('/') else {
            return Err(format!(
                "`{rate}` is no limit: write a number, `/` and a unit of time, as in `1000/day`"
            ));
        };
        let numeral = Numeral::parse(limit);
        let limit = match numeral.as_ref().and_then(Units::from_numeral) {
            Some(Units(0)) => {
                return Err("a limit of 0 allows nothing: remove the policy".to_owned());
            }
            Some(limit) if counted == Counted::Calls && limit.0 % Units::ONE.0 != 0 => {
                return Err(format!("`{limit}` calls are no whole number of calls"));
            }
            Some(limit) => limit,
            None => {
                return Err(format!(
                    "`{limit}` is no limit: write a positive number of at most four digits after \
                     the point"
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
        })
    }
}

impl Policies {
    /// Returns the budgets of the policies with these ids.
    pub(crate) fn budgets(&self, ids: &[Arc<str>]) -> impl Iterator<Item = &Budget> {
        let policies = ids
            .iter()
            .filter_map(|id| self.by_id.get(&PolicyId::new(id)));
        policies.flat_map(|annotated| &annotated.budgets)
    }

    /// Returns all budgets, by the ids of their policies.
    #[cfg(feature = "console")]
    pub(crate) fn all_budgets(&self) -> Vec<&Budget> {
        let mut budgets: Vec<_> = (self.by_id.values())
            .flat_map(|annotated| &annotated.budgets)
            .collect();
        budgets.sort_by(|one, other| one.policy.cmp(&other.policy));
        budgets
    }
}

impl Statement {
    /// Parses the `@budget` of the policy `id`. Only a `permit` has one.
    pub(super) fn budgets(&self, id: &Arc<str>) -> Result<Vec<Budget>, PolicyProblem> {
        let Some(text) = self.policy.annotation(BUDGET) else {
            return Ok(Vec::new());
        };
        if self.policy.effect() == Effect::Forbid {
            let message = "`@budget` belongs on a `permit`: a `forbid` allows nothing to count";
            return Err(self.problem_at_annotation(BUDGET, message.to_owned()));
        }
        let parsed = parse_all(id, text);
        parsed.map_err(|why| self.problem_at_annotation(BUDGET, format!("`@{BUDGET}`: {why}")))
    }
}

fn parse_all(policy: &Arc<str>, text: &str) -> Result<Vec<Budget>, String> {
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

/// Checks a path of the context: keys with dots between them.
fn checked_path(path: &str) -> Result<String, String> {
    if path == "context" || path.starts_with("context.") {
        return Err(format!(
            "`{path}` starts with `context`: write the path inside of the context"
        ));
    }
    if path.split('.').any(str::is_empty) || path.chars().any(char::is_control) {
        return Err(format!(
            "`{path}` is no path: write the keys of the context with dots between them, as in \
             `order.total`"
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
    format!("`{word}` is no {what}: {meant}")
}

/// The value that a budget adds up, as it was written.
enum WrittenValue {
    /// The text of a JSON value that is no string.
    Json(String),
    /// The content of a string.
    Text(String),
}

impl WrittenValue {
    /// Returns the number that the value is or holds. A string counts as the number that it holds,
    /// as a `decimal` of a schema does.
    fn numeral(&self) -> Option<Numeral<'_>> {
        match self {
            Self::Json(text) => Numeral::parse(text),
            Self::Text(text) => Numeral::parse_in_string(text),
        }
    }
}

/// Returns the value at a path of the context. `None` if it is absent.
fn value_at(request: &EvaluateRequest, path: &str) -> Option<WrittenValue> {
    let mut written = request.context.written_numbers();
    let mut keys = path.split('.');
    let mut found = keys.next().and_then(|key| {
        written = written.and_then(|written| written.member(key));
        request.context.get(key)
    });
    for key in keys {
        written = written.and_then(|written| written.member(key));
        found = found.and_then(|value| value.get(key));
    }
    if let Some(text) = written.and_then(WrittenNumbers::text) {
        return Some(WrittenValue::Json(text.to_owned()));
    }
    match found {
        None | Some(Value::Null) if path == "amount" => {
            let amount = request.options.amount.as_ref();
            amount.map(|amount| WrittenValue::Json(amount.to_string()))
        }
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(WrittenValue::Text(text.clone())),
        Some(value) => Some(WrittenValue::Json(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use atlasent::wire::RequestOptions;
    use atlasent::{Agent, AnyAction, Context};

    use super::*;

    fn parse(text: &str) -> Result<Vec<Budget>, String> {
        parse_all(&"pay".into(), text)
    }

    #[test]
    fn a_budget_is_shown_as_it_is_written() {
        for text in [
            "amount 1000/day per agent",
            "calls 100/hour per organization",
            "order.total 19.99/minute per resource",
            "x 0.0001/second per agent",
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed.len(), 1);
            assert_eq!(parsed[0].to_string(), text);
        }
        let both = parse(" amount  1e3/day per agent,calls 5.0/hour per agent ").unwrap();
        let shown: Vec<_> = both.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["amount 1000/day per agent", "calls 5/hour per agent"]
        );
        assert_eq!(
            (both[0].limit, both[0].seconds),
            (Units(10_000_000), 86_400)
        );
    }

    #[test]
    fn what_is_no_budget_is_refused_with_what_to_write() {
        for (text, says) in [
            ("", "`amount 1000/day per agent`"),
            ("amount", "is no budget"),
            ("1000/day per agent", "is no budget"),
            ("amount 1000/day for agent", "is no budget"),
            ("amount 1000/day per agent,", "is no budget"),
            ("amount 1000 per agent", "as in `1000/day`"),
            ("amount -5/day per agent", "positive number"),
            ("amount ten/day per agent", "positive number"),
            ("amount 0.00001/day per agent", "four digits"),
            ("amount 1e30/day per agent", "positive number"),
            ("amount 0/day per agent", "allows nothing"),
            ("calls 1.5/day per agent", "no whole number"),
            ("calls 5/days per agent", "did you mean `day`?"),
            (
                "calls 5/fortnight per agent",
                "use `second`, `minute`, `hour`, `day`",
            ),
            ("calls 5/day per agents", "did you mean `agent`?"),
            (
                "calls 5/day per user",
                "use `agent`, `resource`, `organization`",
            ),
            ("context.amount 5/day per agent", "inside of the context"),
            ("order..total 5/day per agent", "no path"),
            ("a 5/day per agent, a 6/day per agent", "two limits"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let many = |count: usize| {
            let items: Vec<_> = (0..count)
                .map(|n| format!("k{n} 1/day per agent"))
                .collect();
            parse(&items.join(","))
        };
        assert_eq!(many(MAX_BUDGETS).unwrap().len(), MAX_BUDGETS);
        assert!(many(MAX_BUDGETS + 1).is_err());
        assert!(parse("a 5/day per agent, a 6/hour per agent, a 7/day per resource").is_ok());
    }

    fn taken(path: &str, context: &str, options: RequestOptions) -> Result<String, String> {
        let action = AnyAction::new("pay").unwrap();
        let action = action.with_context(Context::parse(context).unwrap());
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let budget = parse(&format!("{path} 1/day per agent")).unwrap().remove(0);
        let amount = budget.amount(&request.with_options(options));
        amount.map(|units| units.to_string())
    }

    #[test]
    fn an_amount_is_taken_exactly_as_it_is_written() {
        let none = RequestOptions::default;
        for (context, amount) in [
            (r#"{"n": 5}"#, "5"),
            (r#"{"n": 0}"#, "0"),
            (r#"{"n": -0.0}"#, "0"),
            (r#"{"n": 0.1}"#, "0.1"),
            (r#"{"n": 1999e-2}"#, "19.99"),
            (r#"{"n": "0.3"}"#, "0.3"),
            (r#"{"n": 922337203685477.5807}"#, "922337203685477.5807"),
        ] {
            assert_eq!(
                taken("n", context, none()).as_deref(),
                Ok(amount),
                "{context}"
            );
        }
        assert_eq!(
            taken("a.b", r#"{"a": {"b": 2.50}}"#, none()).unwrap(),
            "2.5"
        );
        assert_eq!(taken("calls", "{}", none()).unwrap(), "1");
        assert_eq!(taken("amount", "{}", none().amount(7)).unwrap(), "7");
        assert_eq!(
            taken("amount", r#"{"amount": null}"#, none().amount(7)).unwrap(),
            "7"
        );
    }

    #[test]
    fn an_amount_that_cannot_be_added_up_is_refused_without_its_value() {
        for (context, says) in [
            ("{}", "is missing"),
            (r#"{"n": null}"#, "is missing"),
            (r#"{"n": "many"}"#, "is not a number"),
            (r#"{"n": ""}"#, "is not a number"),
            (r#"{"n": " 5"}"#, "is not a number"),
            (r#"{"n": true}"#, "is not a number"),
            (r#"{"n": [5]}"#, "is not a number"),
            (r#"{"n": {"m": 5}}"#, "is not a number"),
            (r#"{"n": -5}"#, "is negative"),
            (r#"{"n": -0.00001}"#, "is negative"),
            (r#"{"n": -1e300}"#, "is negative"),
            (r#"{"n": "-5"}"#, "is negative"),
            (r#"{"n": 0.00001}"#, "more than four digits"),
            (r#"{"n": "0.00001"}"#, "more than four digits"),
            (r#"{"n": 1e300}"#, "too large"),
            (r#"{"n": 922337203685477.5808}"#, "too large"),
        ] {
            let error = taken("n", context, RequestOptions::default()).unwrap_err();
            assert!(error.contains(says), "{context}: {error}");
            assert!(!error.contains("many") && !error.contains("300"), "{error}");
        }
        let named = RequestOptions::default().amount(5);
        assert!(taken("n", "{}", named).is_err());
    }

    #[test]
    fn a_string_that_programs_read_differently_is_no_amount() {
        // `parseInt` makes 5, 5, 1, 7, 5, 16, 5 and 1 of the first eight.
        for text in [
            "5e-4", "5E-4", "1e3", "007", "+5", "0x10", "5 ", "1_000", "1,000", "5.", ".5", "\t5",
            "٥", "５", "NaN", "Infinity", "5n", "5\u{0}", "--5", "5e", "e5",
        ] {
            let context = serde_json::json!({ "n": text }).to_string();
            let error = taken("n", &context, RequestOptions::default()).unwrap_err();
            assert!(error.contains("is not a number"), "{text}: {error}");
        }
        for (text, amount) in [
            ("5", "5"),
            ("0", "0"),
            ("5.50", "5.5"),
            ("0.0001", "0.0001"),
        ] {
            let context = serde_json::json!({ "n": text }).to_string();
            assert_eq!(
                taken("n", &context, RequestOptions::default()).unwrap(),
                amount
            );
        }
        // A number is read by all in the same way.
        assert_eq!(
            taken("n", r#"{"n": 5e-4}"#, RequestOptions::default()).unwrap(),
            "0.0005"
        );
    }
}
