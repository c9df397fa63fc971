//! The annotations of a Cedar policy: its id, its decision, its reason and code, and when to ask
//! again. Those of approvals are in `approval/annotations.rs`, and that of budgets in `budget.rs`.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use atlasent::Decision;
use cedar_policy::{Effect, Policy, PolicySet};

use super::approval::{APPROVAL_ANNOTATIONS, ApprovalRule};
use super::budget::{BUDGET, Budget};
use super::error::{PolicyProblem, Source};
use super::failure::ReadPaths;
use super::suggest::nearest;

const TEMPLATE: &str =
    "this policy is a template: write entities in place of `?principal` and `?resource`";

/// The longest wait that a policy may request, in seconds: 365 days.
const LONGEST_WAIT: u64 = 31_536_000;

/// The supported annotations, beside those of approvals.
const KNOWN: [&str; 6] = ["id", "decision", "reason", "code", "retry_after", BUDGET];

/// The prefix of annotations for the authors' own use.
const OWN_PREFIX: &str = "x_";

/// A policy as it is written in its source.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) policy: Policy,
    pub(super) source: Arc<Source>,
    /// The bytes of the policy in its source, from the first annotation on.
    pub(super) span: Range<usize>,
    /// The position of the policy in its source, counted from 1.
    nth: usize,
}

/// The facts about a policy that a decision needs, computed once at load.
#[derive(Debug)]
pub(super) struct AnnotatedPolicy {
    pub(super) id: Arc<str>,
    /// What the policy decides when it determines the answer.
    pub(super) decision: Decision,
    pub(super) reason: Option<Arc<str>>,
    /// The reason of a decision for which no determining policy has one.
    pub(super) default_reason: Arc<str>,
    pub(super) code: Option<Arc<str>>,
    /// How long the caller should wait. Only a `forbid` has it.
    pub(super) retry_after: Option<Duration>,
    /// How people release what the policy holds. Only a `forbid` that holds or escalates has it.
    pub(super) approval: Option<ApprovalRule>,
    /// What the permits of the policy may add up to. Only a `permit` has it.
    pub(super) budgets: Vec<Budget>,
    pub(super) source: Arc<Source>,
    pub(super) span: Range<usize>,
    /// The attributes that the policy reads, for the explanation of a failure.
    pub(super) paths: ReadPaths,
}

impl Statement {
    /// Returns the policies of one source, in its order.
    pub(super) fn all_in(source: &Arc<Source>) -> Result<Vec<Self>, Vec<PolicyProblem>> {
        let set: PolicySet = match source.text.parse() {
            Ok(set) => set,
            Err(errors) => return Err(source.problems_of(&errors, None)),
        };
        let policies = set.policies().map(|policy| {
            let text = policy.to_cedar().unwrap_or_else(|| policy.to_string());
            (policy.id(), text, Some(policy))
        });
        let templates = set
            .templates()
            .map(|template| (template.id(), template.to_cedar(), None));
        let mut pieces: Vec<_> = policies.chain(templates).collect();
        // Cedar names the policies `policy0`, `policy1`, … in the order of the text.
        pieces.sort_by_key(|(id, ..)| {
            let id: &str = (*id).as_ref();
            let n = id.strip_prefix("policy").and_then(|n| n.parse().ok());
            n.unwrap_or(usize::MAX)
        });

        let (mut statements, mut problems, mut end) = (Vec::new(), Vec::new(), 0);
        for (nth, (_, text, policy)) in (1..).zip(pieces) {
            let start = find(&source.text, &text, end);
            end = start + text.len();
            let Some(policy) = policy.cloned() else {
                problems.push(source.problem_at(start, TEMPLATE));
                continue;
            };
            statements.push(Self {
                policy,
                source: Arc::clone(source),
                span: start..end,
                nth,
            });
        }
        if problems.is_empty() {
            Ok(statements)
        } else {
            Err(problems)
        }
    }

    /// Parses and checks the annotations.
    pub(super) fn annotated(&self) -> Result<AnnotatedPolicy, Vec<PolicyProblem>> {
        let mut problems = self.unknown_annotations();
        let mut text_of = |name: &str| match self.policy.annotation(name) {
            Some(text) if text.trim().is_empty() => {
                problems
                    .push(self.problem_at_annotation(name, format!("`@{name}` must not be empty")));
                None
            }
            text => text.map(Arc::<str>::from),
        };
        let (id, reason, code) = (text_of("id"), text_of("reason"), text_of("code"));
        let decision = self.decision().map_err(|problem| problems.push(problem));
        let retry_after = self.retry_after().map_err(|problem| problems.push(problem));
        let id = id.unwrap_or_else(|| format!("{}#{}", self.source.name, self.nth).into());
        let budgets = self.budgets(&id).map_err(|problem| problems.push(problem));
        // Where the decision is wrong, the approval annotations may be right.
        let approval = decision.map(|decision| {
            let approval = self.approval(&id, decision);
            approval.map_err(|found| problems.extend(found))
        });
        let (Ok(decision), Ok(retry_after), Ok(budgets), Ok(Ok(approval)), true) = (
            decision,
            retry_after,
            budgets,
            approval,
            problems.is_empty(),
        ) else {
            return Err(problems);
        };

        let verb = if decision == Decision::Allow {
            "permitted"
        } else {
            "forbidden"
        };
        Ok(AnnotatedPolicy {
            default_reason: format!("{verb} by policy `{id}`").into(),
            id,
            decision,
            reason,
            code,
            retry_after,
            approval,
            budgets,
            source: Arc::clone(&self.source),
            span: self.span.clone(),
            paths: ReadPaths::default(),
        })
    }

    /// Returns a problem for each unknown annotation. Ignoring a misspelt one would change what the
    /// policy decides.
    fn unknown_annotations(&self) -> Vec<PolicyProblem> {
        let mut names: Vec<&str> = self.policy.annotations().map(|(name, _)| name).collect();
        let known = || KNOWN.into_iter().chain(APPROVAL_ANNOTATIONS);
        names.retain(|name| !name.starts_with(OWN_PREFIX) && known().all(|known| known != *name));
        let mut problems: Vec<PolicyProblem> = (names.into_iter())
            .map(|name| {
                let message = if let Some(meant) = nearest(name, known()) {
                    format!("unknown annotation `@{name}`: did you mean `@{meant}`?")
                } else {
                    format!(
                        "unknown annotation `@{name}`: use `@{}`, or for data of your own a name \
                         that starts with `{OWN_PREFIX}`, as in `@{OWN_PREFIX}{name}`",
                        known().collect::<Vec<_>>().join("`, `@")
                    )
                };
                self.problem_at_annotation(name, message)
            })
            .collect();
        problems.sort_by_key(|problem| (problem.line(), problem.column()));
        problems
    }

    fn decision(&self) -> Result<Decision, PolicyProblem> {
        let message = match (self.policy.effect(), self.policy.annotation("decision")) {
            (Effect::Permit, None) => return Ok(Decision::Allow),
            (Effect::Forbid, None | Some("deny")) => return Ok(Decision::Deny),
            (Effect::Forbid, Some("hold")) => return Ok(Decision::Hold),
            (Effect::Forbid, Some("escalate")) => return Ok(Decision::Escalate),
            (Effect::Permit, Some(_)) => {
                "`@decision` belongs on a `forbid`: a `permit` always allows".to_owned()
            }
            (Effect::Forbid, Some(word)) => {
                format!("unknown decision `{word}`: use `deny`, `escalate` or `hold`")
            }
        };
        Err(self.problem_at_annotation("decision", message))
    }

    fn retry_after(&self) -> Result<Option<Duration>, PolicyProblem> {
        let message = match (self.policy.effect(), self.policy.annotation("retry_after")) {
            (_, None) => return Ok(None),
            (Effect::Permit, Some(_)) => {
                "`@retry_after` belongs on a `forbid`: a `permit` leaves nothing to wait for"
                    .to_owned()
            }
            (Effect::Forbid, Some(text)) => match seconds(text) {
                Some(wait) => return Ok(Some(wait)),
                None => format!(
                    "`@retry_after` cannot be `{text}`: use whole seconds from `1` to `{LONGEST_WAIT}`"
                ),
            },
        };
        Err(self.problem_at_annotation("retry_after", message))
    }

    pub(super) fn problem_at_annotation(&self, name: &str, message: String) -> PolicyProblem {
        let text = self.source.text.get(self.span.clone()).unwrap_or_default();
        let offset = annotation_offset(text, name).unwrap_or(0);
        self.source.problem_at(self.span.start + offset, message)
    }
}

/// Parses the seconds of `Retry-After` (RFC 9110, 10.2.3): digits only, where Rust would accept
/// `+5` as well.
fn seconds(text: &str) -> Option<Duration> {
    let only_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|_| only_digits)?;
    (1..=LONGEST_WAIT)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

/// Returns the offset of `piece` in `text`, at or after `from`. Only blanks and comments are
/// between two policies. A comment can quote the next policy, so they are skipped before the
/// search.
fn find(text: &str, piece: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let start = text.len() - skip_blanks(rest).len();
    let found = text.get(start..).and_then(|rest| rest.find(piece));
    start + found.unwrap_or(0)
}

/// Returns the offset of `@name` in the text of a policy that Cedar has parsed.
fn annotation_offset(policy: &str, name: &str) -> Option<usize> {
    let mut rest = skip_blanks(policy);
    loop {
        let start = policy.len() - rest.len();
        let from_key = skip_blanks(rest.strip_prefix('@')?);
        let after_key =
            from_key.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if from_key.strip_suffix(after_key) == Some(name) {
            return Some(start);
        }
        rest = skip_blanks(after_key);
        if let Some(value) = rest.strip_prefix('(') {
            let after_value = skip_blanks(skip_string(skip_blanks(value))?);
            rest = skip_blanks(after_value.strip_prefix(')')?);
        }
    }
}

/// Returns the text without the white space and the comments at its start.
fn skip_blanks(text: &str) -> &str {
    let mut rest = text.trim_start();
    while rest.starts_with("//") {
        rest = rest
            .split_once('\n')
            .map_or("", |(_, next)| next)
            .trim_start();
    }
    rest
}

/// Returns the text behind the string literal at its start.
fn skip_string(text: &str) -> Option<&str> {
    let mut characters = text.strip_prefix('"')?.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '"' => return Some(characters.as_str()),
            _ => {}
        }
    }
    None
}
