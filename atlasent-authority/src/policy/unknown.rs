//! Requests for an unknown action, or by an unknown agent: probably a misspelling.
//!
//! Action names are no secret from a caller that may ask, so the refusal suggests the action that
//! was probably meant. Agent names can be, since callers name their agents themselves, so the
//! refusal says only that the name is unknown, and the operator's log suggests the agent that was
//! probably meant.

use atlasent::text::Escaped;
use cedar_policy::{Entities, EntityTypeName, EntityUid, Policy, Request};

use super::slice::{Considered, UnitedOutcome};
use super::suggest::nearest;
use super::{Policies, PolicyInput, Verdict, code};

/// The names of the agents that entities define or policies mention.
#[derive(Debug)]
pub(super) struct KnownAgents {
    /// The sorted names.
    names: Vec<String>,
}

impl KnownAgents {
    pub(super) fn new(policies: &[Policy], entities: &Entities, agent: &EntityTypeName) -> Self {
        let known = entities.iter().map(|entity| entity.uid());
        let named = policies.iter().flat_map(Policy::entity_literals);
        let is_agent = |uid: &EntityUid| uid.type_name() == agent;
        let agents = known.chain(named).filter(is_agent);
        let mut names: Vec<String> = agents.map(|uid| uid.id().unescaped().to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        Self { names }
    }

    /// Returns the agent that was probably meant, if this one is unknown.
    fn meant(&self, agent: &str) -> Option<&str> {
        let names = &self.names;
        if names.binary_search_by(|name| (**name).cmp(agent)).is_ok() {
            return None;
        }
        nearest(agent, names.iter().map(String::as_str))
    }
}

impl Policies {
    /// Returns the refusal of an action that no policy and no schema can apply to.
    ///
    /// A policy over any action applies to every action that the schema declares, and without a
    /// schema to every action.
    pub(super) fn unknown_action(&self, action: &str) -> Option<Verdict> {
        if self.slices.names_action(action) {
            return None;
        }
        let over_any = self.slices.has_policies_over_any_action();
        let (code, what) = match (self.schema.is_some(), over_any) {
            (false, true) => return None,
            (false, false) => (code::UNKNOWN_ACTION, format!("no policy names `{action}`")),
            (true, false) => (
                code::UNKNOWN_ACTION,
                format!("no policy names `{action}`, and the schema does not declare it"),
            ),
            (true, true) => (
                code::REQUEST_NOT_IN_SCHEMA,
                format!("the request is not in the schema: action `{action}` is not declared"),
            ),
        };
        let names = self.slices.by_action().map(|(name, _)| name);
        let reason = match nearest(action, names) {
            Some(meant) => format!("{what}; did you mean `{meant}`?"),
            None => what,
        };
        Some(Verdict::deny(code, reason))
    }

    /// Returns the verdict on a request, with a hint where no policy matches and the agent's name
    /// looks misspelt.
    pub(super) fn verdict(
        &self,
        request: &Request,
        considered: Considered,
        input: PolicyInput<'_>,
    ) -> Verdict {
        let outcome = UnitedOutcome::evaluate(&self.slices, considered, request, &self.entities);
        let verdict = Verdict::from_outcome(&outcome, &self.by_id);
        if verdict.code.as_deref() != Some(code::NO_MATCHING_POLICY) {
            return verdict;
        }
        self.with_agent_hint(verdict, input)
    }

    /// Returns the refusal of a request that no policy permits, with the same hint as
    /// [`verdict`](Self::verdict).
    pub(super) fn no_matching_policy(&self, input: PolicyInput<'_>) -> Verdict {
        self.with_agent_hint(Verdict::no_matching_policy(), input)
    }

    /// Adds the hint to a refusal if the agent's name looks misspelt.
    fn with_agent_hint(&self, mut verdict: Verdict, input: PolicyInput<'_>) -> Verdict {
        if let Some(meant) = self.agents.meant(input.agent) {
            verdict.reason = format!(
                "{}; no policy and no entity names the agent `{}`: is it misspelt?",
                verdict.reason, input.agent
            )
            .into();
            verdict.hint = Some(format!("did you mean the agent `{meant}`?").into());
            tracing::debug!(
                target: "atlasent",
                agent = %Escaped::new(input.agent),
                meant = %Escaped::new(meant),
                "an agent that no policy and no entity names was refused"
            );
        }
        verdict
    }
}
