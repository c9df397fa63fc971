//! What the policies know of actions, for `atlasent::testing::coverage`.

use std::collections::HashSet;

use atlasent::Decision;
use atlasent::coverage::PolicyOutline;
use cedar_policy::{ActionConstraint, EntityUid};

use super::super::depth::on_large_stack;
use super::{Policies, Subject, names};

/// The actions that the policies, the schema and the entities name, and the
/// [unmatchable](Policies::unmatchable) policies.
///
/// ```
/// use atlasent::coverage::PolicyOutline;
/// use atlasent_authority::Policies;
///
/// let policies = Policies::parse(r#"
///     permit (principal, action == Action::"deploy", resource);
///     forbid (principal, action == Action::"drop", resource);
/// "#)?;
/// let outline = PolicyOutline::from(&policies);
/// assert_eq!(outline.actions().collect::<Vec<_>>(), ["deploy", "drop"]);
/// assert_eq!(outline.denial("deploy"), None);
/// assert!(outline.denial("drop").is_some() && outline.denial("deplpy").is_some());
/// # Ok::<(), atlasent_authority::policy::PolicyError>(())
/// ```
impl From<&Policies> for PolicyOutline {
    fn from(policies: &Policies) -> Self {
        on_large_stack(|| policies.outline()).unwrap_or_else(|error| {
            let problems = error.problems().iter();
            problems.fold(Self::new(), |outline, problem| {
                outline.unmatchable(problem.to_string())
            })
        })
    }
}

impl Policies {
    fn outline(&self) -> PolicyOutline {
        let subjects = self.subjects();
        let groups = self.action_groups();
        let declared: HashSet<&str> = self.actions().map(|action| action.name()).collect();
        let is_action = |name: &str| match &self.schema {
            Some(_) => declared.contains(name),
            None => !groups.iter().any(|group| self.is_action(group, name)),
        };
        let mut outline = PolicyOutline::new();
        for subject in &subjects {
            let annotated = subject.annotated;
            let place = annotated.source.place(annotated.span.start);
            let source = format!("policy `{}` at {place}", annotated.id);
            for name in names::actions_in(subject) {
                if is_action(&name) {
                    outline = outline.action(&name, &source);
                }
            }
            if let Some(problem) = self.unmatched(subject) {
                outline = outline.unmatchable(problem.to_string());
            } else if annotated.decision == Decision::Allow {
                outline = self.permit(outline, subject);
            }
        }
        for name in &declared {
            outline = outline.action(name, "the schema");
        }
        for name in self.action_names() {
            if is_action(&name) {
                outline = outline.action(&name, "the entities");
            }
        }
        outline
    }

    /// Adds the actions that a `permit` can allow.
    fn permit(&self, outline: PolicyOutline, subject: &Subject<'_>) -> PolicyOutline {
        if self.schema.is_some() {
            let actions = self.matched_actions(&subject.policy);
            return actions.fold(outline, |outline, action| outline.permit(&action));
        }
        let named = match subject.policy.action_constraint() {
            ActionConstraint::Any => return outline.permit_any_action(),
            ActionConstraint::Eq(action) => vec![action],
            ActionConstraint::In(actions) => actions,
        };
        let members = (self.entities.iter()).map(|entity| entity.uid());
        let members = members.filter(|uid| {
            let mut groups = named.iter();
            groups.any(|group| self.entities.is_ancestor_of(group, uid))
        });
        let members: Vec<EntityUid> = members.collect();
        let actions = named.iter().chain(&members);
        actions
            .filter(|uid| *uid.type_name() == self.types.action)
            .fold(outline, |outline, uid| outline.permit(uid.id().unescaped()))
    }

    fn is_action(&self, uid: &EntityUid, name: &str) -> bool {
        *uid.type_name() == self.types.action && uid.id().unescaped() == name
    }
}
