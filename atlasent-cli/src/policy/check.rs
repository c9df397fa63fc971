//! `atlasent policy check`: lists the errors and warnings of the policies in a directory.

use std::path::{Path, PathBuf};

use atlasent_authority::Policies;
use atlasent_authority::policy::PolicyProblem;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::json;
use crate::output::{Output, escaped};

/// Load policies as a server does, and print each error and warning with its file, line and column
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy check policies
  atlasent policy check policies --strict --json

Prints one finding per line, as `file:line:column: error: …` or `file:line:column: warning: …`.
An error is a policy set that a server refuses to load, also one that does not match its manifest `policies.sha256`:
exit code 1. A warning is a policy that is valid and probably a mistake: exit code 0, or 1 with --strict.
`digest:` identifies the policy set: servers with the same digest decide alike.")]
pub(crate) struct Check {
    /// The directory that holds the `*.cedar` files
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Fail with exit code 1 also on warnings
    #[arg(long)]
    strict: bool,

    /// Print the findings as one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks the policies.
pub(crate) fn run(arguments: &Check) -> Result<Output, Failure> {
    let directory = &arguments.directory;
    if !directory.is_dir() {
        let shown = directory.display();
        return Err(Failure::misuse(format!(
            "`{shown}` is not a directory: name the directory that holds the `*.cedar` files"
        )));
    }
    let report = Report::from_dir(directory);
    let passes = report.errors() == 0 && !(arguments.strict && report.warnings() > 0);
    let output = Output::new(if arguments.json {
        json::for_stdout(&report.json(passes).to_string())
    } else {
        report.text()
    });
    if passes {
        Ok(output)
    } else {
        Err(Failure::NegativeResult(output))
    }
}

/// The result of loading a directory of policies.
struct Report {
    /// The loaded policy set; `None` if loading failed.
    set: Option<LoadedSet>,
    findings: Vec<Finding>,
}

struct LoadedSet {
    policies: usize,
    digest: String,
}

pub(super) struct Finding {
    severity: &'static str,
    /// The path of the file, from the current directory.
    file: String,
    problem: PolicyProblem,
}

const ERROR: &str = "error";
const WARNING: &str = "warning";

impl Report {
    fn from_dir(directory: &Path) -> Self {
        let (set, severity, problems) = match Policies::from_dir(directory) {
            Ok(policies) => {
                let mut problems = [policies.warnings().to_vec(), policies.lint()].concat();
                problems.sort_by(|a, b| position(a).cmp(&position(b)));
                let set = LoadedSet {
                    policies: policies.len(),
                    digest: policies.digest().to_owned(),
                };
                (Some(set), WARNING, problems)
            }
            Err(error) => (None, ERROR, error.problems().to_vec()),
        };
        let findings = problems.into_iter().map(|problem| Finding {
            severity,
            file: file_path(directory, problem.source_name()),
            problem,
        });
        Self {
            set,
            findings: findings.collect(),
        }
    }

    fn errors(&self) -> usize {
        self.count(ERROR)
    }

    fn warnings(&self) -> usize {
        self.count(WARNING)
    }

    fn count(&self, severity: &str) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }

    fn text(&self) -> String {
        let mut text: String = self.findings.iter().map(Finding::line).collect();
        text.push_str(&match &self.set {
            None => format!("refused: {}", count_noun(self.errors(), "error", "errors")),
            Some(LoadedSet { policies, digest }) => format!(
                "{}, {}\ndigest: {digest}",
                count_noun(*policies, "policy", "policies"),
                count_noun(self.warnings(), "warning", "warnings")
            ),
        });
        text.push('\n');
        text
    }

    fn json(&self, passes: bool) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        let json = json!({
            "ok": passes,
            "errors": self.errors(),
            "warnings": self.warnings(),
            "findings": findings,
        });
        let set = self.set.as_ref();
        let json = json::with_member(json, "policies", set.map(|set| set.policies));
        json::with_member(json, "digest", set.map(|set| set.digest.as_str()))
    }
}

impl Finding {
    /// Creates an error of the policies in a directory.
    pub(super) fn error(directory: &Path, problem: PolicyProblem) -> Self {
        Self {
            severity: ERROR,
            file: file_path(directory, problem.source_name()),
            problem,
        }
    }

    /// Returns the finding as a line of text.
    pub(super) fn line(&self) -> String {
        let position = match (self.problem.line(), self.problem.column()) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        };
        let line = format!("{position}: {}: {}", self.severity, self.problem.message());
        escaped(&line) + "\n"
    }

    fn json(&self) -> Value {
        let json = json!({
            "severity": self.severity,
            "file": self.file,
            "message": self.problem.message(),
        });
        let json = json::with_member(json, "line", self.problem.line());
        json::with_member(json, "column", self.problem.column())
    }
}

fn position(problem: &PolicyProblem) -> (&str, Option<usize>, Option<usize>) {
    (problem.source_name(), problem.line(), problem.column())
}

/// Returns the path of a problem's file. A problem names a file without its directory, except a
/// file that could not be read.
fn file_path(directory: &Path, name: &str) -> String {
    let inside = directory.join(name);
    let is_bare = Path::new(name).components().count() == 1;
    if is_bare && inside.exists() {
        inside.display().to_string()
    } else {
        name.to_owned()
    }
}

pub(super) fn count_noun(count: usize, singular: &str, plural: &str) -> String {
    format!("{count} {}", if count == 1 { singular } else { plural })
}
