//! What the authority would decide, for lists and for parts of arguments. Nothing runs by such an
//! answer: it mints no permit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use atlasent::error::Code;
use atlasent::wire::{EvaluateRequest, Evaluation};
use atlasent::{AnyAction, Authority, Decision};

use super::Gate;
use crate::caller::Caller;
use crate::refusal::Refusal;
use crate::schema::Requirement;

/// The most answers that are kept.
const MAX_ANSWERS: usize = 10_000;

/// The agent and its actors, the action and the resource of a question.
type Key = (Vec<String>, String, Option<String>);

/// The answers of the last seconds.
#[derive(Debug)]
pub(super) struct ShadowAnswers {
    keep: Duration,
    answers: Mutex<BTreeMap<Key, (Instant, Answer)>>,
}

/// What the authority would decide on a question without arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It would allow it.
    Allowed,
    /// It would let people decide on it.
    Held,
    /// Its answer depends on the arguments or the resource.
    Depends,
    /// It would refuse it, unless a policy is about the resource, which is not known.
    NoPolicy,
    /// It would refuse it.
    No,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Answers of the last seconds will do: for lists.
    Kept,
    /// The authority has to be asked: for calls.
    Fresh,
}

impl ShadowAnswers {
    pub(super) fn new(keep: Duration) -> Self {
        Self {
            keep,
            answers: Mutex::default(),
        }
    }

    fn get(&self, key: &Key) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked, answer) = answers.get(key)?;
        (asked.elapsed() < self.keep).then_some(*answer)
    }

    fn keep(&self, key: Key, answer: Answer) {
        if self.keep.is_zero() {
            return;
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, (asked, _)| asked.elapsed() < self.keep);
        }
        if answers.len() < MAX_ANSWERS {
            answers.insert(key, (Instant::now(), answer));
        }
    }

    /// Forgets all answers.
    pub(super) fn forget(&self) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

impl Gate {
    /// Returns what the authority would decide on each action, in one batch.
    pub(super) async fn would_allow(
        &self,
        actions: &[AnyAction],
        caller: &Caller,
        age: Age,
    ) -> Result<Vec<Answer>, Refusal> {
        let mut answers = Vec::new();
        let mut questions = Vec::new();
        for action in actions {
            let request = EvaluateRequest::new(caller.agent().clone(), action);
            let request = request.map_err(|error| Refusal::from_error(&error, "a list"))?;
            let request = request
                .with_options(self.shared.options.clone())
                .with_actors(caller.actors().iter().cloned())
                .shadow(true);
            let key = key(&request);
            match self.shared.shadow.get(&key).filter(|_| age == Age::Kept) {
                Some(answer) => answers.push(Some(answer)),
                None => {
                    answers.push(None);
                    questions.push(request);
                }
            }
        }
        let mut asked = Vec::new();
        if !questions.is_empty() {
            let evaluations = self.shared.authority.evaluate_all(&questions).await;
            let evaluations = evaluations.map_err(|error| Refusal::from_error(&error, "a list"))?;
            if evaluations.len() != questions.len() {
                return Err(Refusal::unavailable(
                    "AUTHORITY_UNAVAILABLE",
                    "ask again later",
                ));
            }
            for (request, evaluation) in questions.iter().zip(evaluations) {
                let answer = match evaluation {
                    Ok(evaluation) => Answer::from_evaluation(&evaluation),
                    // Such as one on a resource with a long name. A call of it is refused, too.
                    Err(error) if error.code() == Some(Code::BadRequest) => {
                        let action = &request.action_type;
                        tracing::warn!(target: "atlasent_mcp", ?action, %error, "an item of a list is hidden");
                        Answer::No
                    }
                    Err(error) => return Err(Refusal::from_error(&error, "a list")),
                };
                self.shared.shadow.keep(key(request), answer);
                asked.push(answer);
            }
        }
        let mut asked = asked.into_iter();
        let answers = answers
            .into_iter()
            .map(|answer| answer.or_else(|| asked.next()));
        Ok(answers.map(|answer| answer.unwrap_or(Answer::No)).collect())
    }

    /// Returns the required actions that the authority would allow the caller now.
    pub(super) async fn allowed_actions(
        &self,
        requirements: &BTreeSet<Requirement>,
        caller: &Caller,
    ) -> Result<BTreeSet<Requirement>, Refusal> {
        let required = requirements
            .iter()
            .filter_map(|requirement| match requirement {
                Requirement::Action(name) => Some((requirement, name)),
                Requirement::Scope(_) => None,
            });
        let (required, names): (Vec<_>, Vec<_>) = required.unzip();
        let actions = names.into_iter().map(|name| AnyAction::new(name.clone()));
        let actions: Result<Vec<_>, _> = actions.collect();
        let actions =
            actions.map_err(|error| Refusal::from_error(&error, "a part of arguments"))?;
        let answers = self.would_allow(&actions, caller, Age::Fresh).await?;
        let allowed = required.into_iter().zip(answers);
        let allowed = allowed.filter(|(_, answer)| *answer == Answer::Allowed);
        Ok(allowed
            .map(|(requirement, _)| requirement.clone())
            .collect())
    }
}

impl Answer {
    fn from_evaluation(evaluation: &Evaluation) -> Self {
        match (evaluation.decision, evaluation.code.as_deref()) {
            (Decision::Allow, _) => Self::Allowed,
            (Decision::Hold | Decision::Escalate, _) => Self::Held,
            // The policies, or their budgets, read what the question does not have.
            (
                Decision::Deny,
                Some("POLICY_EVALUATION_ERROR" | "REQUEST_NOT_IN_SCHEMA" | "BUDGET_AMOUNT_INVALID"),
            ) => Self::Depends,
            (Decision::Deny, Some("NO_MATCHING_POLICY")) => Self::NoPolicy,
            (Decision::Deny, _) => Self::No,
        }
    }
}

fn key(request: &EvaluateRequest) -> Key {
    let agents = std::iter::once(&request.actor_id).chain(&request.actors);
    (
        agents.map(|agent| agent.as_str().to_owned()).collect(),
        request.action_type.to_string(),
        request.resource_id.clone(),
    )
}
