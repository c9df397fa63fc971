//! The two answers of the authority: what it decides, and whether a permit is good.

use atlasent::{
    Authority, Code, Decision, Error, EvaluateRequest, Evaluation, Failure, IssuerId, PermitRecord,
    PermitStatus, Verification, VerifyRequest,
};
use jiff::Timestamp;

use crate::chain::format_time;
use crate::ledger::{Grant, PermitEntry, PermitKey, Refusal};
use crate::local::{LocalAuthority, failed};
use crate::policy::{Question, Verdict};
use crate::record;
use crate::replay::{self, Caller, Nonce, Replay, ReplayKey};
use crate::store::{CellKey, Draft, Store};

/// The answer to a caller's evaluation.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It was decided now.
    First(Evaluation),
    /// The same request was answered before, and this is that answer.
    Repeated(Evaluation),
    /// Another request with this id was answered before, so this one has no answer.
    Conflict,
}

impl<S: Store> LocalAuthority<S> {
    /// Answers an evaluation for a caller, who gets the same answer to the same request if both
    /// have the same id (contract, part B). How long an answer can be had again is how long a
    /// permit may wait to be used.
    ///
    /// `execution_hash` is what the caller will restate at verification, if that is another one
    /// than the request's own: see [`execution_hash_of_text`](atlasent::execution_hash_of_text).
    ///
    /// ```
    /// # use atlasent::{Agent, AnyAction, EvaluateRequest, RequestOptions};
    /// # use atlasent_authority::{Answer, Caller, LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?
    ///     .with_options(RequestOptions::default().request_id("request-1"));
    ///
    /// let caller = Caller::new("key_7", b"the API key itself");
    /// let Answer::First(first) = authority.answer(caller, &request, None).await? else { panic!() };
    /// let Answer::Repeated(again) = authority.answer(caller, &request, None).await? else { panic!() };
    /// assert_eq!(first, again);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the answer cannot be recorded; then there is none.
    pub async fn answer(
        &self,
        caller: Caller<'_>,
        request: &EvaluateRequest,
        execution_hash: Option<String>,
    ) -> Result<Answer, Error> {
        let verdict = self.decide(request);
        let allows = verdict.decision.is_allow();
        let mints = allows && request.shadow != Some(true);
        let nonce = mints.then(Nonce::random).transpose()?;
        let token = nonce.map(|nonce| nonce.token(&caller)).transpose()?;
        let permit = token.as_ref().map(PermitKey::of);
        let grant = mints.then(|| Grant::of(request, execution_hash));
        let event = record::evaluation(request, &verdict, permit, self.record_context);

        let mut evaluation = Evaluation::new(verdict.decision);
        evaluation.permit_token = token;
        evaluation.reason = Some(verdict.reason.as_ref().to_owned());
        if !allows {
            evaluation.code = verdict.code.map(|code| code.as_ref().to_owned());
            evaluation.retry_after = verdict.retry_after;
        }
        let request_id = request.options.request_id.clone();
        evaluation.request_id = request_id.clone().or_else(|| Some(event.id.clone()));

        let ttl = self.permit_ttl;
        let first = move |draft: &mut Draft<'_>, mut evaluation: Evaluation| {
            let expires_at = draft.time().saturating_add(ttl).unwrap_or(Timestamp::MAX);
            let permit = permit.zip(grant);
            evaluation.expires_at = permit.is_some().then(|| format_time(expires_at));
            let event = draft.record(event.with_some("expires_at", evaluation.expires_at.clone()));
            if let Some((key, grant)) = permit {
                draft.keep_permit(key, PermitEntry::issue(grant, expires_at));
            }
            evaluation.timestamp = Some(event.occurred_at.clone());
            evaluation.audit_hash = Some(event.hash.clone());
            (evaluation, expires_at)
        };
        let Some(request_id) = request_id else {
            let change = move |draft: &mut Draft<'_>| first(draft, evaluation).0;
            return Ok(Answer::First(
                self.commit(failed::DECISION, Vec::new(), change).await?,
            ));
        };

        let key = ReplayKey::of(&caller, &request_id);
        let hash = replay::request_hash(request).map_err(unreadable)?;
        let asked = hash.clone();
        let change = move |draft: &mut Draft<'_>| {
            let now = draft.time();
            if let Some(known) = draft.replay(key).filter(|known| known.expires_at > now) {
                return Err(Box::new(known.clone()));
            }
            let (evaluation, expires_at) = first(draft, evaluation);
            draft.keep_replay(key, Replay::of(&evaluation, nonce, asked, expires_at));
            Ok(evaluation)
        };
        let reads = vec![CellKey::Replay(key)];
        match self.commit(failed::DECISION, reads, change).await? {
            Ok(evaluation) => Ok(Answer::First(evaluation)),
            Err(known) => Ok(match known.answer(&caller, &request_id, &hash) {
                Some(evaluation) => Answer::Repeated(evaluation?),
                None => Answer::Conflict,
            }),
        }
    }

    fn decide(&self, request: &EvaluateRequest) -> Verdict {
        let verdict = self.policies().decide(Question {
            agent: request.actor_id.as_str(),
            action: &request.action_type,
            resource: request.resource_id.as_deref(),
            context: request.context.as_object(),
        });
        // Nobody here can approve, so what must be approved has to wait for somebody who can.
        if verdict.decision.is_allow() && request.options.require_approval == Some(true) {
            return Verdict {
                decision: Decision::Hold,
                reason: "the request asks for an approval, which this authority cannot give".into(),
                code: Some("APPROVAL_REQUIRED".into()),
                ..verdict
            };
        }
        verdict
    }
}

impl<S: Store> Authority for LocalAuthority<S> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let caller = Caller::new("embedded", &self.secret);
        match self.answer(caller, request, None).await? {
            Answer::First(evaluation) | Answer::Repeated(evaluation) => Ok(evaluation),
            Answer::Conflict => Err(Failure::new(
                Code::BadRequest,
                "another request with this `request_id` was answered before: give each its own",
            )
            .into()),
        }
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let key = PermitKey::of(&request.permit_token);
        let asked = request.clone();
        let change = move |draft: &mut Draft<'_>| {
            let mut entry = draft.permit(key).cloned();
            let result = judge(&asked, entry.as_mut(), draft.time());
            let event = draft.record(record::verification(asked, key, entry.as_ref(), result));
            let used_up = result.map_or_else(Refusal::burns, |()| true);
            if let Some(entry) = entry.filter(|_| used_up) {
                draft.keep_permit(key, entry);
            }
            (event, result)
        };
        let (event, result) = self
            .commit(failed::VERIFICATION, vec![CellKey::Permit(key)], change)
            .await?;

        let mut verification = match result {
            Ok(()) => {
                let mut good = Verification::valid();
                good.decision = Some(Decision::Allow.to_string());
                good.reason = Some("the permit is good, and is used up now".to_owned());
                good
            }
            Err(refusal) => {
                let mut refused = Verification::refuse(refusal.outcome(), refusal.reason());
                refused.verify_error_code = Some(refusal.code().to_owned());
                refused.consumed = Some(refusal.burns());
                refused
            }
        };
        verification.permit_hash = Some(key.to_hex());
        verification.timestamp = Some(event.occurred_at.clone());
        Ok(self.issuer.vouch(request, verification))
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.status_of(permit).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.issuer.id())
    }
}

fn judge(
    request: &VerifyRequest,
    entry: Option<&mut PermitEntry>,
    now: Timestamp,
) -> Result<(), Refusal> {
    if request.permit_token.is_empty() {
        return Err(Refusal::Missing);
    }
    entry
        .ok_or(Refusal::Permit(atlasent::PermitOutcome::NotFound))?
        .consume(request, now)
}

fn unreadable(error: serde_json::Error) -> Error {
    Failure::new(Code::BadRequest, "the request has no JSON form")
        .with_source(error)
        .into()
}
