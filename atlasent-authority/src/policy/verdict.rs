//! The answer to a request, from the outcomes of the policies: decision, reason, code, and when to
//! ask again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use atlasent::Decision;
use atlasent::text::Escaped;
use cedar_policy::PolicyId;

use super::PolicyInput;
use super::annotations::AnnotatedPolicy;
use super::approval::ApprovalRule;
use super::failure::explain_all;
use super::prepare::FailedPolicy;
use super::slice::UnitedOutcome;

/// The answer to one [`PolicyInput`](super::PolicyInput).
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) decision: Decision,
    /// The reason, for people. Never empty.
    pub(crate) reason: Arc<str>,
    /// The code, for programs: the `@code` of a determining policy, or one of [`code`].
    pub(crate) code: Option<Arc<str>>,
    /// The `@retry_after` of a determining policy. Only a `forbid` has it.
    pub(crate) retry_after: Option<Duration>,
    /// How people release a hold or an escalation: the rule of each determining policy, by id. Each
    /// has to be satisfied. Empty for an allow, for a denial, and for a hold that rests on no
    /// policy.
    pub(crate) approval: Vec<ApprovalRule>,
    /// The ids of the policies that made the decision, sorted. After evaluation errors, these are
    /// the policies in error.
    pub(crate) determining: Vec<Arc<str>>,
    /// The evaluation errors with their positions. They quote no value of the request.
    pub(crate) errors: Vec<String>,
    /// A hint for the operator, which the caller does not get.
    pub(crate) hint: Option<Arc<str>>,
}

/// The codes of refusals that no policy words.
pub(crate) mod code {
    pub(crate) const NO_MATCHING_POLICY: &str = "NO_MATCHING_POLICY";
    pub(crate) const UNKNOWN_ACTION: &str = "UNKNOWN_ACTION";
    pub(crate) const POLICY_EVALUATION_ERROR: &str = "POLICY_EVALUATION_ERROR";
    pub(crate) const REQUEST_NOT_IN_SCHEMA: &str = "REQUEST_NOT_IN_SCHEMA";
    pub(crate) const FIELD_NOT_IN_SCHEMA: &str = "FIELD_NOT_IN_SCHEMA";
    /// The code of an explanation only: an authority returns an error for such a request.
    pub(crate) const INVALID_FIELD: &str = "INVALID_FIELD";
    pub(crate) const CONTEXT_TOO_DEEP: &str = "CONTEXT_TOO_DEEP";
    pub(crate) const CONTEXT_NOT_EXPRESSIBLE: &str = "CONTEXT_NOT_EXPRESSIBLE";
}

/// How many policies a reason names.
const MAX_NAMED: usize = 8;

/// The policies of a set, by their ids.
pub(super) type AnnotatedPolicies = HashMap<PolicyId, AnnotatedPolicy>;

impl Verdict {
    /// Creates a denial that rests on no policy.
    pub(super) fn deny(code: &str, reason: impl Into<Arc<str>>) -> Self {
        Self {
            decision: Decision::Deny,
            reason: reason.into(),
            code: Some(code.into()),
            retry_after: None,
            approval: Vec::new(),
            determining: Vec::new(),
            errors: Vec::new(),
            hint: None,
        }
    }

    /// Creates the denial of a request that no policy permits.
    pub(super) fn no_matching_policy() -> Self {
        Self::deny(
            code::NO_MATCHING_POLICY,
            "no policy permits this agent to take this action on this resource",
        )
    }

    /// Unites the outcomes. Errors come first, since a policy in error might have been the one to
    /// forbid. Then the `forbid`s count, and a `permit` only where there is neither.
    pub(super) fn from_outcome(outcome: &UnitedOutcome, by_id: &AnnotatedPolicies) -> Self {
        if !outcome.errors.is_empty() {
            return Self::from_errors(&outcome.errors, by_id);
        }
        let determining = if outcome.forbids.is_empty() {
            &outcome.permits
        } else {
            &outcome.forbids
        };
        let determining: Vec<&AnnotatedPolicy> =
            determining.iter().filter_map(|id| by_id.get(id)).collect();
        // Without a determining policy, or with an unknown one, nothing is allowed.
        let Some(decision) = determining
            .iter()
            .map(|annotated| annotated.decision)
            .max_by_key(|d| strength(*d))
        else {
            return Self::no_matching_policy();
        };
        let mut winning = determining
            .iter()
            .filter(|annotated| annotated.decision == decision);
        let reason = winning
            .clone()
            .find_map(|annotated| annotated.reason.as_ref());
        let code = winning
            .clone()
            .find_map(|annotated| annotated.code.as_ref());
        let retry_after = winning.clone().find_map(|annotated| annotated.retry_after);
        let default = winning.next().map(|annotated| &annotated.default_reason);
        // A person releases what is held and escalated, and no denial.
        let approval = match decision {
            Decision::Hold | Decision::Escalate => determining
                .iter()
                .filter_map(|annotated| annotated.approval.clone())
                .collect(),
            Decision::Allow | Decision::Deny => Vec::new(),
        };
        Self {
            decision,
            reason: reason.or(default).cloned().unwrap_or_default(),
            code: code.cloned(),
            retry_after,
            approval,
            determining: determining
                .iter()
                .map(|annotated| Arc::clone(&annotated.id))
                .collect(),
            errors: Vec::new(),
            hint: None,
        }
    }

    fn from_errors(errors: &[FailedPolicy], by_id: &AnnotatedPolicies) -> Self {
        let ids = errors.iter().map(|failed| AsRef::<str>::as_ref(&failed.id));
        let determining: Vec<Arc<str>> = ids.map(Arc::from).collect();
        let named = determining.iter().take(MAX_NAMED);
        let named: Vec<String> = named.map(|id| format!("`{id}`")).collect();
        let noun = if determining.len() == 1 {
            "policy"
        } else {
            "policies"
        };
        let more = match determining.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Self {
            errors: explain_all(errors, by_id),
            determining,
            ..Self::deny(
                code::POLICY_EVALUATION_ERROR,
                format!("{noun} {}{more} could not be evaluated", named.join(", ")),
            )
        }
    }
}

impl Verdict {
    /// Returns the rank of the decision: see [`strength`].
    #[cfg(feature = "server")]
    pub(crate) fn strength(&self) -> u8 {
        strength(self.decision)
    }

    /// Warns the operator of each policy that failed to evaluate. The caller gets their ids only,
    /// unless it asks for an explanation.
    pub(super) fn log_errors(&self, input: PolicyInput<'_>) {
        for error in &self.errors {
            tracing::warn!(
                target: "atlasent",
                agent = %Escaped::new(input.agent),
                action = %Escaped::new(input.action),
                error = %Escaped::new(error),
                "a policy could not be evaluated, so the request is denied"
            );
        }
    }
}

/// Returns the rank of a decision: deny wins over escalate, escalate over hold, and each of them
/// over allow.
fn strength(decision: Decision) -> u8 {
    match decision {
        Decision::Allow => 0,
        Decision::Hold => 1,
        Decision::Escalate => 2,
        Decision::Deny => 3,
    }
}
