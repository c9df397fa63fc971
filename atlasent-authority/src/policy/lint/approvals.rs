//! Holds that no approval can release, and quorums that cannot be reached.

use std::collections::{HashMap, HashSet};

use cedar_policy::{ActionConstraint, EntityUid, PrincipalConstraint, ResourceConstraint};

use super::super::approval::{ApprovalRule, ApproverName, Approvers};
use super::super::uid;
use super::{Policies, PolicyProblem, Subject};

impl Policies {
    /// Returns the problems of the policies that hold or escalate.
    pub(super) fn unreleasable(&self, subjects: &[Subject<'_>]) -> Vec<PolicyProblem> {
        let holds = || {
            let rules = subjects.iter().filter_map(|subject| {
                let rule = subject.annotated.approval.as_ref()?;
                Some((subject, rule))
            });
            rules.filter(|(subject, _)| self.unmatched(subject).is_none())
        };
        let mut problems: Vec<PolicyProblem> = holds()
            .filter_map(|(subject, rule)| unreachable(subject, rule))
            .collect();
        // Without a hold, the index of the permits is not needed.
        if holds().next().is_some() {
            let permits = Permits::new(self, subjects);
            let unpermitted = holds().filter(|(subject, _)| !permits.meet(self, subject));
            problems.extend(unpermitted.map(|(subject, _)| {
                let message = format!(
                    "policy `{}` holds requests that no `permit` matches, so an approval lets \
                     nothing through: write a `permit` for them, or deny them without \
                     `@decision`",
                    subject.annotated.id
                );
                subject.problem_at("@decision", message)
            }));
        }
        problems
    }

    /// Returns the actions that a scope covers; `None` for any action.
    fn covered(&self, subject: &Subject<'_>) -> Option<HashSet<EntityUid>> {
        let named = match subject.policy.action_constraint() {
            ActionConstraint::Any if self.schema.is_none() => return None,
            ActionConstraint::Any => Vec::new(),
            ActionConstraint::Eq(action) => vec![action],
            ActionConstraint::In(actions) => actions,
        };
        if self.schema.is_some() {
            let matched = self.matched_actions(&subject.policy);
            return Some(matched.map(|name| uid(&self.types.action, &name)).collect());
        }
        let members = self.entities.iter().map(|entity| entity.uid());
        let members = members.filter(|uid| {
            let mut groups = named.iter();
            groups.any(|group| self.entities.is_ancestor_of(group, uid))
        });
        Some(members.chain(named.iter().cloned()).collect())
    }
}

/// The scopes of the `permit`s, by the action that they cover.
struct Permits {
    any: Vec<Scope>,
    by_action: HashMap<EntityUid, Vec<Scope>>,
}

/// The agent and the resource that a scope fixes with `==`.
#[derive(Clone)]
struct Scope {
    principal: Option<EntityUid>,
    resource: Option<EntityUid>,
}

impl Permits {
    fn new(policies: &Policies, subjects: &[Subject<'_>]) -> Self {
        let mut permits = Self {
            any: Vec::new(),
            by_action: HashMap::new(),
        };
        let allows = |subject: &&Subject<'_>| {
            subject.annotated.decision.is_allow() && policies.unmatched(subject).is_none()
        };
        for subject in subjects.iter().filter(allows) {
            let scope = Scope::from_subject(subject);
            match policies.covered(subject) {
                None => permits.any.push(scope),
                Some(actions) => {
                    for action in actions {
                        let scopes = permits.by_action.entry(action).or_default();
                        scopes.push(scope.clone());
                    }
                }
            }
        }
        permits
    }

    /// Returns whether a request that the policy holds may also match a `permit`, as far as the
    /// scopes tell.
    fn meet(&self, policies: &Policies, held: &Subject<'_>) -> bool {
        let scope = Scope::from_subject(held);
        let meets = |permit: &Scope| scope.meets(permit);
        if self.any.iter().any(meets) {
            return true;
        }
        match policies.covered(held) {
            None => self.by_action.values().flatten().any(meets),
            Some(actions) => {
                let permits = actions.iter().filter_map(|uid| self.by_action.get(uid));
                permits.flatten().any(meets)
            }
        }
    }
}

impl Scope {
    fn from_subject(subject: &Subject<'_>) -> Self {
        let principal = match subject.policy.principal_constraint() {
            PrincipalConstraint::Eq(uid) => Some(uid),
            _ => None,
        };
        let resource = match subject.policy.resource_constraint() {
            ResourceConstraint::Eq(uid) => Some(uid),
            _ => None,
        };
        Self {
            principal,
            resource,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        let meets = |one: &Option<EntityUid>, other: &Option<EntityUid>| match (one, other) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        meets(&self.principal, &other.principal) && meets(&self.resource, &other.resource)
    }
}

/// Returns a problem if the policy names too few people for its quorum, those of all steps of an
/// escalation included: each step adds approvers. An agent does not approve its own request.
fn unreachable(subject: &Subject<'_>, rule: &ApprovalRule) -> Option<PolicyProblem> {
    let agent = Scope::from_subject(subject).principal;
    let agent = agent.as_ref().map(|uid| uid.id().unescaped());
    let mut people = HashSet::new();
    for approvers in std::iter::once(&rule.approvers).chain(&rule.escalate_to) {
        people.extend(people_of(approvers)?);
    }
    let with_agent = agent.is_some_and(|agent| people.remove(agent));
    if people.len() >= rule.quorum.required() as usize {
        return None;
    }
    let (annotation, lists) = match rule.escalate_to.is_empty() {
        true => ("@approvers", "`@approvers` lists"),
        false => ("@escalate_to", "`@approvers` and `@escalate_to` list"),
    };
    let but = match with_agent {
        true => " beside the agent, which does not approve its own request",
        false => "",
    };
    let message = format!(
        "policy `{}` needs {}, and {lists} {}{but}: list more people or a role, or lower `@quorum`",
        subject.annotated.id,
        rule.quorum,
        people.len()
    );
    Some(subject.problem_at(annotation, message))
}

/// Returns the people of a list. `None` for a list that also includes people by role, or everyone.
fn people_of<'a>(approvers: &'a Approvers) -> Option<Vec<&'a str>> {
    let Approvers::OneOf(names) = approvers else {
        return None;
    };
    let person = |name: &'a ApproverName| match name {
        ApproverName::User(user) => Some(user.as_str()),
        ApproverName::Role(_) => None,
    };
    names.iter().map(person).collect()
}
