//! Policies that no request can match.

use std::collections::BTreeMap;

use cedar_policy::{Policy, RequestEnv};
use serde_json::{Value, json};

use super::super::depth::on_large_stack;
use super::super::load::foreign_type;
use super::{Policies, PolicyProblem, Subject, never};

impl Policies {
    /// Finds the policies that no request can match, by id: a `permit` that allows nothing, or a
    /// `forbid` that protects nothing.
    ///
    /// - The scope names an entity type that requests do not have: their principal is an `Agent`,
    ///   their resource a `Resource`, and their action is in no namespace.
    /// - With a schema: no action in the scope applies to an `Agent` and a `Resource`, such as an
    ///   action group without members; or the conditions are false for each request that the schema
    ///   allows.
    /// - The conditions contain a part that is always false and that all of them need: `when {
    ///   false }`, `context.x == 1 && context.x == 2`.
    ///
    /// A policy about a group without members is not found, since the members can change.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::parse(r#"
    ///     @id("off") permit (principal, action == Action::"deploy", resource) when { false };
    /// "#)?;
    /// let found = policies.unmatchable();
    /// assert_eq!(
    ///     found["off"].to_string(),
    ///     "<policies>:2:5: policy `off` matches no request: its conditions are always false"
    /// );
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    #[must_use]
    pub fn unmatchable(&self) -> BTreeMap<String, PolicyProblem> {
        let find = || {
            let subjects = self.subjects();
            let found = subjects.iter().filter_map(|subject| {
                let id = subject.annotated.id.to_string();
                Some((id, self.unmatched(subject)?))
            });
            found.collect()
        };
        // If no thread can be started, its error is the finding.
        on_large_stack(find).unwrap_or_else(|error| {
            let problems = error.problems().iter().cloned();
            let by_source = problems.map(|problem| (problem.source_name().to_owned(), problem));
            by_source.collect()
        })
    }

    /// Returns why no request can match a policy, if none can.
    pub(super) fn unmatched(&self, subject: &Subject<'_>) -> Option<PolicyProblem> {
        let why = foreign_type(&subject.policy, &self.types)
            .or_else(|| self.outside_of_schema(subject))
            .or_else(|| always_false(&subject.json).then(|| ALWAYS_FALSE.to_owned()));
        let Some(why) = why else {
            return never::impossible(subject, self.schema.is_some());
        };
        let annotated = subject.annotated;
        let message = format!("policy `{}` matches no request: {why}", annotated.id);
        Some(annotated.source.problem_at(annotated.span.start, message))
    }

    fn outside_of_schema(&self, subject: &Subject<'_>) -> Option<String> {
        let policy = &subject.policy;
        if self.schema.is_none() || self.matched_actions(policy).next().is_some() {
            return None;
        }
        let mut scope = subject.json.clone();
        scope
            .as_object_mut()?
            .insert("conditions".to_owned(), json!([]));
        let scope = Policy::from_json(None, scope).ok()?;
        let why = match self.matched_actions(&scope).next() {
            Some(_) => "its conditions are false for each request that the schema allows",
            None => {
                "its scope covers no action that the schema declares for an `Agent` and a `Resource`"
            }
        };
        Some(why.to_owned())
    }

    /// Returns the actions for which a policy can match a request that the schema allows. Empty
    /// without a schema.
    pub(super) fn matched_actions(&self, policy: &Policy) -> impl Iterator<Item = String> {
        let environments =
            (self.schema.iter()).flat_map(|schema| policy.get_valid_request_envs(schema));
        environments
            .filter(|environment| self.is_requestable(environment))
            .map(|environment| environment.action().id().unescaped().to_owned())
    }

    fn is_requestable(&self, environment: &RequestEnv) -> bool {
        *environment.principal() == self.types.agent
            && *environment.action().type_name() == self.types.action
            && *environment.resource() == self.types.resource
    }
}

const ALWAYS_FALSE: &str = "its conditions are always false";

/// Returns whether constants alone make a condition false.
fn always_false(policy: &Value) -> bool {
    let conditions = policy.get("conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| {
        let is_unless = condition.get("kind").and_then(Value::as_str) == Some("unless");
        condition.get("body").and_then(constant) == Some(is_unless)
    })
}

/// Returns the value that an expression has whenever it can be evaluated, as far as constants
/// decide it.
fn constant(expression: &Value) -> Option<bool> {
    let (operator, body) = expression.as_object()?.iter().next()?;
    let part = |name: &str| body.get(name).and_then(constant);
    match operator.as_str() {
        "Value" => body.as_bool(),
        "!" => part("arg").map(|value| !value),
        "&&" => match (part("left"), part("right")) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        "||" => match (part("left"), part("right")) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        "if-then-else" => match (part("if"), part("then"), part("else")) {
            (Some(true), then, _) => then,
            (Some(false), _, other) => other,
            (None, then, other) => then.filter(|_| then == other),
        },
        _ => None,
    }
}
