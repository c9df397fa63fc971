//! The one path from a request to a [`Permit`]: [`obtain`].
//!
//! The macro, the layers, the extractors, the blocking functions and every method of `AuthorityExt`
//! call it. It is the only caller of [`Permit::mint`], and an implementation of [`Authority`]
//! cannot replace it.

mod conditions;
mod handed;
pub(crate) mod run;
mod wait;

pub use conditions::Conditions;
pub use handed::hand_on;

use std::fmt;

use tracing::Instrument;

use crate::authority::IssuerId;
use crate::error::{Code, Failure, PermitOutcome};
use crate::permit::PermitRecord;
use crate::receipts::PendingReceipt;
use crate::trace::RequestSpan;
use crate::wire::SentRequestId;
use crate::wire::{
    EvaluateRequest, Evaluation, PermitToken, RequestOptions, Verification, VerifyRequest,
};
use crate::{Action, Agent, Authority, AuthorityExt, Decision, Denied, Error, Permit, ToAgent};

/// The code of a refusal because the action's values changed while the authority decided.
const ACTION_CHANGED: &str = "ACTION_CHANGED";

/// A permit together with the answers of `evaluate` and `verify`, from
/// [`AuthorityExt::gate`](crate::AuthorityExt::gate).
#[non_exhaustive]
pub struct PermitWithAnswers<A> {
    /// The permit.
    pub permit: Permit<A>,
    /// The allow. Its permit token is unset: the verification used it up.
    pub evaluation: Evaluation,
    /// The verification, which consumed the permit token.
    pub verification: Verification,
    /// The optional fields of the request, if it had any.
    options: Option<Box<RequestOptions>>,
    /// The actors of the request.
    actors: Vec<Agent>,
}

/// Prints the permit and the answers, redacted, and omits the action.
impl<A> fmt::Debug for PermitWithAnswers<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitWithAnswers")
            .field("permit", &self.permit)
            .field("evaluation", &self.evaluation)
            .field("verification", &self.verification)
            .finish()
    }
}

/// Obtains a permit for one execution of `action` by `agent`:
/// [`AuthorityExt::protect`](crate::AuthorityExt::protect) as a function.
///
/// # Errors
///
/// [`Error::Denied`] for every refusal, another [`Error`] when the authority gave no usable answer.
pub async fn protect<P: Authority + ?Sized, A: Action>(
    authority: &P,
    agent: impl ToAgent,
    action: A,
) -> Result<Permit<A>, Error> {
    authority.protect(agent, action).await
}

/// What a request for a permit returns: the permit, or the permit with both answers.
pub(crate) trait Granted<A>: Sized {
    /// Makes the permit from the answers.
    fn from_answers(action: A, request: EvaluateRequest, answers: Answers) -> Self;

    /// Returns the permit that a guard handed on.
    fn from_handed(answers: PermitWithAnswers<A>) -> Self;

    fn permit(&self) -> &Permit<A>;
}

/// The checked answers to a request, which grant its permit.
pub(crate) struct Answers {
    evaluation: Evaluation,
    token: PermitToken,
    verification: Verification,
    granted_by: Option<IssuerId>,
    receipt: Option<PendingReceipt>,
    /// Whether the request has optional fields.
    has_options: bool,
}

impl Answers {
    fn into_permit<A: Action>(self, action: A, request: EvaluateRequest) -> Permit<A> {
        let record = record(request, self.evaluation, self.token, self.verification);
        Permit::mint(action, record, self.granted_by, self.receipt)
    }
}

impl<A: Action> Granted<A> for Permit<A> {
    fn from_answers(action: A, request: EvaluateRequest, answers: Answers) -> Self {
        answers.into_permit(action, request)
    }

    fn from_handed(answers: PermitWithAnswers<A>) -> Self {
        answers.permit
    }

    fn permit(&self) -> &Permit<A> {
        self
    }
}

impl<A: Action> Granted<A> for PermitWithAnswers<A> {
    fn from_answers(action: A, mut request: EvaluateRequest, mut answers: Answers) -> Self {
        let options = answers.has_options;
        let options = options.then(|| Box::new(std::mem::take(&mut request.options)));
        let actors = std::mem::take(&mut request.actors);
        // The clone that stays behind has no mark. It makes the record only.
        let evaluation = answers.evaluation.clone();
        let verification = answers.verification.clone();
        let evaluation = std::mem::replace(&mut answers.evaluation, evaluation);
        let verification = std::mem::replace(&mut answers.verification, verification);
        Self {
            permit: answers.into_permit(action, request),
            // The verification consumed the token. What is handed out does not show it; the permit
            // keeps it for the receipt only.
            evaluation: Evaluation {
                permit_token: None,
                ..evaluation
            },
            verification,
            options,
            actors,
        }
    }

    fn from_handed(answers: Self) -> Self {
        answers
    }

    fn permit(&self) -> &Permit<A> {
        &self.permit
    }
}

/// Checks the conditions, evaluates, checks the answer, verifies, checks that answer, and only then
/// makes the permit. If the caller waits for approvers, a held request is evaluated twice at most.
/// Otherwise the authority may give both answers in one step. The checks are the same.
pub(crate) async fn obtain<P: Authority + ?Sized, A: Action, G: Granted<A>>(
    authority: &P,
    agent: Result<Agent, Error>,
    action: A,
    mut conditions: Conditions,
) -> Result<G, Error> {
    let mut request = EvaluateRequest::new(agent?, &action)?;
    let has_options = conditions.has_options();
    if let Some(options) = conditions.take_options() {
        request = request.with_options(options);
        request.check()?;
    }
    conditions.set_actors(&mut request)?;
    let span = RequestSpan::start(&request);
    let action = match conditions.check_claims(&request) {
        Ok(()) => match handed::take(&request, || authority.issuer(), action) {
            Ok(handed) => {
                let granted = handed.map(G::from_handed);
                return granted.inspect(|granted| span.permitted(granted.permit().shared_record()));
            }
            Err(action) => action,
        },
        Err(error) => {
            span.refused(&error);
            return Err(error);
        }
    };
    async {
        let mut verify_request = VerifyRequest::restating(&request, PermitToken::empty());
        let answers = authority.evaluate_and_verify(&request, &verify_request);
        let (evaluation, verification) = answers.await?;
        let mut evaluation = evaluation.scrubbed();
        // A verification is that of the allow that it came with. An allow after a wait is verified
        // on its own.
        let verification = verification.filter(|_| evaluation.decision.is_allow());
        let wait = conditions.wait();
        if let Some(at_most) = wait.filter(|_| !evaluation.decision.is_allow()) {
            // Boxed, so that the future of a request that does not wait stays small.
            let approval =
                wait::for_approval(authority, &request, evaluation, at_most, &conditions);
            evaluation = Box::pin(approval).await?;
        }
        verify_request.permit_token = require_allow(&request, &evaluation)?.clone();
        let token = &verify_request.permit_token;
        let verification = match verification {
            Some(verification) => verification,
            None => {
                let verification = authority.verify(&verify_request).await;
                verification.map_err(|error| error.scrubbed(token))?
            }
        };
        require_valid(&request, &evaluation, token, &verification)?;
        require_unchanged(&request, &evaluation, &action)?;
        let granted_by = verification.mark.issuer_for(&verify_request);
        let receipts = verification.mark.receipts_for(&verify_request);
        Ok(Answers {
            receipt: receipts.map(|queue| PendingReceipt::new(queue, token.clone())),
            verification: verification.scrubbed(token),
            token: verify_request.permit_token,
            evaluation,
            granted_by,
            has_options,
        })
    }
    .instrument(span.span())
    .await
    .inspect_err(|error| span.refused(error))
    .map(|answers| {
        let granted = G::from_answers(action, request, answers);
        span.permitted(granted.permit().shared_record());
        granted
    })
}

/// Evaluates a request and returns the allow. An allow without a token is an error.
pub(crate) async fn evaluate_allowed<P: Authority + ?Sized>(
    authority: &P,
    request: &EvaluateRequest,
) -> Result<Evaluation, Error> {
    request.check()?;
    let evaluation = authority.evaluate(request).await?.scrubbed();
    require_allow(request, &evaluation)?;
    Ok(evaluation)
}

/// Returns the token of an allow. A refusal, and an allow without a token, are errors.
fn require_allow<'e>(
    request: &EvaluateRequest,
    evaluation: &'e Evaluation,
) -> Result<&'e PermitToken, Error> {
    if evaluation.decision != Decision::Allow {
        return Err(refusal(request, evaluation).into());
    }
    match &evaluation.permit_token {
        Some(token) if !token.is_empty() => Ok(token),
        _ => Err(Failure::new(Code::BadResponse, "an allow without a permit token").into()),
    }
}

/// Refuses a verification unless it is valid, does not contradict itself, and repeats no other
/// agent or action than that of the request.
fn require_valid(
    request: &EvaluateRequest,
    evaluation: &Evaluation,
    token: &PermitToken,
    verification: &Verification,
) -> Result<(), Error> {
    let says = |echo: &Option<String>, expected: &str| echo.as_ref().is_none_or(|e| e == expected);
    let passes = verification.is_good()
        && says(&verification.action_type, &request.action_type)
        && says(&verification.actor_id, request.actor_id.as_str());
    if passes {
        return Ok(());
    }
    let words = [
        verification.outcome.as_deref(),
        verification.verify_error_code.as_deref(),
    ];
    let outcome = words
        .into_iter()
        .flatten()
        .find(|word| !matches!(*word, "" | "allow" | "verified"))
        .unwrap_or(if verification.valid {
            "the answer contradicts itself or the request"
        } else {
            "not valid"
        });
    let permit_outcome = verification.permit_outcome();
    let mut reason = token.scrub(&format!("Permit failed verification ({outcome})"));
    if verification.retried && permit_outcome == Some(PermitOutcome::Consumed) {
        reason += ": an earlier attempt, which got no answer, may have consumed it";
    }
    Err(Denied {
        decision: Decision::Deny,
        reason,
        code: token.scrub_option(verification.verify_error_code.clone()),
        outcome: permit_outcome,
        request_id: request_id(&verification.request_id, &verification.sent_request_id),
        // The wait that an allow names does not apply to the permit that failed.
        retry_after: None,
        ..refusal(request, evaluation)
    }
    .into())
}

/// Refuses an action whose values changed while the authority decided, such as values behind an
/// `Arc` or an atomic: the permit is for the values that were authorized.
fn require_unchanged(
    request: &EvaluateRequest,
    evaluation: &Evaluation,
    action: &impl Action,
) -> Result<(), Error> {
    let unchanged = action.name() == request.action_type
        && action.resource().as_deref() == request.resource_id.as_deref()
        && action.has_context(&request.context)?;
    if unchanged {
        return Ok(());
    }
    Err(Denied {
        decision: Decision::Deny,
        reason:
            "the action changed while the authority decided: give it plain values and ask again"
                .to_owned(),
        code: Some(ACTION_CHANGED.to_owned()),
        retry_after: None,
        ..refusal(request, evaluation)
    }
    .into())
}

fn refusal(request: &EvaluateRequest, evaluation: &Evaluation) -> Denied {
    let reason = evaluation.reason.clone();
    let reason = reason.unwrap_or_else(|| "the authority gave no reason".to_owned());
    Denied {
        decision: evaluation.decision,
        code: evaluation.code.clone(),
        explanation: evaluation.explanation.clone(),
        evaluation_id: evaluation.evaluation_id().map(str::to_owned),
        request_id: request_id(&evaluation.request_id, &evaluation.sent_request_id),
        escalation_id: evaluation.escalation_id.clone(),
        approval_url: evaluation.approval_url.clone(),
        audit_hash: evaluation.audit_hash.clone(),
        retry_after: evaluation.retry_after,
        ..Denied::new(
            request.action_type.to_string(),
            request.actor_id.clone(),
            reason,
        )
    }
}

/// Returns the request id of an answer, or the id that the client sent the request under.
fn request_id(answered: &Option<String>, sent_request_id: &SentRequestId) -> Option<String> {
    answered.as_ref().or(sent_request_id.0.as_ref()).cloned()
}

/// Returns whether a permit's id is public (contract, part D) and not its used-up token.
pub(crate) fn is_public_id(id: &str) -> bool {
    id.starts_with("pt_")
}

fn record(
    request: EvaluateRequest,
    evaluation: Evaluation,
    token: PermitToken,
    verification: Verification,
) -> PermitRecord {
    // Older services send no public id (contract, part D).
    let public_id = evaluation.permit_id.filter(|id| is_public_id(id));
    PermitRecord {
        id: public_id.map_or_else(|| token.into(), Into::into),
        agent: request.actor_id,
        action: request.action_type,
        resource: request.resource_id,
        reason: evaluation.reason,
        approvals: verification.approvals(),
        hash: verification.permit_hash,
        audit_hash: evaluation.audit_hash,
        timestamp: verification.timestamp,
        expires_at: evaluation.expires_at,
        budgets: evaluation.budgets,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::Duration;

    use super::*;
    use crate::AnyAction;

    const WAIT: Option<Duration> = Some(Duration::from_secs(120));

    fn request() -> EvaluateRequest {
        let action = AnyAction::new("deploy").unwrap();
        EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap()
    }

    #[test]
    fn a_refusal_of_any_kind_passes_on_when_to_come_back() {
        for decision in [Decision::Hold, Decision::Escalate, Decision::Deny] {
            for wait in [WAIT, None] {
                let mut evaluation = Evaluation::refuse(decision, "no");
                evaluation.retry_after = wait;
                let error = require_allow(&request(), &evaluation).unwrap_err();
                assert_eq!(error.denied().unwrap().retry_after(), wait, "{decision}");
            }
        }
    }

    #[test]
    fn an_action_whose_request_names_another_action_gets_no_permit() {
        struct TwoNames;
        impl Action for TwoNames {
            fn name(&self) -> &str {
                "delete"
            }
            fn name_for_request(&self) -> Cow<'static, str> {
                "read".into()
            }
        }
        let authority = crate::testing::MockAuthority::new();
        let authority = authority.allow("read").allow("delete");
        let asked = authority.protect("bot", TwoNames);
        let error = futures_executor::block_on(asked).unwrap_err();
        assert_eq!(error.denied().unwrap().code(), Some(ACTION_CHANGED));
    }

    #[test]
    fn a_permit_that_failed_its_verification_says_nothing_of_waiting() {
        let token = PermitToken::new("p").unwrap();
        let mut allow = Evaluation::allow(token.clone());
        allow.retry_after = WAIT;
        let refused = Verification::refuse(Some(PermitOutcome::Expired), "over");
        let error = require_valid(&request(), &allow, &token, &refused).unwrap_err();
        let denied = error.denied().unwrap();
        assert!(denied.is_expired());
        assert_eq!(denied.retry_after(), None);
    }

    #[test]
    fn a_permit_has_the_public_id_and_else_the_used_up_token() {
        const SECRET: &str = "permit_7c1e55d0a9b84f33";
        let token = || PermitToken::new(SECRET).unwrap();
        for (sent, id) in [
            (Some("pt_ba7816bf8f01cfea414140de5dae2223"), None),
            (None, Some(SECRET)),
            (Some(SECRET), Some(SECRET)),
            (Some(""), Some(SECRET)),
        ] {
            let mut allow = Evaluation::allow(token());
            allow.permit_id = sent.map(str::to_owned);
            let allow = allow.scrubbed();
            let record = record(request(), allow, token(), Verification::valid());
            assert_eq!(Some(&*record.id), id.or(sent), "{sent:?}");
        }
    }

    #[test]
    fn the_answers_beside_a_permit_hold_no_token() {
        let authority = crate::testing::MockAuthority::new().allow("deploy");
        let action = AnyAction::new("deploy").unwrap();
        let gate = futures_executor::block_on(authority.gate("bot", action)).unwrap();
        let token = gate.permit.id();
        assert!(gate.evaluation.decision.is_allow());
        assert_eq!(gate.evaluation.permit_token, None);
        let answers = [
            serde_json::to_string(&gate.evaluation).unwrap(),
            serde_json::to_string(&gate.verification).unwrap(),
        ];
        assert!(!answers.concat().contains(token), "{answers:?}");
    }

    #[test]
    fn no_text_that_an_authority_repeats_its_token_in_gets_any_further() {
        const SECRET: &str = "permit_7c1e55d0a9b84f33";
        let text = || Some(format!("id of {SECRET}"));
        let mut allow = Evaluation::allow(PermitToken::new(SECRET).unwrap());
        (allow.reason, allow.code, allow.request_id) = (text(), text(), text());
        (allow.escalation_id, allow.approval_url) = (text(), text());
        (allow.permit_id, allow.risk_class, allow.policy_version) = (text(), text(), text());
        allow.reasons = Vec::from_iter(text());
        (allow.audit_hash, allow.expires_at, allow.timestamp) = (text(), text(), text());
        let allow = allow.scrubbed();
        let told = refusal(&request(), &allow);
        let told = format!("{told:?} {allow:?}");
        assert!(!told.contains(SECRET), "{told}");
    }

    #[test]
    fn no_text_of_a_verification_repeats_the_token_in_the_record() {
        const SECRET: &str = "permit_7c1e55d0a9b84f33";
        let text = || Some(format!("hash of {SECRET}"));
        let token = PermitToken::new(SECRET).unwrap();
        let mut valid = Verification::valid();
        (valid.reason, valid.permit_hash, valid.timestamp) =
            (text().map(Into::into), text(), text());
        valid.request_id = text();
        let told = format!("{:?}", valid.scrubbed(&token));
        assert!(!told.contains(SECRET), "{told}");
    }
}
