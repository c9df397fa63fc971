//! Why the policies answer a request as they do, for people and tests. Records nothing and mints
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use atlasent::Decision;
use atlasent::wire::{ConstraintTrace, EvaluateRequest};
use cedar_policy::PolicyId;

use super::{Policies, Verdict, code};
use crate::policy::fields;

/// How many of the policies that decided an explanation names.
const MAX_DETERMINING: usize = 20;

/// What the policies decide on one request, and how that comes about; from [`Policies::explain`].
///
/// It is a fact about policies and never a permission: no permit comes of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// What is decided.
    pub decision: Decision,
    /// Why, for people. Never empty.
    pub reason: String,
    /// Why, for programs: the `@code` of a policy, or one of the codes that [`Policies`] lists.
    pub code: Option<String>,
    /// When asking again makes sense. Only a refusal has it.
    pub retry_after: Option<Duration>,
    /// The ids of the policies that made the decision, sorted. When policies could not be evaluated
    /// it is they who deny.
    pub determining: Vec<String>,
    /// Why policies could not be evaluated, and where: `deploy.cedar:4:8: policy …`. Names
    /// attributes and types, and quotes no value of the request. At most 20, and then how many
    /// more.
    pub errors: Vec<String>,
    /// What may help the operator beyond the reason, such as the agent that was probably meant.
    pub hint: Option<String>,
    /// How each policy came out that the request's action, agent and resource select, by id.
    /// Policies that it does not list name another agent, action or resource.
    pub trace: ConstraintTrace,
}

impl Policies {
    /// Decides on a request as a [`LocalAuthority`](crate::LocalAuthority) with these policies
    /// does, and says why.
    ///
    /// The agent, the action, the resource, the environment, the amount and the context count: what
    /// else an authority takes into account, such as `require_approval`, is not a matter of
    /// policies. A request whose `environment` or `amount` contradicts its context, which an
    /// authority does not answer, is a denial here, with the code `INVALID_FIELD`.
    ///
    /// ```
    /// use atlasent::wire::EvaluateRequest;
    /// use atlasent::{Agent, AnyAction, Decision};
    /// use atlasent_authority::Policies;
    ///
    /// let policies = Policies::parse(r#"
    ///     @id("deployers") permit (principal, action == Action::"deploy", resource);
    ///     @id("big") @decision("hold") forbid (principal, action == Action::"deploy", resource)
    ///     when { context.replicas > 50 };
    /// "#)?;
    /// let deploy = AnyAction::new("deploy")?.with_field("replicas", &500)?;
    /// let explanation = policies.explain(&EvaluateRequest::new(Agent::new("bot")?, &deploy)?);
    ///
    /// assert_eq!(explanation.decision, Decision::Hold);
    /// assert_eq!(explanation.determining, ["big"]);
    /// assert_eq!(policies.place("big").as_deref(), Some("<policies>:3:5"));
    /// assert_eq!(explanation.trace.matching_policy_id.as_deref(), Some("big"));
    /// assert!(explanation.trace.rules_evaluated.iter().all(|policy| policy.stages[1].matched));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn explain(&self, request: &EvaluateRequest) -> Explanation {
        let (verdict, trace) = match fields::question(request) {
            Ok(question) => self.decide_traced(question),
            Err(error) => {
                let refusal = Verdict::deny(code::INVALID_FIELD, error.to_string());
                (refusal, ConstraintTrace::default())
            }
        };
        let owned = |text: &Arc<str>| text.to_string();
        Explanation {
            decision: verdict.decision,
            reason: owned(&verdict.reason),
            code: verdict.code.as_ref().map(owned),
            retry_after: verdict.retry_after,
            determining: verdict.determining.iter().map(owned).collect(),
            errors: verdict.errors,
            hint: verdict.hint.as_ref().map(owned),
            trace,
        }
    }

    /// What a refusal carries for the operator: why policies could not be evaluated; else, when
    /// that is asked for, which policies decided.
    pub(crate) fn explanation(&self, verdict: &Verdict, asked: bool) -> Vec<String> {
        if !verdict.errors.is_empty() || !asked {
            return verdict.errors.clone();
        }
        let determining = verdict.determining.iter().take(MAX_DETERMINING);
        determining
            .filter_map(|id| {
                let rule = self.rules.get(&PolicyId::new(id))?;
                let place = rule.source.place(rule.span.start);
                Some(format!("{place}: policy `{id}`: {}", rule.decision))
            })
            .collect()
    }

    /// Where the policy with this id begins: `deploy.cedar:3:1`.
    #[must_use]
    pub fn place(&self, id: &str) -> Option<String> {
        let rule = self.rules.get(&PolicyId::new(id))?;
        Some(rule.source.place(rule.span.start))
    }
}
