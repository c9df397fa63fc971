//! `atlasent policy test`: a table of requests, and what the policies have to decide on them.

use std::fs;
use std::path::{Path, PathBuf};

use atlasent::{Agent, AnyAction, Decision, EvaluateRequest};
use atlasent_authority::{Explanation, Policies};
use clap::Args;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::exit::Failure;
use crate::json;
use crate::output::{Output, harmless};

/// Ask the policies of a folder each question of a table, and compare the answers
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy test policies.test.json --policies policies
  atlasent policy test policies.test.json --json

The table is JSON:
  {
    \"policies\": \"policies\",
    \"cases\": [
      { \"name\": \"a small rollout\", \"agent\": \"deploy-bot\", \"action\": \"deploy.production\",
        \"context\": { \"commit\": \"4f2a9c1\", \"replicas\": 3 }, \"expect\": \"allow\" },
      { \"name\": \"a big one\", \"agent\": \"deploy-bot\", \"action\": \"deploy.production\",
        \"context\": { \"commit\": \"4f2a9c1\", \"replicas\": 500 }, \"expect\": \"hold\" }
    ]
  }
A case may also name a `resource`, and expect a `reason` or the ids of the deciding `policies`. The folder is relative
to the table. Exit code 0: every answer is the expected one; 1: not; 2: the table cannot be read.")]
pub(super) struct Test {
    /// The table
    #[arg(value_name = "FILE")]
    table: PathBuf,

    /// The folder of the policies [default: the one that the table names]
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    policies: Option<PathBuf>,
    cases: Vec<Value>,
}

/// One question, and what is expected of the answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Option<String>,
    agent: String,
    action: String,
    resource: Option<String>,
    #[serde(default)]
    context: Map<String, Value>,
    expect: Decision,
    code: Option<String>,
    reason: Option<String>,
    policies: Option<Vec<String>>,
}

/// Asks all questions.
pub(super) fn run(arguments: &Test) -> Result<Output, Failure> {
    let (folder, cases) = read(&arguments.table)?;
    let folder = arguments.policies.clone().or(folder).ok_or_else(|| {
        Failure::misuse("which policies? name their folder with `--policies`, or in the table")
    })?;
    let policies = super::load(&folder)?;
    let results = cases.iter().map(|case| judge(case, &policies));
    let results: Vec<(String, Vec<Difference>)> = results.collect::<Result<_, _>>()?;
    let failed = results
        .iter()
        .filter(|(_, differences)| !differences.is_empty())
        .count();
    let passed = results.len() - failed;
    let text = match arguments.json {
        true => {
            let cases = results.iter().map(|(name, differences)| {
                let differences = differences.iter().map(Difference::as_json);
                json!({ "name": name, "ok": differences.len() == 0, "differences": differences.collect::<Vec<_>>() })
            });
            let result = json!({
                "ok": failed == 0, "passed": passed, "failed": failed, "cases": cases.collect::<Vec<_>>()
            });
            json::for_stdout(&result.to_string())
        }
        false => as_text(&results, passed, failed),
    };
    match failed {
        0 => Ok(Output::new(text)),
        _ => Err(Failure::report(text)),
    }
}

fn read(path: &Path) -> Result<(Option<PathBuf>, Vec<Case>), Failure> {
    let name = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::misuse(format!("cannot read the table `{name}`: {error}")))?;
    let unreadable = |error| Failure::misuse(format!("`{name}` is no table of cases: {error}"));
    let value: Value = serde_json::from_str(&text).map_err(unreadable)?;
    let table = match value {
        Value::Array(cases) => Table {
            policies: None,
            cases,
        },
        table => serde_json::from_value(table).map_err(unreadable)?,
    };
    if table.cases.is_empty() {
        return Err(Failure::misuse(format!("`{name}` has no cases")));
    }
    let cases = table.cases.into_iter().enumerate().map(|(index, case)| {
        serde_json::from_value(case)
            .map_err(|error| Failure::misuse(format!("`{name}`, case {}: {error}", index + 1)))
    });
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = table.policies.map(|policies| folder.join(policies));
    Ok((folder, cases.collect::<Result<_, _>>()?))
}

/// One thing that is not as it was expected.
struct Difference {
    what: &'static str,
    expected: String,
    got: String,
}

impl Difference {
    fn as_json(&self) -> Value {
        json!({ "what": self.what, "expected": self.expected, "got": self.got })
    }
}

/// The name of a case, and how the answer differs.
fn judge(case: &Case, policies: &Policies) -> Result<(String, Vec<Difference>), Failure> {
    let name = case.name.clone().unwrap_or_else(|| {
        let resource = case
            .resource
            .as_ref()
            .map(|resource| format!(" on {resource}"));
        format!(
            "{} by {}{}",
            case.action,
            case.agent,
            resource.unwrap_or_default()
        )
    });
    let asked = request(case).map_err(|error| Failure::misuse(format!("`{name}`: {error}")))?;
    let answer = policies.explain(&asked);
    let mut differences = Vec::new();
    let mut compare = |what, expected: Option<String>, got: String| {
        if let Some(expected) = expected.filter(|expected| *expected != got) {
            differences.push(Difference {
                what,
                expected,
                got,
            });
        }
    };
    compare(
        "decision",
        Some(case.expect.to_string()),
        answer.decision.to_string(),
    );
    compare(
        "code",
        case.code.clone(),
        answer.code.clone().unwrap_or_default(),
    );
    compare("reason", case.reason.clone(), answer.reason.clone());
    let expected = case.policies.clone().map(|mut ids| {
        ids.sort();
        ids.join(", ")
    });
    compare("policies", expected, answer.determining.join(", "));
    if !differences.is_empty() {
        differences.extend(why(&answer));
    }
    Ok((name, differences))
}

fn request(case: &Case) -> Result<EvaluateRequest, atlasent::Error> {
    let action = AnyAction::new(case.action.clone())?;
    let mut request = EvaluateRequest::new(Agent::new(case.agent.clone())?, &action)?;
    request.resource_id.clone_from(&case.resource);
    request.context = case.context.clone().into();
    Ok(request)
}

/// What helps to understand an answer that was not expected.
fn why(answer: &Explanation) -> Vec<Difference> {
    let said = |what, got: String| Difference {
        what,
        expected: String::new(),
        got,
    };
    let mut why = vec![said("because", answer.reason.clone())];
    if !answer.determining.is_empty() {
        why.push(said("by", answer.determining.join(", ")));
    }
    why.extend(
        answer
            .errors
            .iter()
            .map(|error| said("error", error.clone())),
    );
    why
}

fn as_text(results: &[(String, Vec<Difference>)], passed: usize, failed: usize) -> String {
    let mut text = String::new();
    for (name, differences) in results
        .iter()
        .filter(|(_, differences)| !differences.is_empty())
    {
        text.push_str(&format!("FAILED {}\n", harmless(name)));
        for Difference {
            what,
            expected,
            got,
        } in differences
        {
            let (expected, got) = (harmless(expected), harmless(got));
            text.push_str(&match expected.as_str() {
                "" => format!("    {what}: {got}\n"),
                _ => format!("  - {what}: {expected}\n  + {what}: {got}\n"),
            });
        }
    }
    text.push_str(&format!("{passed} passed, {failed} failed\n"));
    text
}
