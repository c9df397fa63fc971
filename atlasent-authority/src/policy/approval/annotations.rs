//! The approval annotations of a policy: parsed and checked.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use atlasent::Decision;

use super::super::annotations::Statement;
use super::super::error::PolicyProblem;
use super::{ApprovalRule, Approvers, Quorum};
use crate::duration::parse_duration;

/// The annotations that say how people release what a policy holds.
pub(in crate::policy) const APPROVAL_ANNOTATIONS: [&str; 6] = [
    "approvers",
    "quorum",
    "approval_ttl",
    "escalate_to",
    "redact",
    "approval_grants",
];

/// The times that an annotation may state, in seconds: from 1 second to 30 days.
const TIMES: RangeInclusive<u64> = 1..=2_592_000;

/// The maximum number of paths in one `@redact`.
const MAX_PATHS: usize = 64;

/// The maximum length of a path of `@redact`, in characters.
const MAX_PATH: usize = 256;

/// The maximum number of keys in a path of `@redact`. A context nests no deeper.
const MAX_KEYS: usize = 64;

/// The member of a context that is the environment of its request.
const ENVIRONMENT: &str = "environment";

impl Statement {
    /// Parses the approval annotations of the policy `id`, which has this decision. Only a policy
    /// that holds or escalates has a rule.
    pub(in crate::policy) fn approval(
        &self,
        id: &Arc<str>,
        decision: Decision,
    ) -> Result<Option<ApprovalRule>, Vec<PolicyProblem>> {
        if !matches!(decision, Decision::Hold | Decision::Escalate) {
            return self.without_approval().map(|()| None);
        }
        let mut problems = Vec::new();
        let mut rule = ApprovalRule::new(Arc::clone(id));
        if let Some(approvers) = self.parsed("approvers", Approvers::parse, &mut problems) {
            rule.approvers = approvers;
        }
        let people = rule.approvers.people();
        let quorum = |text: &str| Quorum::parse_for(text, people);
        if let Some(quorum) = self.parsed("quorum", quorum, &mut problems) {
            rule.quorum = quorum;
        }
        if let Some(ttl) = self.parsed("approval_ttl", time, &mut problems) {
            rule.ttl = ttl;
        }
        if let Some(steps) = self.parsed("escalate_to", Approvers::parse_steps, &mut problems) {
            rule.escalate_to = steps;
        }
        if let Some(paths) = self.parsed("redact", paths, &mut problems) {
            rule.redact = paths;
        }
        rule.grants = self.parsed("approval_grants", time, &mut problems);
        if problems.is_empty() {
            Ok(Some(rule))
        } else {
            Err(problems)
        }
    }

    /// Returns a problem for each approval annotation, of a policy that holds nothing.
    fn without_approval(&self) -> Result<(), Vec<PolicyProblem>> {
        let written = APPROVAL_ANNOTATIONS.into_iter();
        let problems: Vec<PolicyProblem> = written
            .filter(|name| self.policy.annotation(name).is_some())
            .map(|name| {
                let message = format!(
                    "`@{name}` belongs on a `forbid` with `@decision(\"hold\")` or \
                     `@decision(\"escalate\")`: nothing else waits for a person"
                );
                self.problem_at_annotation(name, message)
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Parses one annotation, if the policy has it, and adds its problem to `problems`.
    fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        problems: &mut Vec<PolicyProblem>,
    ) -> Option<T> {
        let text = self.policy.annotation(name)?;
        let parsed = if text.trim().is_empty() {
            Err("it must not be empty".to_owned())
        } else {
            parse(text)
        };
        parsed
            .map_err(|why| {
                problems.push(self.problem_at_annotation(name, format!("`@{name}`: {why}")));
            })
            .ok()
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if TIMES.contains(&time.as_secs()) {
        return Ok(time);
    }
    Err(format!("`{text}` is not from `1s` to `30d`"))
}

/// Parses dotted paths of context keys, with commas between them.
fn paths(text: &str) -> Result<Vec<String>, String> {
    let paths: Vec<&str> = text.split(',').map(str::trim).collect();
    if paths.len() > MAX_PATHS {
        return Err(format!(
            "{} paths are more than {MAX_PATHS}: name a common parent of some",
            paths.len()
        ));
    }
    for path in &paths {
        if path.split('.').any(|key| key.is_empty()) {
            return Err(format!(
                "`{path}` is not a path: write the keys of the context with dots between them, as \
                 in `card_number, customer.ssn`"
            ));
        }
        if *path == "context" || path.starts_with("context.") {
            return Err(format!(
                "`{path}` starts with `context`: write the path within the context"
            ));
        }
        if *path == ENVIRONMENT {
            return Err(format!(
                "`{path}` cannot be hidden: decisions are listed and recorded with the environment \
                 of their request. Leave it out, and send what is confidential under another key"
            ));
        }
        if path.chars().count() > MAX_PATH || path.split('.').count() > MAX_KEYS {
            return Err(format!(
                "a path has more than {MAX_PATH} characters or {MAX_KEYS} keys: shorten it"
            ));
        }
        if path.chars().any(char::is_control) {
            return Err("a path has a control character: leave it out".to_owned());
        }
    }
    Ok(paths.into_iter().map(str::to_owned).collect())
}
