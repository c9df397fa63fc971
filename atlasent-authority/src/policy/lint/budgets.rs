//! Budgets that no request has a number for, and budgets that start anew when a policy moves.

use super::super::types::{Record, Type};
use super::{Policies, PolicyProblem, Subject};

impl Policies {
    /// Returns the problems of the policies with budgets.
    pub(super) fn suspect_budgets(&self, subjects: &[Subject<'_>]) -> Vec<PolicyProblem> {
        let mut problems = Vec::new();
        for subject in subjects {
            let id = &subject.annotated.id;
            let budgets = &subject.annotated.budgets;
            if !budgets.is_empty() && subject.policy.annotation("id").is_none() {
                let message = format!(
                    "policy `{id}` has a budget and no `@id`: what is used up belongs to its id, \
                     which changes with its place in the file"
                );
                problems.push(subject.problem_at("@budget", message));
            }
            let paths = budgets.iter().filter_map(|budget| budget.path());
            let declared = paths.filter_map(|path| {
                let (action, why) = self.without_number(subject, path)?;
                let message = format!(
                    "policy `{id}` has a budget for `context.{path}`, which {why} in the schema's \
                     action `{action}`: each of its requests is denied"
                );
                Some(subject.problem_at("@budget", message))
            });
            problems.extend(declared);
        }
        problems
    }

    /// Returns an action of the policy in which the schema declares no number at this path, and
    /// what it declares instead.
    fn without_number(&self, subject: &Subject<'_>, path: &str) -> Option<(String, &'static str)> {
        let types = self.context_types.as_ref()?;
        let mut actions = self.matched_actions(&subject.policy);
        actions.find_map(|action| {
            let why = misfit(types.of_action(&action)?, path)?;
            Some((action, why))
        })
    }
}

/// Returns why no number can be at this path of a record. `None` if one can be.
fn misfit(record: &Record, path: &str) -> Option<&'static str> {
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    match (record.get(key).map(|attribute| &attribute.kind), rest) {
        (None, _) => Some("is not declared"),
        (Some(Type::Record(record)), Some(rest)) => misfit(record, rest),
        (Some(Type::Long | Type::Decimal | Type::String), None) => None,
        _ => Some("is not a number"),
    }
}
