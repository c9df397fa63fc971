//! Explaining a decision, for people and tests. An explanation is not recorded and grants no
//! permit.

use std::sync::Arc;
use std::time::Duration;

use atlasent::Decision;
use atlasent::wire::{ConstraintTrace, EvaluateRequest};
use cedar_policy::PolicyId;

use super::{ApprovalRule, Policies, Verdict, code};
use crate::policy::fields;

/// How many of the determining policies an explanation names.
const MAX_DETERMINING: usize = 20;

/// What the policies decide on one request, and why; from [`Policies::explain`].
///
/// It describes policies and grants no permit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The reason, for people. Never empty.
    pub reason: String,
    /// The code, for programs: the `@code` of a policy, or one of those that [`Policies`] lists.
    pub code: Option<String>,
    /// How long to wait before the request is sent again. Only refusals have it.
    pub retry_after: Option<Duration>,
    /// How people release a hold or an escalation: the rule of each policy that made the decision.
    /// Empty for other decisions.
    pub approval: Vec<ApprovalRule>,
    /// For a hold or an escalation: the decision once people have released every policy that holds
    /// or escalates. Anything but an allow means that no approval lets the request through.
    pub released: Option<Decision>,
    /// The ids of the policies that made the decision, sorted. After evaluation errors, these are
    /// the policies in error.
    pub determining: Vec<String>,
    /// The evaluation errors with their positions: `deploy.cedar:4:8: policy …`. They name
    /// attributes and types, and quote no value of the request. At most 20, followed by the number
    /// of further ones.
    pub errors: Vec<String>,
    /// A hint for the operator, such as the agent that was probably meant.
    pub hint: Option<String>,
    /// The outcome of each policy that the request's action, agent and resource select, by id.
    /// Policies that are not listed name another agent, action or resource.
    pub trace: ConstraintTrace,
}

impl Policies {
    /// Decides a request as a [`LocalAuthority`](crate::LocalAuthority) with these policies does,
    /// and explains the decision.
    ///
    /// Only the agent and its actors, the action, the resource, the environment, the amount, the
    /// context and `shadow` count. An authority considers further fields, such as
    /// `require_approval`, which policies do not see. A request whose `environment` or `amount`
    /// contradicts its context is an error for an authority, and here a denial with the code
    /// `INVALID_FIELD`.
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
        let (verdict, trace, released) = match fields::policy_input(request) {
            Ok(input) => {
                let (verdict, trace) = self.decide_traced(input);
                let waits = matches!(verdict.decision, Decision::Hold | Decision::Escalate);
                let released = waits.then(|| self.decide_without_holds(input).decision);
                (verdict, trace, released)
            }
            Err(error) => {
                let refusal = Verdict::deny(code::INVALID_FIELD, error.to_string());
                (refusal, ConstraintTrace::default(), None)
            }
        };
        let owned = |text: &Arc<str>| text.to_string();
        Explanation {
            decision: verdict.decision,
            reason: owned(&verdict.reason),
            code: verdict.code.as_ref().map(owned),
            retry_after: verdict.retry_after,
            approval: verdict.approval,
            released,
            determining: verdict.determining.iter().map(owned).collect(),
            errors: verdict.errors,
            hint: verdict.hint.as_ref().map(owned),
            trace,
        }
    }

    /// Returns the explanation that a refusal carries for the operator: the evaluation errors, or
    /// else, if `asked` is set, the determining policies.
    pub(crate) fn explanation(&self, verdict: &Verdict, asked: bool) -> Vec<String> {
        if !verdict.errors.is_empty() || !asked {
            return verdict.errors.clone();
        }
        let determining = verdict.determining.iter().take(MAX_DETERMINING);
        determining
            .filter_map(|id| {
                let annotated = self.by_id.get(&PolicyId::new(id))?;
                let place = annotated.source.place(annotated.span.start);
                Some(format!("{place}: policy `{id}`: {}", annotated.decision))
            })
            .collect()
    }

    /// Returns the position of the policy with this id: `deploy.cedar:3:1`.
    #[must_use]
    pub fn place(&self, id: &str) -> Option<String> {
        let annotated = self.by_id.get(&PolicyId::new(id))?;
        Some(annotated.source.place(annotated.span.start))
    }
}
