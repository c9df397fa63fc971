//! The answer to an evaluation.

mod answer;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::Decision;
use crate::json::object::ObjectAndOthers;
use crate::wire::SentRequestId;
use crate::wire::{BudgetState, ConstraintTrace, OtherFields, PermitToken, RateLimit};

#[cfg(feature = "client")]
pub(crate) use answer::ShadowEvaluation;
use answer::WireEvaluation;

/// The answer to an [`EvaluateRequest`](crate::wire::EvaluateRequest).
///
/// It is data. The token of an allow has to be verified before the action may run, which `protect`
/// does.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(try_from = "ObjectAndOthers<WireEvaluation>")]
#[non_exhaustive]
pub struct Evaluation {
    /// The decision.
    pub decision: Decision,
    /// The permit token to verify. Only an allow has one; in
    /// [`PermitWithAnswers`](crate::authority::PermitWithAnswers) it is unset.
    pub permit_token: Option<PermitToken>,
    /// The authority's reason.
    pub reason: Option<String>,
    /// All reasons that the authority lists, in its order. It may be empty if there is one reason.
    pub reasons: Vec<String>,
    /// The code of the reason, for programs. Only a refusal has one.
    pub code: Option<String>,
    /// The explanation of a refusal for the operator: one line a policy, with file, line and
    /// column. A server sends it only for a request with [`RequestOptions::explain`].
    ///
    /// [`RequestOptions::explain`]: crate::wire::RequestOptions::explain
    pub explanation: Vec<String>,
    /// The authority's id of a refused evaluation. It is unset on an allow.
    pub decision_id: Option<String>,
    /// The permit's public id (`pt_…`), which may be logged and shown, and opens nothing. Only an
    /// allow has one.
    pub permit_id: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The id of the escalation that waits for a person. Only a hold or an escalation has one.
    pub escalation_id: Option<String>,
    /// The URL where a person can decide on the escalation.
    pub approval_url: Option<String>,
    /// The time when the permit expires (ISO 8601).
    pub expires_at: Option<String>,
    /// The hash of the audit event that recorded the decision.
    pub audit_hash: Option<String>,
    /// The time of the decision (ISO 8601).
    pub timestamp: Option<String>,
    /// The risk score that the authority computed.
    pub risk_score: Option<f64>,
    /// The class of the risk, such as `critical`, `high`, `medium` or `low`.
    pub risk_class: Option<String>,
    /// The version of the policies that decided.
    pub policy_version: Option<String>,
    /// What is left of the budgets of the policies that grant the request. Empty if they have none.
    pub budgets: Vec<BudgetState>,
    /// The policies that were considered, if the request asked for the trace.
    pub constraint_trace: Option<ConstraintTrace>,
    /// The state of the rate limit, from the headers of the answer.
    pub rate_limit: Option<RateLimit>,
    /// How long to wait before asking again, from the `Retry-After` header of the answer. Only a
    /// refusal has it.
    pub retry_after: Option<Duration>,
    /// The fields of the answer that this version does not know.
    pub other: OtherFields,
    /// The id under which the client sent the request (`X-Request-ID`).
    pub(crate) sent_request_id: SentRequestId,
}

impl Evaluation {
    /// Creates an answer with a decision only. `protect` refuses an allow without a token.
    #[must_use]
    pub fn new(decision: Decision) -> Self {
        Self {
            decision,
            permit_token: None,
            reason: None,
            reasons: Vec::new(),
            code: None,
            explanation: Vec::new(),
            decision_id: None,
            permit_id: None,
            request_id: None,
            escalation_id: None,
            approval_url: None,
            expires_at: None,
            audit_hash: None,
            timestamp: None,
            risk_score: None,
            risk_class: None,
            policy_version: None,
            budgets: Vec::new(),
            constraint_trace: None,
            rate_limit: None,
            retry_after: None,
            other: OtherFields::default(),
            sent_request_id: SentRequestId::default(),
        }
    }

    /// Creates an allow with its permit token.
    #[must_use]
    pub fn allow(permit_token: PermitToken) -> Self {
        Self {
            permit_token: Some(permit_token),
            ..Self::new(Decision::Allow)
        }
    }

    /// Creates a refusal with its reason.
    ///
    /// ```
    /// use std::time::Duration;
    /// use atlasent::wire::Evaluation;
    /// use atlasent::Decision;
    ///
    /// let mut evaluation = Evaluation::refuse(Decision::Hold, "waits for the change window");
    /// evaluation.retry_after = Some(Duration::from_secs(300));
    /// assert_eq!(evaluation.decision, Decision::Hold);
    /// ```
    #[must_use]
    pub fn refuse(decision: Decision, reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::new(decision)
        }
    }

    /// Returns the id under which the client sent the request (`X-Request-ID`). The server's log
    /// and audit trail contain it. It is unset for an authority in this process.
    #[must_use]
    pub fn x_request_id(&self) -> Option<&str> {
        self.sent_request_id.0.as_deref()
    }

    /// Returns the id of the evaluation, to quote when asking about it. It is never the permit
    /// token.
    #[must_use]
    pub fn evaluation_id(&self) -> Option<&str> {
        self.decision_id.as_deref().or(self.request_id.as_deref())
    }

    /// Returns the answer without its token in the texts that are logged or returned. The field
    /// `permit_token` stays.
    pub(crate) fn scrubbed(mut self) -> Self {
        if let Some(token) = &self.permit_token {
            let scrub = |text: &mut String| *text = token.scrub(text);
            self.reasons.iter_mut().for_each(scrub);
            self.explanation.iter_mut().for_each(scrub);
            self.reason = token.scrub_option(self.reason);
            self.code = token.scrub_option(self.code);
            self.decision_id = token.scrub_option(self.decision_id);
            self.permit_id = token.scrub_option(self.permit_id);
            self.request_id = token.scrub_option(self.request_id);
            self.escalation_id = token.scrub_option(self.escalation_id);
            self.approval_url = token.scrub_option(self.approval_url);
            self.risk_class = token.scrub_option(self.risk_class);
            self.policy_version = token.scrub_option(self.policy_version);
            self.other = self.other.scrubbed(token);
            self.expires_at = token.scrub_option(self.expires_at);
            self.audit_hash = token.scrub_option(self.audit_hash);
            self.timestamp = token.scrub_option(self.timestamp);
            let texts = self.budgets.iter_mut().flat_map(BudgetState::texts_mut);
            texts.for_each(|text| token.scrub_in_place(text));
            let texts = self.constraint_trace.iter_mut();
            texts
                .flat_map(ConstraintTrace::texts_mut)
                .for_each(|text| token.scrub_in_place(text));
        }
        self
    }
}

/// Prints the token redacted, also within other texts.
impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            decision,
            permit_token,
            reason,
            reasons,
            code,
            explanation,
            decision_id,
            permit_id,
            request_id,
            escalation_id,
            approval_url,
            expires_at,
            audit_hash,
            timestamp,
            risk_score,
            risk_class,
            policy_version,
            budgets,
            constraint_trace,
            other,
            rate_limit,
            retry_after,
            sent_request_id: _,
        } = self.clone().scrubbed();
        f.debug_struct("Evaluation")
            .field("decision", &decision)
            .field("permit_token", &permit_token)
            .field("reason", &reason)
            .field("reasons", &reasons)
            .field("code", &code)
            .field("explanation", &explanation)
            .field("decision_id", &decision_id)
            .field("permit_id", &permit_id)
            .field("request_id", &request_id)
            .field("escalation_id", &escalation_id)
            .field("approval_url", &approval_url)
            .field("expires_at", &expires_at)
            .field("audit_hash", &audit_hash)
            .field("timestamp", &timestamp)
            .field("risk_score", &risk_score)
            .field("risk_class", &risk_class)
            .field("policy_version", &policy_version)
            .field("budgets", &budgets)
            .field("constraint_trace", &constraint_trace)
            .field("other", &other)
            .field("rate_limit", &rate_limit)
            .field("retry_after", &retry_after)
            .finish()
    }
}
