//! The report of a proof, as text, as JSON and as cases for `policy test`.

use std::collections::BTreeSet;
use std::path::Path;

use cedar_policy::PolicyId;
use serde_json::{Value, json};

use super::counterexample::Counterexample;
use super::proof::Answer;
use super::side::Side;
use crate::exit::Failure;
use crate::files;
use crate::json;
use crate::output::{Output, escaped};

/// All answers, in the order of the questions.
#[derive(Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    /// What the proofs rest on besides the policies, the schema and the entities.
    assumptions: BTreeSet<String>,
    /// What no proof is about, though the sets differ in it.
    not_compared: BTreeSet<String>,
}

/// A claim about one action, and whether it is proved.
struct Finding {
    claim: Claim,
    action: String,
    answer: Answer,
}

/// What is to be proved.
pub(super) enum Claim {
    /// A policy of a set never fails to evaluate.
    NeverErrs { set: &'static str, policy: String },
    /// A set allows nothing that another one denies.
    AllowsNoMore {
        inner: &'static str,
        outer: &'static str,
    },
}

impl Claim {
    fn text(&self) -> String {
        match self {
            Self::NeverErrs { set, policy } => {
                format!("policy `{policy}` of {set} never fails to evaluate")
            }
            Self::AllowsNoMore { inner, outer } => {
                format!("{inner} allows nothing that {outer} denies")
            }
        }
    }

    /// Returns the opposite, which a counterexample shows.
    fn refuted(&self) -> String {
        match self {
            Self::NeverErrs { set, policy } => {
                format!("policy `{policy}` of {set} can fail to evaluate")
            }
            Self::AllowsNoMore { inner, outer } => {
                format!("{inner} allows what {outer} denies")
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::NeverErrs { set, policy } => {
                json!({ "claim": "never_errs", "set": set.to_lowercase(), "policy": policy })
            }
            Self::AllowsNoMore { inner, outer } => json!({
                "claim": "allows_no_more",
                "set": inner.to_lowercase(),
                "than": outer.to_lowercase(),
            }),
        }
    }
}

impl Report {
    pub(super) fn add(&mut self, claim: Claim, action: &str, answer: Answer) {
        let action = action.to_owned();
        self.findings.push(Finding {
            claim,
            action,
            answer,
        });
    }

    /// Adds what a proof rests on: under Cedar's semantics, each entity exists, and has the
    /// attributes that the schema requires.
    pub(super) fn assume(&mut self, required: BTreeSet<(String, String)>) {
        let assumptions = required.into_iter().map(|(entity_type, attribute)| {
            format!(
                "each `{entity_type}` of which a policy reads `{attribute}` is in the entities, since the schema requires it; nothing is proved about others"
            )
        });
        self.assumptions.extend(assumptions);
    }

    /// Adds the budgets of `outer` that `inner` does not have. A budget denies what a policy
    /// allows, and its sums are no part of a request.
    pub(super) fn set_budgets_aside(&mut self, inner: &Side<'_>, outer: &Side<'_>) {
        let (kept, mut lost) = (inner.budgets(), outer.budgets());
        lost.retain(|id, budget| kept.get(id) != Some(budget));
        let lines = lost.into_iter().map(|(id, budget)| {
            let now = kept.get(id);
            let now = now.map_or("none".to_owned(), |budget| format!("`{budget}`"));
            let (inner, outer) = (inner.name, outer.name);
            format!("the budget of `{id}`: {outer} has `{budget}`, {inner} has {now}")
        });
        self.not_compared.extend(lines);
    }

    /// Whether a policy was asked about, and is not proved to never fail on requests for an action.
    pub(super) fn may_fail(&self, name: &str, id: &PolicyId, about: &str) -> bool {
        let id: &str = id.as_ref();
        self.findings.iter().any(|finding| match finding {
            Finding {
                claim: Claim::NeverErrs { set, policy },
                action,
                answer: Answer::Counterexample(_) | Answer::Undecided(_),
            } => *set == name && policy == id && action == about,
            _ => false,
        })
    }

    /// Returns a counterexample to another claim about an action, which one set allows and another
    /// one denies.
    pub(super) fn told_apart(
        &self,
        inner: &Side<'_>,
        outer: &Side<'_>,
        about: &str,
    ) -> Option<Box<Counterexample>> {
        self.findings
            .iter()
            .find_map(|finding| match &finding.answer {
                Answer::Counterexample(found)
                    if finding.action == about && found.tells_apart(inner, outer) =>
                {
                    Some(found.clone())
                }
                _ => None,
            })
    }

    /// Returns the result of the command: success if everything is proved, a negative result if
    /// there is a counterexample, or else no result.
    /// Cases for `policy test` state what the first side decides.
    pub(super) fn finish(
        &self,
        sides: &[Side<'_>],
        as_json: bool,
        cases: Option<&Path>,
    ) -> Result<Output, Failure> {
        if let Some(file) = cases {
            self.write_cases(file)?;
        }
        let output = Output::new(match as_json {
            true => json::for_stdout(&self.json(sides).to_string()),
            false => self.text(sides),
        });
        if self.has(|answer| matches!(answer, Answer::Counterexample(_))) {
            Err(Failure::NegativeResult(output))
        } else if self.has(|answer| matches!(answer, Answer::Undecided(_))) {
            Err(Failure::Undecided(output))
        } else {
            Ok(output)
        }
    }

    fn has(&self, is: impl Fn(&Answer) -> bool) -> bool {
        self.findings.iter().any(|finding| is(&finding.answer))
    }

    fn count(&self, is: impl Fn(&Finding) -> bool) -> usize {
        self.findings.iter().filter(|finding| is(finding)).count()
    }

    fn text(&self, sides: &[Side<'_>]) -> String {
        let mut lines = Vec::new();
        for finding in &self.findings {
            let (claim, action) = (&finding.claim, &finding.action);
            match &finding.answer {
                // Of the many policies, those that may fail are of interest.
                Answer::Proved if matches!(claim, Claim::NeverErrs { .. }) => {}
                Answer::Proved => {
                    lines.push(format!("proved: `{action}`: {}", claim.text()));
                }
                Answer::Counterexample(counterexample) => {
                    lines.push(format!("counterexample: `{action}`: {}", claim.refuted()));
                    lines.extend(counterexample.lines());
                }
                Answer::Undecided(why) => {
                    lines.push(format!("undecided: `{action}`: {}: {why}", claim.text()));
                }
            }
        }
        let never_errs = |finding: &Finding| matches!(finding.claim, Claim::NeverErrs { .. });
        let proved = |finding: &Finding| matches!(finding.answer, Answer::Proved);
        lines.push(format!(
            "policies that never fail to evaluate, by action: {} of {}",
            self.count(|finding| never_errs(finding) && proved(finding)),
            self.count(never_errs)
        ));
        lines.extend((self.assumptions.iter()).map(|assumption| format!("assumed: {assumption}")));
        lines.extend((self.not_compared.iter()).map(|what| format!("not compared: {what}")));
        for side in sides {
            let policies = side.policies;
            let (name, digest) = (side.name, policies.digest());
            lines.push(format!(
                "{name}: {} policies, digest {digest}",
                policies.len()
            ));
        }
        lines.iter().map(|line| escaped(line) + "\n").collect()
    }

    fn json(&self, sides: &[Side<'_>]) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        let sets: serde_json::Map<String, Value> = (sides.iter())
            .map(|side| {
                let policies = side.policies;
                let set = json!({ "count": policies.len(), "digest": policies.digest() });
                (side.name.to_lowercase(), set)
            })
            .collect();
        json!({
            "proved": !self.has(|answer| !matches!(answer, Answer::Proved)),
            "findings": findings,
            "assumptions": self.assumptions,
            "not_compared": self.not_compared,
            "sets": sets,
        })
    }

    /// Writes the counterexamples. Without one, writes no file.
    fn write_cases(&self, file: &Path) -> Result<(), Failure> {
        let cases = self.findings.iter().filter_map(|finding| {
            let Answer::Counterexample(counterexample) = &finding.answer else {
                return None;
            };
            let (claim, action) = (finding.claim.refuted(), &finding.action);
            Some(counterexample.case(&format!("{action}: {claim}")))
        });
        let cases: Vec<Value> = cases.collect();
        if cases.is_empty() {
            return Ok(());
        }
        let shown = file.display();
        let text = format!("{:#}\n", Value::Array(cases));
        files::write_new(file, &text).map_err(|error| {
            Failure::misuse(format!("cannot write the cases to `{shown}`: {error}"))
        })
    }
}

impl Finding {
    fn json(&self) -> Value {
        let mut json = self.claim.json();
        if let Some(object) = json.as_object_mut() {
            let (result, more) = match &self.answer {
                Answer::Proved => ("proved", None),
                Answer::Counterexample(counterexample) => {
                    let member = ("counterexample", counterexample.json());
                    ("counterexample", Some(member))
                }
                Answer::Undecided(why) => ("undecided", Some(("reason", why.as_str().into()))),
            };
            object.insert("action".to_owned(), self.action.as_str().into());
            object.insert("result".to_owned(), result.into());
            object.extend(more.map(|(name, value)| (name.to_owned(), value)));
        }
        json
    }
}
