//! The test file of `atlasent policy test`: requests and the expected decisions.
//!
//! The file is deserialized directly into these types, so that unknown and repeated fields are
//! errors: a misspelled expectation would never be checked.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use atlasent::wire::EvaluateRequest;
use atlasent::{Agent, AnyAction, Context, Decision};
use atlasent_authority::policy::{check_fields, parse_amount};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use serde_json::value::RawValue;

use crate::exit::Failure;

/// The test cases of a file, and the directory of the policies if the file names it.
#[derive(Debug, Default)]
pub(super) struct Suite {
    pub(super) policies: Option<PathBuf>,
    pub(super) cases: Vec<Case>,
}

/// A request and the expected decision. An absent `code`, `reason` or `policies` is not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    #[serde(default, deserialize_with = "non_null")]
    pub(super) name: Option<String>,
    agent: Agent,
    #[serde(default)]
    actors: Vec<Agent>,
    action: String,
    #[serde(default, deserialize_with = "non_null")]
    resource: Option<String>,
    #[serde(default, deserialize_with = "context")]
    context: Context,
    #[serde(default, deserialize_with = "non_null")]
    environment: Option<String>,
    #[serde(default, deserialize_with = "amount")]
    amount: Option<Number>,
    pub(super) expect: Decision,
    #[serde(default, deserialize_with = "non_null")]
    pub(super) code: Option<String>,
    #[serde(default, deserialize_with = "non_null")]
    pub(super) reason: Option<String>,
    /// The ids of the determining policies, in any order.
    #[serde(default, deserialize_with = "non_null")]
    pub(super) policies: Option<Vec<String>>,
}

impl Suite {
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let shown = file.display();
        let failure = |error: &dyn fmt::Display| Failure::misuse(format!("`{shown}`: {error}"));
        let text = fs::read_to_string(file).map_err(|error| failure(&error))?;
        let suite: Self = serde_json::from_str(&text).map_err(|error| failure(&error))?;
        if suite.cases.is_empty() {
            return Err(failure(&"the file holds no cases: add at least one"));
        }
        Ok(suite)
    }
}

impl Case {
    /// Builds the request of the case, as an authority receives it.
    pub(super) fn request(&self) -> Result<EvaluateRequest, atlasent::Error> {
        let mut action = AnyAction::new(self.action.clone())?.with_context(self.context.clone());
        if let Some(resource) = &self.resource {
            action = action.with_resource(resource);
        }
        let mut request = EvaluateRequest::new(self.agent.clone(), &action)?;
        request.options.environment.clone_from(&self.environment);
        request.options.amount.clone_from(&self.amount);
        request.actors.clone_from(&self.actors);
        check_fields(&request)?;
        Ok(request)
    }

    /// Returns the name of the case, or its agent and action if it has no name.
    pub(super) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("`{name}`"),
            None => format!("agent `{}`, action `{}`", self.agent, self.action),
        }
    }
}

/// Deserializes an optional field that is present. Refuses `null`, which could be read as "no
/// expectation" or as "expected to be absent".
fn non_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Deserializes a context with the exact text of its numbers, as a server does.
fn context<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Context, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    Context::parse(text.get()).map_err(|error| {
        // Removes the position within the context: serde appends the position in the file.
        let error = error.to_string();
        Error::custom(
            error
                .rsplit_once(" at line ")
                .map_or(&*error, |(why, _)| why),
        )
    })
}

fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Number>, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    parse_amount(text.get()).map(Some).map_err(Error::custom)
}

impl<'de> Deserialize<'de> for Suite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SuiteVisitor)
    }
}

struct SuiteVisitor;

impl<'de> Visitor<'de> for SuiteVisitor {
    type Value = Suite;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of cases, or an object with `policies` and `cases`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, rows: A) -> Result<Suite, A::Error> {
        let policies = None;
        let cases = CasesVisitor.visit_seq(rows)?;
        Ok(Suite { policies, cases })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Suite, A::Error> {
        let (mut policies, mut cases) = (None, None);
        while let Some(key) = members.next_key::<String>()? {
            let repeated = match key.as_str() {
                "policies" => policies.replace(members.next_value()?).is_some(),
                "cases" => cases.replace(members.next_value::<Cases>()?.0).is_some(),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    return Err(Error::unknown_field(&key, &["policies", "cases"]));
                }
            };
            if repeated {
                return Err(Error::custom(format!("duplicate field `{key}`")));
            }
        }
        let cases = cases.ok_or_else(|| Error::missing_field("cases"))?;
        Ok(Suite { policies, cases })
    }
}

struct Cases(Vec<Case>);

impl<'de> Deserialize<'de> for Cases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(CasesVisitor).map(Self)
    }
}

struct CasesVisitor;

impl<'de> Visitor<'de> for CasesVisitor {
    type Value = Vec<Case>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of cases")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Vec<Case>, A::Error> {
        let mut cases = Vec::new();
        loop {
            let row = cases.len() + 1;
            let in_row = |error: &dyn fmt::Display| A::Error::custom(format!("row {row}: {error}"));
            let Some(case) = rows
                .next_element::<Case>()
                .map_err(|error| in_row(&error))?
            else {
                return Ok(cases);
            };
            case.request().map_err(|error| in_row(&error))?;
            cases.push(case);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        serde_json::from_str::<Suite>(json).unwrap_err().to_string()
    }

    const GOOD: &str = r#"{"agent": "a", "action": "b", "expect": "allow"}"#;

    #[test]
    fn a_suite_is_an_array_or_an_object_that_names_its_policies() {
        let array: Suite = serde_json::from_str(&format!("[{GOOD}]")).unwrap();
        assert_eq!((array.cases.len(), array.policies), (1, None));
        let object = format!(r#"{{"policies": "p", "cases": [{GOOD}, {GOOD}]}}"#);
        let object: Suite = serde_json::from_str(&object).unwrap();
        assert_eq!((object.cases.len(), object.policies), (2, Some("p".into())));
    }

    #[test]
    fn misspelled_fields_are_refused_and_every_error_names_its_row() {
        for (row, words) in [
            (
                r#"{"agent": "a", "action": "b", "expct": "deny"}"#,
                "unknown field `expct`",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "Deny"}"#,
                "unknown variant `Deny`",
            ),
            (r#"{"agent": "a", "action": "b"}"#, "missing field `expect`"),
            (
                r#"{"action": "b", "expect": "deny"}"#,
                "missing field `agent`",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "expect": "allow"}"#,
                "duplicate field `expect`",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "code": null}"#,
                "invalid type: null",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "context": []}"#,
                "expected a map",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "context": {"a": 1, "a": 2}}"#,
                "the key `a` is repeated",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "context": {"a": 1e10000}}"#,
                "an exponent of more than 4 digits",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "amount": "5"}"#,
                "`amount` is not a JSON number",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "amount": 5, "context": {"amount": 6}}"#,
                "two different values",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "environment": null}"#,
                "invalid type: null",
            ),
            (
                r#"{"agent": "a", "action": "b", "expect": "deny", "policies": "x"}"#,
                "expected a sequence",
            ),
            (r#"{"agent": "", "action": "b", "expect": "deny"}"#, "agent"),
            (
                r#"{"agent": "a", "action": "", "expect": "deny"}"#,
                "action",
            ),
            ("7", "invalid type: integer `7`"),
        ] {
            let found = error(&format!("[{GOOD},\n{row}]"));
            assert!(
                found.starts_with("row 2: ") && found.contains(words),
                "{row}: {found}"
            );
            assert!(found.contains(" at line 2 "), "{found}");
            assert_eq!(found.matches(" at line ").count(), 1, "{found}");
            let found = error(&format!(r#"{{"cases": [{row}]}}"#));
            assert!(
                found.starts_with("row 1: ") && found.contains(words),
                "{row}: {found}"
            );
        }
        assert!(
            error(r#"{"case": []}"#)
                .starts_with("unknown field `case`, expected `policies` or `cases`")
        );
        assert!(error(r#"{"policies": "p"}"#).starts_with("missing field `cases`"));
        assert!(error(r#"{"cases": [], "cases": []}"#).starts_with("duplicate field `cases`"));
        assert!(error("7").contains("expected an array of cases, or an object"));
    }
}
