//! `atlasent policy coverage`: which policies the cases of `atlasent policy test` decide.

mod actions;
mod lcov;
mod text;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use atlasent_authority::Policies;
use atlasent_authority::policy::{Explanation, PolicyText};
use clap::Args;
use serde_json::{Value, json};

use self::actions::Actions;
use super::load;
use super::suite::Suite;
use super::test::CaseResult;
use crate::exit::Failure;
use crate::json;
use crate::output::Output;

/// Show which policies the cases of `policy test` decide, line by line
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy coverage policies
  atlasent policy coverage policies --tests more.json --fail-under 90 --lcov coverage.info
  atlasent policy coverage policies --sites sites.json --json

Prints each policy file with the number of cases that each policy decided in front of its lines; `!` marks the policies
that decided no case. A policy decides a case if it is one of the policies that made the decision.

A file of --sites holds the JSON of `atlasent::sites()` or of a `RouteTable`, as `serde_json` writes it. The report then
names the actions that no code performs, and the actions in code that no policy can allow.

The exit code is 1 if a case fails, if an action lacks code or a policy, or if the percentage of the policies that
decided a case is below --fail-under.")]
pub(crate) struct Coverage {
    /// The directory that holds the `*.cedar` files
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// A JSON file with test cases; may be repeated [default: `tests.json` in DIR]
    #[arg(long, value_name = "FILE")]
    tests: Vec<PathBuf>,

    /// A JSON file with the sites or routes of a program; may be repeated
    #[arg(long, value_name = "FILE")]
    sites: Vec<PathBuf>,

    /// Write the coverage to this file in the format of lcov
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,

    /// Fail with exit code 1 if fewer percent of the policies decided a case
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_under: Option<f64>,

    /// Print the coverage as one JSON object
    #[arg(long)]
    json: bool,
}

/// Evaluates every case, and reports which policies decided it.
pub(crate) fn run(arguments: &Coverage) -> Result<Output, Failure> {
    let directory = &arguments.directory;
    let policies = load(directory)?;
    let actions = match arguments.sites.as_slice() {
        [] => None,
        files => Some(Actions::read(files, &policies)?),
    };
    let report = Report::new(arguments, &policies, actions)?;
    if let Some(file) = &arguments.lcov {
        fs::write(file, lcov::render(&report)).map_err(|error| {
            let shown = file.display();
            Failure::misuse(format!("cannot write `{shown}`: {error}"))
        })?;
    }
    let output = Output::new(if arguments.json {
        json::for_stdout(&report.json().to_string())
    } else {
        text::render(&report)
    });
    if report.passes() {
        Ok(output)
    } else {
        Err(Failure::NegativeResult(output))
    }
}

/// The coverage of a policy set.
struct Report<'p> {
    files: Vec<FileCoverage<'p>>,
    passed: usize,
    failed: usize,
    actions: Option<Actions>,
    fail_under: Option<f64>,
}

struct FileCoverage<'p> {
    /// The path of the file, from the current directory.
    path: String,
    text: &'p str,
    policies: Vec<PolicyCoverage<'p>>,
}

struct PolicyCoverage<'p> {
    policy: PolicyText<'p>,
    /// How many cases it decided.
    decided: usize,
    /// How many further cases its scope matches.
    evaluated: usize,
    /// Why no request can match the policy.
    unmatchable: Option<String>,
}

impl<'p> Report<'p> {
    fn new(
        arguments: &Coverage,
        policies: &'p Policies,
        actions: Option<Actions>,
    ) -> Result<Self, Failure> {
        let by_default = [arguments.directory.join("tests.json")];
        let tests = match arguments.tests.as_slice() {
            [] => &by_default[..],
            files => files,
        };
        let (mut counts, mut passed, mut failed) = (HashMap::new(), 0, 0);
        for file in tests {
            let suite = Suite::read(file)?;
            for (row, case) in (1..).zip(&suite.cases) {
                let result = CaseResult::new(row, case, policies)?;
                match result.passed() {
                    true => passed += 1,
                    false => failed += 1,
                }
                count(&result.got, &mut counts);
            }
        }
        Ok(Self {
            files: files(&arguments.directory, policies, &counts),
            passed,
            failed,
            actions,
            fail_under: arguments.fail_under,
        })
    }

    fn policies(&self) -> impl Iterator<Item = (&FileCoverage<'p>, &PolicyCoverage<'p>)> {
        let files = self.files.iter();
        files.flat_map(|file| file.policies.iter().map(move |policy| (file, policy)))
    }

    fn decided(&self) -> usize {
        self.policies()
            .filter(|(_, policy)| policy.decided > 0)
            .count()
    }

    /// Returns the percentage of policies that decided a case, with one digit after the point. It
    /// is rounded down, so that 100 means all.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a set has at most 10,000 policies"
    )]
    fn percent(&self) -> f64 {
        let all = self.policies().count().max(1);
        (self.decided() * 1000 / all) as f64 / 10.0
    }

    fn is_below_threshold(&self) -> bool {
        self.fail_under.is_some_and(|least| self.percent() < least)
    }

    fn passes(&self) -> bool {
        let actions = self.actions.as_ref().is_none_or(Actions::is_complete);
        self.failed == 0 && actions && !self.is_below_threshold()
    }

    fn json(&self) -> Value {
        let files: Vec<Value> = self.files.iter().map(FileCoverage::json).collect();
        let json = json!({
            "ok": self.passes(),
            "percent": self.percent(),
            "policies": self.policies().count(),
            "decided": self.decided(),
            "cases": { "passed": self.passed, "failed": self.failed },
            "files": files,
        });
        json::with_member(json, "actions", self.actions.as_ref().map(Actions::json))
    }
}

impl FileCoverage<'_> {
    fn json(&self) -> Value {
        let policies: Vec<Value> = self.policies.iter().map(PolicyCoverage::json).collect();
        json!({ "file": self.path, "policies": policies })
    }

    /// Returns the policy that a line belongs to. Of two on one line, the last.
    fn policy_at(&self, line: usize) -> Option<&PolicyCoverage<'_>> {
        let mut policies = self.policies.iter().rev();
        policies.find(|coverage| {
            let policy = coverage.policy;
            (policy.first_line()..=policy.last_line()).contains(&line)
        })
    }
}

impl PolicyCoverage<'_> {
    fn json(&self) -> Value {
        let json = json!({
            "id": self.policy.id(),
            "first_line": self.policy.first_line(),
            "last_line": self.policy.last_line(),
            "decided": self.decided,
            "evaluated": self.evaluated,
        });
        json::with_member(json, "unmatchable", self.unmatchable.as_deref())
    }
}

/// How many cases a policy decided, and how many more its scope matches.
#[derive(Clone, Copy, Default)]
struct Counts {
    decided: usize,
    evaluated: usize,
}

/// Counts a case. A policy that fails to evaluate denies the request, but decides nothing.
fn count(got: &Explanation, counts: &mut HashMap<String, Counts>) {
    for policy in &got.trace.rules_evaluated {
        let counts = counts.entry(policy.policy_id.clone()).or_default();
        let in_scope = policy
            .stages
            .iter()
            .any(|stage| stage.stage == "scope" && stage.matched);
        if got.errors.is_empty() && got.determining.contains(&policy.policy_id) {
            counts.decided += 1;
        } else if in_scope {
            counts.evaluated += 1;
        }
    }
}

fn files<'p>(
    directory: &Path,
    policies: &'p Policies,
    counts: &HashMap<String, Counts>,
) -> Vec<FileCoverage<'p>> {
    let unmatchable = policies.unmatchable();
    let mut files: Vec<FileCoverage<'p>> = Vec::new();
    for policy in policies.texts() {
        let Counts { decided, evaluated } = counts.get(policy.id()).copied().unwrap_or_default();
        let why = unmatchable.get(policy.id());
        let coverage = PolicyCoverage {
            policy,
            decided,
            evaluated,
            unmatchable: why.map(|problem| problem.message().to_owned()),
        };
        let path = directory.join(policy.file()).display().to_string();
        match files.last_mut() {
            Some(file) if file.path == path => file.policies.push(coverage),
            _ => files.push(FileCoverage {
                path,
                text: policy.file_text(),
                policies: vec![coverage],
            }),
        }
    }
    files
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("use a number from 0 to 100".to_owned()),
    }
}
