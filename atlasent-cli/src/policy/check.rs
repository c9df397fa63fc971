//! `atlasent policy check`: syntax, schema, and what is probably a mistake.

use std::path::PathBuf;

use atlasent_authority::{Policies, PolicyProblem};
use clap::Args;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::json;
use crate::output::{Output, harmless};

/// Check the policies of a folder: syntax, schema, annotations, and what is probably a mistake
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy check policies
  atlasent policy check /etc/atlasent/policies --strict --json

What an authority refuses is an error; what is probably a mistake is a warning: a `forbid` that cannot be evaluated
where a key is missing (which denies), an action that nobody else names, a rule that applies to everything. Exit code
0: an authority takes them; 1: it refuses them, or with `--strict` there are warnings.")]
pub(super) struct Check {
    /// The folder of the policies
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Let warnings fail the check, too
    #[arg(long)]
    strict: bool,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks the policies.
pub(super) fn run(arguments: &Check) -> Result<Output, Failure> {
    let checked = Policies::from_dir(&arguments.folder);
    let (policies, errors, warnings) = match &checked {
        Ok(policies) => {
            let mut warnings = policies.warnings().to_vec();
            for found in policies.lint() {
                if !warnings.contains(&found) {
                    warnings.push(found);
                }
            }
            (policies.len(), Vec::new(), warnings)
        }
        Err(error) => (0, error.problems().to_vec(), Vec::new()),
    };
    let good = errors.is_empty() && (warnings.is_empty() || !arguments.strict);
    let text = match arguments.json {
        true => {
            let result = json!({
                "ok": good,
                "policies": policies,
                "errors": errors.iter().map(as_json).collect::<Vec<_>>(),
                "warnings": warnings.iter().map(as_json).collect::<Vec<_>>(),
            });
            json::for_stdout(&result.to_string())
        }
        false => as_text(policies, &errors, &warnings),
    };
    match good {
        true => Ok(Output::new(text)),
        false => Err(Failure::report(text)),
    }
}

fn as_text(policies: usize, errors: &[PolicyProblem], warnings: &[PolicyProblem]) -> String {
    let mut text = String::new();
    for (kind, problems) in [("error", errors), ("warning", warnings)] {
        for problem in problems {
            let place = match (problem.line(), problem.column()) {
                (Some(line), Some(column)) => format!("{}:{line}:{column}", problem.source_name()),
                _ => problem.source_name().to_owned(),
            };
            let message = harmless(problem.message());
            text.push_str(&format!("{}: {kind}: {message}\n", harmless(&place)));
        }
    }
    let summary = match errors.len() {
        0 => format!(
            "{}, {}",
            count(policies, "policy", "policies"),
            count(warnings.len(), "warning", "warnings")
        ),
        errors => format!("refused: {}", count(errors, "error", "errors")),
    };
    text.push_str(&summary);
    text.push('\n');
    text
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn as_json(problem: &PolicyProblem) -> Value {
    json!({
        "source": problem.source_name(),
        "line": problem.line(),
        "column": problem.column(),
        "message": problem.message(),
    })
}
