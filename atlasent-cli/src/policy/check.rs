//! `atlasent policy check`: everything that is wrong or suspect in a directory of policies.

use std::path::{Path, PathBuf};

use atlasent_authority::Policies;
use atlasent_authority::policy::PolicyProblem;
use clap::Args;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::json;
use crate::output::{Output, harmless};

/// Load policies as an authority does, and print what is wrong or suspect with its place
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy check policies
  atlasent policy check policies --strict --json

One finding a line, as `file:line:column: error: …` or `file:line:column: warning: …`.
An error is what an authority refuses to start with: exit code 1. A folder that does not match its
manifest `policies.sha256` is one. `digest:` is that of the set: servers with the same one decide alike.
A warning is about what is valid and probably a mistake: exit code 0, or 1 with --strict.")]
pub(crate) struct Check {
    /// The directory that holds the `*.cedar` files
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Refuse warnings too
    #[arg(long)]
    strict: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks the policies.
pub(crate) fn run(arguments: &Check) -> Result<Output, Failure> {
    let directory = &arguments.directory;
    if !directory.is_dir() {
        let shown = directory.display();
        return Err(Failure::misuse(format!(
            "`{shown}` is no directory: name the one that holds the `*.cedar` files"
        )));
    }
    let report = Report::of(directory);
    let passes = report.errors() == 0 && !(arguments.strict && report.warnings() > 0);
    let output = Output::new(if arguments.json {
        json::for_stdout(&report.json(passes).to_string())
    } else {
        report.text()
    });
    if passes {
        Ok(output)
    } else {
        Err(Failure::Negative(output))
    }
}

/// What was found.
struct Report {
    /// The set that was loaded; `None` when it is refused.
    set: Option<Set>,
    findings: Vec<Finding>,
}

struct Set {
    policies: usize,
    digest: String,
}

struct Finding {
    severity: &'static str,
    /// The file, as it is found from here.
    file: String,
    problem: PolicyProblem,
}

const ERROR: &str = "error";
const WARNING: &str = "warning";

impl Report {
    fn of(directory: &Path) -> Self {
        let (set, severity, problems) = match Policies::from_dir(directory) {
            Ok(policies) => {
                let mut problems = [policies.warnings().to_vec(), policies.lint()].concat();
                problems.sort_by(|a, b| place(a).cmp(&place(b)));
                let set = Set {
                    policies: policies.len(),
                    digest: policies.digest().to_owned(),
                };
                (Some(set), WARNING, problems)
            }
            Err(error) => (None, ERROR, error.problems().to_vec()),
        };
        let findings = problems.into_iter().map(|problem| Finding {
            severity,
            file: file(directory, problem.source_name()),
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
            None => format!("refused: {}", counted(self.errors(), "error", "errors")),
            Some(Set { policies, digest }) => format!(
                "{}, {}\ndigest: {digest}",
                counted(*policies, "policy", "policies"),
                counted(self.warnings(), "warning", "warnings")
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
        let json = json::with(json, "policies", set.map(|set| set.policies));
        json::with(json, "digest", set.map(|set| set.digest.as_str()))
    }
}

impl Finding {
    fn line(&self) -> String {
        let place = match (self.problem.line(), self.problem.column()) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        };
        let line = format!("{place}: {}: {}", self.severity, self.problem.message());
        harmless(&line) + "\n"
    }

    fn json(&self) -> Value {
        let json = json!({
            "severity": self.severity,
            "file": self.file,
            "message": self.problem.message(),
        });
        let json = json::with(json, "line", self.problem.line());
        json::with(json, "column", self.problem.column())
    }
}

fn place(problem: &PolicyProblem) -> (&str, Option<usize>, Option<usize>) {
    (problem.source_name(), problem.line(), problem.column())
}

/// Problems name the files in the directory without it, and those that cannot be read with it.
fn file(directory: &Path, name: &str) -> String {
    let inside = directory.join(name);
    let is_bare = Path::new(name).components().count() == 1;
    if is_bare && inside.exists() {
        inside.display().to_string()
    } else {
        name.to_owned()
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
