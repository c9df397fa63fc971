//! The report for people: each policy file with counts, then what is missing.

use super::super::check::count_noun;
use super::{FileCoverage, PolicyCoverage, Report};
use crate::output::escaped;

/// Returns the report.
pub(super) fn render(report: &Report<'_>) -> String {
    let mut lines = Vec::new();
    for file in &report.files {
        listing(file, &mut lines);
        lines.push(String::new());
    }
    let undecided = || report.policies().filter(|(_, policy)| policy.decided == 0);
    let never = undecided().filter(|(_, policy)| policy.evaluated == 0);
    section(
        "matched no case:",
        never.map(|found| shown(found, "")),
        &mut lines,
    );
    let evaluated = undecided().filter(|(_, policy)| policy.evaluated > 0);
    let evaluated = evaluated.map(|(file, policy)| {
        let cases = count_noun(policy.evaluated, "case", "cases");
        shown((file, policy), &format!(" ({cases})"))
    });
    section("evaluated, and decided no case:", evaluated, &mut lines);
    if let Some(actions) = &report.actions {
        let without = actions.without_code.iter();
        let without =
            without.map(|action| format!("`{}`, named by {}", action.name, action.source));
        section("actions that no code performs:", without, &mut lines);
        let denied = actions.denied.iter();
        let denied = denied.map(|action| format!("{}: {}", action.name, action.why));
        section(
            "actions in code that are always denied:",
            denied,
            &mut lines,
        );
    }
    let all = report.policies().count();
    lines.push(format!(
        "{} of {} decided a case ({} %); cases: {} passed, {} failed",
        report.decided(),
        count_noun(all, "policy", "policies"),
        report.percent(),
        report.passed,
        report.failed
    ));
    if report.failed > 0 {
        lines.push("`atlasent policy test` shows why cases fail".to_owned());
    }
    if let Some(least) = report.fail_under.filter(|_| report.is_below_threshold()) {
        lines.push(format!(
            "below {least} %: add cases that the listed policies decide"
        ));
    }
    lines.iter().map(|line| escaped(line) + "\n").collect()
}

/// Adds the text of a file. A line of a policy has the number of cases that the policy decided.
fn listing(file: &FileCoverage<'_>, lines: &mut Vec<String>) {
    lines.push(file.path.clone());
    for (number, text) in (1..).zip(file.text.lines()) {
        let (mark, count) = match file.policy_at(number) {
            Some(PolicyCoverage { decided: 0, .. }) => ("!", "0".to_owned()),
            Some(policy) => (" ", policy.decided.to_string()),
            None => (" ", String::new()),
        };
        let text = text.replace('\t', "    ");
        let line = format!("{mark}{count:>5} {number:>5} | {text}");
        lines.push(line.trim_end().to_owned());
    }
}

fn shown((file, coverage): (&FileCoverage<'_>, &PolicyCoverage<'_>), more: &str) -> String {
    let (id, line) = (coverage.policy.id(), coverage.policy.first_line());
    match &coverage.unmatchable {
        Some(why) => format!("{}:{line}: {why}", file.path),
        None => format!("{}:{line}: `{id}`{more}", file.path),
    }
}

fn section(title: &str, found: impl Iterator<Item = String>, lines: &mut Vec<String>) {
    let mut found = found.peekable();
    if found.peek().is_some() {
        lines.push(title.to_owned());
        lines.extend(found.map(|line| format!("  {line}")));
    }
}
