//! Lints: probable mistakes in valid policies. They reject nothing.

mod approvals;
mod budgets;
mod conditions;
mod names;
mod never;
mod numbers;
mod outline;
mod path;
mod patterns;
mod reads;
mod undeclared;
mod unmatchable;

use std::collections::HashSet;

use atlasent::Decision;
use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PolicyId, PrincipalConstraint,
    ResourceConstraint, Validator,
};
use serde_json::Value;

use super::annotations::AnnotatedPolicy;
use super::depth::on_large_stack;
use super::{Policies, PolicyProblem};
use path::{AttributePath, Root};
pub(super) use path::{parts, path};
pub(super) use reads::paths;

impl Policies {
    /// Finds probable mistakes, beyond [`warnings`](Self::warnings). No finding rejects a policy.
    ///
    /// - A policy for any action, or for a group of actions, that reads `context.x` without a
    ///   `has`: every request without it is denied as `POLICY_EVALUATION_ERROR`. In a policy that
    ///   names its actions, such a read is the strictest way to require the key, and no finding.
    ///   The same holds for attributes of agents and resources, and for those that no entity has.
    /// - An action that only one policy names, and that looks like a misspelling of another.
    /// - A `permit` or `forbid` that applies to everything.
    /// - A comparison that can never be true: `context.x == 1 && context.x == 2`, an empty range,
    ///   two types at once, `in` with strings, an entity beside a string.
    /// - `context.path like "/sandbox/*"`, which matches `/sandbox/../x`, unless `..` is refused in
    ///   the same attribute.
    /// - Without a schema: an amount, a price or a rate that is compared as an integer, though it
    ///   may have a fraction; the same attribute compared as an integer and as a `decimal`; a
    ///   comparison with a string that looks like a number.
    /// - With a schema: a `has` for an attribute that it does not declare.
    /// - A hold that no approval releases: no `permit` matches its action, agent and resource, or
    ///   fewer people are listed, without the agent itself, than the quorum needs.
    /// - A budget of a policy without an `@id`; with a schema, one for a number that it does not
    ///   declare.
    ///
    /// [`unmatchable`](Self::unmatchable) finds policies that never apply as a whole.
    ///
    /// With a schema, the mistakes of the first two kinds are errors at load, so the lints skip
    /// them.
    ///
    /// ```
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::parse(r#"
    ///     @id("frozen")
    ///     forbid (principal, action, resource) when { context.freeze };
    /// "#)?;
    /// let found = policies.lint();
    /// assert!(found[0].to_string().starts_with("<policies>:3:49: policy `frozen` reads `context.freeze`"));
    /// # Ok::<(), atlasent_authority::policy::PolicyError>(())
    /// ```
    #[must_use]
    pub fn lint(&self) -> Vec<PolicyProblem> {
        // If no thread can be started, its error is the finding.
        on_large_stack(|| self.findings()).unwrap_or_else(|error| error.problems().to_vec())
    }

    fn findings(&self) -> Vec<PolicyProblem> {
        let subjects = self.subjects();
        let mut problems: Vec<PolicyProblem> = subjects
            .iter()
            .filter_map(Subject::applies_to_everything)
            .collect();
        problems.extend(patterns::on_paths(&subjects));
        problems.extend(self.unreleasable(&subjects));
        problems.extend(self.suspect_budgets(&subjects));
        let has_schema = self.schema.is_some();
        for subject in &subjects {
            problems.extend(never::true_comparisons(subject, has_schema));
        }
        if let Some(schema) = &self.schema {
            let validator = Validator::new(schema.clone());
            for subject in &subjects {
                problems.extend(undeclared::attributes(&validator, subject));
            }
        } else {
            problems.extend(numbers::suspect(&subjects));
            let groups = self.action_groups();
            for subject in &subjects {
                problems.extend(self.unguarded(subject, &groups));
            }
            problems.extend(names::misspelled(&subjects, &self.action_names()));
        }
        problems.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
        problems
    }

    /// Returns the policies, by source and position.
    pub(super) fn subjects(&self) -> Vec<Subject<'_>> {
        let policies = self.by_id.values();
        let mut subjects: Vec<Subject<'_>> = policies.filter_map(Subject::from_annotated).collect();
        subjects
            .sort_by_key(|subject| (&subject.annotated.source.name, subject.annotated.span.start));
        subjects
    }

    /// Returns the reads that fail for requests which the policy is probably not about.
    fn unguarded(&self, subject: &Subject<'_>, groups: &HashSet<EntityUid>) -> Vec<PolicyProblem> {
        let reach = reach(&subject.policy.action_constraint(), groups);
        let reads = reads::unguarded(&subject.json);
        (reads.iter())
            .filter_map(|read| {
                let why = match read.root() {
                    Root::Context => missing_in_context(read, reach?),
                    Root::Principal => {
                        let one = match subject.policy.principal_constraint() {
                            PrincipalConstraint::Eq(uid) => Some(uid),
                            _ => None,
                        };
                        self.missing_in_entity(read, one, &self.types.agent, reach)?
                    }
                    Root::Resource => {
                        let one = match subject.policy.resource_constraint() {
                            ResourceConstraint::Eq(uid) => Some(uid),
                            _ => None,
                        };
                        self.missing_in_entity(read, one, &self.types.resource, reach)?
                    }
                };
                let message = format!("policy `{}` reads `{read}` {why}", subject.annotated.id);
                Some(subject.problem_at(&read.to_string(), message))
            })
            .collect()
    }

    fn missing_in_entity(
        &self,
        read: &AttributePath,
        one: Option<EntityUid>,
        type_name: &EntityTypeName,
        reach: Option<&str>,
    ) -> Option<String> {
        let has = |uid: &EntityUid| {
            let entity = self.entities.get(uid);
            entity.is_some_and(|entity| entity.attr(read.attribute()).is_some())
        };
        let known = |uid: &EntityUid| uid.type_name() == type_name && has(uid);
        let lacking = match (one, reach) {
            (Some(one), _) if has(&one) => return None,
            (Some(one), _) => format!("though `{one}` has no such attribute among the entities"),
            (None, _) if !self.entities.iter().any(|entity| known(&entity.uid())) => {
                format!("though no `{type_name}` among the entities has it")
            }
            (None, Some(reach)) => format!("of {reach}, also where the entities lack it"),
            (None, None) => return None,
        };
        Some(format!(
            "{lacking}: such a request is denied as `POLICY_EVALUATION_ERROR`; give the entities the attribute, or guard it \
             with `{} && …`",
            read.guard()
        ))
    }

    /// Returns the actions that have members.
    fn action_groups(&self) -> HashSet<EntityUid> {
        (self.entities.iter())
            .filter(|entity| *entity.uid().type_name() == self.types.action)
            .filter_map(|entity| self.entities.ancestors(&entity.uid()))
            .flatten()
            .cloned()
            .collect()
    }

    fn action_names(&self) -> HashSet<String> {
        (self.entities.iter())
            .map(|entity| entity.uid())
            .filter(|uid| *uid.type_name() == self.types.action)
            .map(|uid| uid.id().unescaped().to_owned())
            .collect()
    }
}

/// A policy with everything that the lints inspect.
pub(super) struct Subject<'p> {
    pub(super) annotated: &'p AnnotatedPolicy,
    pub(super) policy: Policy,
    /// Cedar's JSON form of the policy, the only public one that has the conditions. It has no
    /// positions.
    pub(super) json: Value,
}

impl<'p> Subject<'p> {
    /// Parses the policy again, since the index leaves out policies that no request can match.
    fn from_annotated(annotated: &'p AnnotatedPolicy) -> Option<Self> {
        let text = annotated.source.text.get(annotated.span.clone())?;
        let policy = Policy::parse(Some(PolicyId::new(&annotated.id)), text).ok()?;
        let json = policy.to_json().ok()?;
        Some(Self {
            annotated,
            policy,
            json,
        })
    }

    fn applies_to_everything(&self) -> Option<PolicyProblem> {
        let policy = &self.policy;
        let everything = matches!(policy.principal_constraint(), PrincipalConstraint::Any)
            && matches!(policy.action_constraint(), ActionConstraint::Any)
            && matches!(policy.resource_constraint(), ResourceConstraint::Any)
            && !policy.has_non_scope_constraint();
        let what = match self.annotated.decision {
            Decision::Allow => "permits every agent every action on every resource",
            Decision::Deny => "forbids everything, so that nothing is ever allowed",
            Decision::Hold => "holds everything, so that nothing is allowed without an approval",
            Decision::Escalate => {
                "escalates everything, so that nothing is allowed without an approval"
            }
        };
        everything.then(|| {
            let message = format!(
                "policy `{}` {what}: name an agent, an action or a resource, or add a condition",
                self.annotated.id
            );
            self.annotated
                .source
                .problem_at(self.annotated.span.start, message)
        })
    }

    /// Returns the problem of a comparison that can never be true, with the reason.
    fn suspect(&self, code: &str, why: &str) -> PolicyProblem {
        let message = format!(
            "policy `{}` {why}: this can never be true",
            self.annotated.id
        );
        self.problem_at(code, message)
    }

    /// Returns a problem at the first place in the policy that reads like `code`, or else at the
    /// policy's start.
    pub(super) fn problem_at(&self, code: &str, message: String) -> PolicyProblem {
        let span = self.annotated.span.clone();
        let text = self
            .annotated
            .source
            .text
            .get(span.clone())
            .unwrap_or_default();
        let continues = |end: usize| {
            let next = text.get(end..).and_then(|rest| rest.chars().next());
            next.is_some_and(|next| next.is_alphanumeric() || next == '_')
        };
        let found = (text.match_indices(code))
            .map(|(start, _)| start)
            .find(|start| !continues(start + code.len()) && is_code(text, *start));
        let offset = span.start + found.unwrap_or(0);
        self.annotated.source.problem_at(offset, message)
    }
}

/// Returns what the requests of such a scope are, where the scope covers more than the actions that
/// it names.
fn reach(actions: &ActionConstraint, groups: &HashSet<EntityUid>) -> Option<&'static str> {
    match actions {
        ActionConstraint::Any => Some("requests for any action"),
        ActionConstraint::In(named) if named.iter().any(|uid| groups.contains(uid)) => {
            Some("requests for a whole group of actions")
        }
        ActionConstraint::In(_) | ActionConstraint::Eq(_) => None,
    }
}

fn missing_in_context(read: &AttributePath, reach: &str) -> String {
    let guard = read.guard();
    format!(
        "of {reach}, and one without it is denied as `POLICY_EVALUATION_ERROR`; name the actions, or write `{guard} && …` \
         to pass such a request by, `!({guard}) || …` to meet it"
    )
}

/// Returns whether the byte at `offset` of a policy's text is outside of strings and comments.
fn is_code(text: &str, offset: usize) -> bool {
    let (mut in_string, mut in_comment, mut escaped) = (false, false, false);
    let mut before = '\0';
    for character in text.get(..offset).unwrap_or_default().chars() {
        if in_comment {
            in_comment = character != '\n';
        } else if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else {
            in_string = character == '"';
            in_comment = character == '/' && before == '/';
        }
        before = character;
    }
    !in_string && !in_comment
}

fn place_of(problem: &PolicyProblem) -> (&str, Option<usize>, Option<usize>) {
    (problem.source_name(), problem.line(), problem.column())
}
