//! `atlasent policy test`: compares the decisions of policies with those that a file expects.

use std::path::{Path, PathBuf};

use atlasent_authority::Policies;
use atlasent_authority::policy::Explanation;
use clap::Args;
use serde_json::{Value, json};

use super::load;
use super::suite::{Case, Suite};
use crate::exit::Failure;
use crate::json;
use crate::output::{Output, escaped};

/// Evaluate the requests in a file, and compare the decisions with the expected ones
#[derive(Args)]
#[command(after_help = r#"Examples:
  atlasent policy test policies/tests.json
  atlasent policy test tests.json --policies policies --json

The file holds an array of cases, or {"policies": "DIR, relative to the file", "cases": [...]}. A case:
  {"name": "big rollouts wait", "agent": "deploy-bot", "action": "deploy.production", "resource": "eu-1",
   "context": {"replicas": 500}, "expect": "hold", "code": "NEEDS_MANAGER", "policies": ["big-rollouts-wait"]}

`agent`, `action` and `expect` (allow, deny, hold or escalate) are required. `name`, `actors`, `resource`,
`environment`, `amount` and `context` are optional. `code`, `reason` and `policies` (the ids of the deciding policies)
are compared if they are present. The exit code is 1 if a case fails."#)]
pub(crate) struct Test {
    /// The JSON file with the test cases
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The directory of the policies [default: `policies` in the file]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,

    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

/// Evaluates every case, and reports the failed ones.
pub(crate) fn run(arguments: &Test) -> Result<Output, Failure> {
    let suite = Suite::read(&arguments.file)?;
    let policies = load(&directory(arguments, &suite)?)?;
    let mut results = Vec::new();
    for (row, case) in (1..).zip(&suite.cases) {
        results.push(CaseResult::new(row, case, &policies)?);
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    let output = Output::new(if arguments.json {
        let cases: Vec<Value> = results.iter().map(CaseResult::json).collect();
        let report = json!({ "passed": results.len() - failed, "failed": failed, "cases": cases });
        json::for_stdout(&report.to_string())
    } else {
        let failures = results.iter().filter(|result| !result.passed());
        let failures: String = failures.map(|result| result.text(&policies)).collect();
        format!(
            "{failures}{} passed, {failed} failed\n",
            results.len() - failed
        )
    });
    if failed == 0 {
        Ok(output)
    } else {
        Err(Failure::NegativeResult(output))
    }
}

fn directory(arguments: &Test, suite: &Suite) -> Result<PathBuf, Failure> {
    let parent = arguments.file.parent().unwrap_or(Path::new(""));
    let from_file = suite
        .policies
        .as_ref()
        .map(|policies| parent.join(policies));
    arguments.policies.clone().or(from_file).ok_or_else(|| {
        Failure::misuse(format!(
            "`{}` names no directory of policies: add `policies` to it, or give `--policies <DIR>`",
            arguments.file.display()
        ))
    })
}

/// A case and its actual decision.
pub(super) struct CaseResult<'s> {
    row: usize,
    case: &'s Case,
    pub(super) got: Explanation,
    differences: Vec<Difference>,
}

/// A field of the decision that differs from the expectation. An absent field is `null`.
struct Difference {
    field: &'static str,
    expected: Value,
    got: Value,
}

impl<'s> CaseResult<'s> {
    pub(super) fn new(row: usize, case: &'s Case, policies: &Policies) -> Result<Self, Failure> {
        let request = case.request();
        let request = request.map_err(|error| Failure::misuse(format!("row {row}: {error}")))?;
        let got = policies.explain(&request);
        let differences = differences(case, &got);
        Ok(Self {
            row,
            case,
            got,
            differences,
        })
    }

    pub(super) fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    fn text(&self, policies: &Policies) -> String {
        let mut lines = vec![format!("FAILED row {}: {}", self.row, self.case.title())];
        for Difference {
            field,
            expected,
            got,
        } in &self.differences
        {
            lines.push(format!(
                "  {field}: expected {}, got {}",
                display_value(expected),
                display_value(got)
            ));
        }
        lines.push(format!("  because: {}", self.got.reason));
        for id in &self.got.determining {
            let place = policies.place(id).unwrap_or_default();
            lines.push(format!("  decided by: `{id}` at {place}"));
        }
        lines.extend(
            self.got
                .errors
                .iter()
                .map(|error| format!("  error: {error}")),
        );
        lines.iter().map(|line| escaped(line) + "\n").collect()
    }

    fn json(&self) -> Value {
        let differences: Vec<Value> = (self.differences.iter())
            .map(|d| json!({ "field": d.field, "expected": d.expected, "got": d.got }))
            .collect();
        let got = json!({
            "decision": self.got.decision,
            "reason": self.got.reason,
            "policies": self.got.determining,
            "errors": self.got.errors,
        });
        let got = json::with_member(got, "code", self.got.code.as_deref());
        let json = json!({
            "row": self.row,
            "passed": self.passed(),
            "differences": differences,
            "got": got,
        });
        json::with_member(json, "name", self.case.name.as_deref())
    }
}

fn differences(case: &Case, got: &Explanation) -> Vec<Difference> {
    let sorted = case.policies.clone().map(|mut ids| {
        ids.sort_unstable();
        ids
    });
    let compared = [
        ("decision", Some(json!(case.expect)), json!(got.decision)),
        (
            "code",
            case.code.as_ref().map(|code| json!(code)),
            json!(got.code),
        ),
        (
            "reason",
            case.reason.as_ref().map(|reason| json!(reason)),
            json!(got.reason),
        ),
        (
            "policies",
            sorted.map(|ids| json!(ids)),
            json!(got.determining),
        ),
    ];
    (compared.into_iter())
        .filter_map(|(field, expected, got)| {
            let expected = expected.filter(|expected| *expected != got)?;
            Some(Difference {
                field,
                expected,
                got,
            })
        })
        .collect()
}

/// Formats a value for the text report: a quoted text, a list of ids, or `none`.
fn display_value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(values) if !values.is_empty() => {
            let values: Vec<_> = values.iter().map(display_value).collect();
            values.join(", ")
        }
        _ => "none".to_owned(),
    }
}
