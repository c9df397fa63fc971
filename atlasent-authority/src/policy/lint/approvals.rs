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
            .flat_map(|(subject, rule)| unreachable(subject, rule))
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

/// Returns a problem for each list of people that is too short for the quorum. An agent does not
/// approve its own request.
fn unreachable(subject: &Subject<'_>, rule: &ApprovalRule) -> Vec<PolicyProblem> {
    let agent = Scope::from_subject(subject).principal;
    let agent = agent.as_ref().map(|uid| uid.id().unescaped());
    let required = rule.quorum.required();
    let steps = (1..).zip(&rule.escalate_to).map(|(n, step)| {
        (
            step,
            "@escalate_to",
            format!("step {n} of `@escalate_to` lists"),
        )
    });
    let lists = [(
        &rule.approvers,
        "@approvers",
        "`@approvers` lists".to_owned(),
    )];
    let lists = lists.into_iter().chain(steps);
    let too_short = lists.filter_map(|(approvers, annotation, lists)| {
        let (people, with_agent) = others(approvers, agent)?;
        (people < required as usize).then(|| {
            let but = if with_agent {
                " beside the agent, which does not approve its own request"
            } else {
                ""
            };
            let message = format!(
                "policy `{}` needs {}, and {lists} {people}{but}: list more people or a role, or \
                 lower `@quorum`",
                subject.annotated.id, rule.quorum
            );
            subject.problem_at(annotation, message)
        })
    });
    too_short.collect()
}

/// Returns how many people a list names beside the agent, and whether it names the agent. `None`
/// for a list that also includes people by role, or everyone.
fn others(approvers: &Approvers, agent: Option<&str>) -> Option<(usize, bool)> {
    let listed = approvers.people()?;
    let Approvers::OneOf(names) = approvers else {
        return None;
    };
    let mut names = names.iter();
    let with_agent =
        names.any(|name| matches!(name, ApproverName::User(user) if Some(user.as_str()) == agent));
    Some((listed - usize::from(with_agent), with_agent))
}
