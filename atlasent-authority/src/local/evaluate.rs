//! Evaluation: may this agent take this action?
//!
//! The policies decide before the transaction. Inside it, an allow is issued only if nothing stands
//! against it: replaced policies, a stop, an earlier answer to the same request, too many events,
//! or too many unused permits of the agent or of all agents.
//!
//! A worked example. `bot` sends `deploy` with the request id `r1`, and its answer gets lost:
//!
//! - The policies allow it. The transaction reads the stops, the count of `bot` and the replay cell
//!   of `r1`, which is empty. It records `evaluate.allow`, and keeps the permit, the count and the
//!   replay.
//! - `bot` sends the same request again. The replay cell now names permit P, which this transaction
//!   has not read, so [`Attempt::NeedsPermit`] makes the loop commit again with P among its reads.
//! - P is unused, so the transaction records `evaluate.replayed` and returns the first answer. The
//!   token is derived again, since the store holds none.
//! - Had the policies been replaced in between, the transaction would return
//!   [`Attempt::PoliciesChanged`], and the request would be decided again by the new ones.

use std::sync::Arc;

use atlasent::error::{Code, Failure};
use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Decision, Error};

use crate::ledger::PermitGrant;
use crate::ledger::approval::EscalationId;
use crate::ledger::outstanding::{AgentKey, PermitCounts};
use crate::ledger::permit_key::PermitKey;
use crate::ledger::replay::{self, ReplayKey};
use crate::local::approvals::{HeldRequest, PresentedApprovals};
use crate::local::budgets;
use crate::local::caller::Caller;
use crate::local::pending::{Attempt, BAD_APPROVAL, NewPermit, PendingDecision, RepeatableRequest};
use crate::local::permit_cells::PermitCells;
use crate::local::schema::SchemaMismatch;
use crate::local::verify::{Attempt as VerifyAttempt, PendingVerification, answer};
use crate::local::{LocalAuthority, failed, unavailable};
use crate::policy::fields;
use crate::policy::{ApprovalRule, Policies, Verdict};
use crate::store::Store;
use crate::trail::chain::ChainHead;
use crate::trail::record;

/// How often one request is decided before the authority gives up, when something that it depends
/// on changes each time.
const ATTEMPTS: usize = 8;

/// Why a request is not decided after the last attempt.
const POLICIES_CHANGED: &str =
    "the policies changed again and again while the request was decided: try again";
const OTHERS_ASKED: &str =
    "others asked the same again and again while the request was decided: try again";

/// What stands for a policy where the request itself asks for an approval.
const BY_REQUEST: &str = "require_approval";

/// The result of an evaluation for a caller.
#[derive(Clone, Debug, PartialEq)]
pub enum EvaluateOutcome {
    /// The request was decided now.
    First(Evaluation),
    /// The request is a repetition: its permit is still unused, and this is the answer that it got
    /// before.
    Repeated(Evaluation),
    /// A different request with the same `request_id` was allowed before, so this one is not
    /// decided.
    Conflict,
}

impl EvaluateOutcome {
    /// Returns the evaluation for code of this process, for which a conflict is an error.
    pub(super) fn into_evaluation(self) -> Result<Evaluation, Error> {
        match self {
            Self::First(evaluation) | Self::Repeated(evaluation) => Ok(evaluation),
            Self::Conflict => Err(Failure::new(
                Code::BadRequest,
                "another request with this `request_id` was allowed before: give each request its own",
            )
            .into()),
        }
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Evaluates a request for a caller, as [`evaluate`](atlasent::Authority::evaluate) does for
    /// code of this process.
    ///
    /// A caller that repeats a request with the same `request_id` gets the same allow, while its
    /// permit is unused and the policies that granted it are in force. Every other request is
    /// decided anew (contract, part B).
    ///
    /// `execution_hash` is the hash that the caller will restate at verification, where that is not
    /// the request's own: see [`execution_hash_of_text`](atlasent::wire::execution_hash_of_text).
    ///
    /// ```
    /// # use atlasent::wire::{EvaluateRequest, RequestOptions};
    /// # use atlasent::{Agent, AnyAction};
    /// # use atlasent_authority::{EvaluateOutcome, Caller, LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// # let policies = Policies::parse("permit (principal, action, resource);")?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?
    ///     .with_options(RequestOptions::default().request_id("request-1"));
    ///
    /// let caller = Caller::new("key_7", b"the API key itself");
    /// let EvaluateOutcome::First(first) = authority.evaluate_for(caller, &request, None).await? else { panic!() };
    /// let EvaluateOutcome::Repeated(again) = authority.evaluate_for(caller, &request, None).await? else { panic!() };
    /// assert_eq!(first, again);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the `environment` or `amount` of the context contradicts the
    /// request's, or the context names `actors`: nothing is decided or recorded then.
    /// [`Error::Failed`] when the decision cannot be recorded, the store holds too many events (its
    /// source is a [`StorageLimit`](crate::StorageLimit)), or the policies have another schema than
    /// the [caller requires](Caller::require_schema): no permit is issued then.
    pub async fn evaluate_for(
        &self,
        caller: Caller<'_>,
        request: &EvaluateRequest,
        execution_hash: Option<String>,
    ) -> Result<EvaluateOutcome, Error> {
        let decided = self.decide(caller, request, execution_hash, None).await?;
        Ok(decided.0)
    }

    /// Evaluates a request, and verifies the permit of a new allow in the same transaction if
    /// `restated` is set: the request of that verification, without the token. A permit that the
    /// transaction does not verify stays unused.
    pub(super) async fn decide(
        &self,
        caller: Caller<'_>,
        request: &EvaluateRequest,
        execution_hash: Option<String>,
        restated: Option<&VerifyRequest>,
    ) -> Result<(EvaluateOutcome, Option<Verification>), Error> {
        let repeat = repeatable(&caller, request)?;
        let chain = self.chain_of_approvals(request).await?;
        let (mut earlier, mut decisions, mut has_ended_due) = (None, Vec::new(), false);
        let mut cause = POLICIES_CHANGED;
        for _ in 0..ATTEMPTS {
            let mut change =
                self.change(&caller, request, execution_hash.as_deref(), chain.as_ref())?;
            change.repeat.clone_from(&repeat);
            if let Some(repeat) = &mut change.repeat {
                repeat.permit = earlier;
            }
            if let Some(held) = &mut change.held {
                held.rows.clone_from(&decisions);
                held.has_ended_due = has_ended_due;
                // Boxed, so that the future of a request that is not held stays small.
                Box::pin(self.end_overdue_approvals()).await?;
            }
            let reads = change.reads();
            let verification =
                restated.and_then(|restated| self.verification_of(&change, &caller, restated));
            let (attempt, verified) = self
                .commit(failed::DECISION, reads, move |changeset| {
                    let attempt = change.run(changeset);
                    let verified = (verification.filter(|_| attempt.is_allow()))
                        .map(|verification| verification.run(changeset));
                    (attempt, verified)
                })
                .await?;
            match attempt {
                Attempt::First(evaluation) => {
                    self.wake_waiters(&decisions, &evaluation);
                    let verification = self.vouched(restated, &evaluation, verified);
                    return Ok((EvaluateOutcome::First(*evaluation), verification));
                }
                Attempt::Conflict => return Ok((EvaluateOutcome::Conflict, None)),
                Attempt::Repeated(replay) => {
                    let request_id = request.options.request_id.clone();
                    let answer = replay.answer(&caller, request_id)?;
                    return Ok((EvaluateOutcome::Repeated(answer), None));
                }
                Attempt::NeedsPermit(permit) => {
                    (earlier, cause) = (Some(permit), OTHERS_ASKED);
                }
                Attempt::NeedsDecisions(unread) => {
                    decisions.extend(unread);
                    cause = OTHERS_ASKED;
                }
                Attempt::TooManyApprovals => {
                    Box::pin(self.expire_due_approvals()).await?;
                    (has_ended_due, cause) = (true, OTHERS_ASKED);
                }
                Attempt::PoliciesChanged => cause = POLICIES_CHANGED,
                Attempt::StorageLimit(limit) => return Err(limit.into_failure()),
            }
        }
        Err(Failure::new(Code::ServerError, cause).into())
    }

    /// Returns the verification of the permit that a pending decision issues. `None` if the
    /// policies do not allow the request.
    fn verification_of(
        &self,
        change: &PendingDecision,
        caller: &Caller<'_>,
        restated: &VerifyRequest,
    ) -> Option<Box<PendingVerification>> {
        let new_permit = change.new_permit.as_ref()?;
        let mut request = restated.clone();
        request.permit_token = new_permit.token.clone();
        let attribution = caller.attribution();
        let charged = change.charges.iter().map(budgets::PendingCharge::key);
        Some(Box::new(PendingVerification::new(
            self,
            caller,
            request,
            &attribution,
            PermitCells::new(Some(change.counts), charged),
        )))
    }

    /// Returns the answer to a verification in the transaction of its evaluation. `None` if there
    /// was none, or if it has to be tried again.
    fn vouched(
        &self,
        restated: Option<&VerifyRequest>,
        evaluation: &Evaluation,
        verified: Option<VerifyAttempt>,
    ) -> Option<Verification> {
        let token = evaluation.permit_token.as_ref()?;
        let VerifyAttempt::Answered(event, result) = verified? else {
            return None;
        };
        let answer = answer(PermitKey::from_token(token), &event, result);
        Some(self.issuer.vouch_for(restated?, token, answer))
    }

    /// Decides a request by the policies in force, and prepares the change for the transaction.
    ///
    /// It is boxed, and so is the verification: each future and each queue on the way to the
    /// transaction would copy what they hold.
    pub(super) fn change(
        &self,
        caller: &Caller<'_>,
        request: &EvaluateRequest,
        execution_hash: Option<&str>,
        chain: Option<&ChainHead>,
    ) -> Result<Box<PendingDecision>, Error> {
        let policies = self.policies();
        SchemaMismatch::check(&policies, caller.required_schema())
            .map_err(SchemaMismatch::into_failure)?;
        let mut verdict = verdict_on(&policies, request)?;
        let attribution = caller.attribution();
        let release = self.releasable(&policies, request, &verdict)?;
        let charges = match &release {
            None if !verdict.decision.is_allow() => Ok(Vec::new()),
            release => {
                let granting = release
                    .as_ref()
                    .map_or(&verdict.determining, |r| &r.granting);
                let environment = attribution.environment.as_deref();
                budgets::charges(&policies, granting, request, environment)
            }
        };
        // A shadow opens no pending decision.
        let release = release.filter(|_| request.shadow != Some(true));
        let mut rules = release.map(|release| release.rules);
        let holding = match self.record_context {
            true => Some(verdict.approval.clone()),
            false => None,
        };
        let mut presented = PresentedApprovals::default();
        if let (Some(rules_of_hold), Some(chain)) = (&rules, chain) {
            let (trusted, now) = (&self.trusted_issuers, chain.time_at(self.clock.now()));
            match PresentedApprovals::verify(request, rules_of_hold, &chain.org_id, trusted, now) {
                Ok(verified) => presented = verified,
                Err(reason) => {
                    rules = None;
                    verdict = bad_approval(verdict, reason);
                }
            }
        }
        let mut new_permit = None;
        if verdict.decision.is_allow() && request.shadow != Some(true) || rules.is_some() {
            let digest = policies.shared_action_digest(&request.action_type);
            let mut grant = PermitGrant::new(request, execution_hash, digest);
            grant.key_environment.clone_from(&attribution.environment);
            new_permit = Some(NewPermit::new(caller, grant)?);
        }
        let (action, resource) = match &new_permit {
            Some(NewPermit { grant, .. }) => (Arc::clone(&grant.action), grant.resource.clone()),
            None => (
                (&*request.action_type).into(),
                request.resource_id.as_deref().map(Arc::from),
            ),
        };
        let mut held = None;
        if let Some(rules) = rules
            && let Some(permit) = new_permit.take()
        {
            let reason = &verdict.reason;
            let request =
                HeldRequest::new(self, request, reason, rules, presented, caller, permit)?;
            held = Some(Box::new(request));
        }
        let permit = new_permit.as_ref().map(|new_permit| new_permit.key);
        let limits = self.limits.get();
        let key_environment = attribution.environment.as_deref();
        let total = limits.max_permits.map(|_| AgentKey::total(key_environment));
        let counts = PermitCounts {
            agent: AgentKey::new(request.actor_id.as_str(), key_environment),
            total,
        };
        let mut evaluation = Evaluation::new(verdict.decision);
        evaluation.permit_token = new_permit
            .as_ref()
            .map(|new_permit| new_permit.token.clone());
        evaluation.permit_id = permit.map(|key| key.id().to_string());
        evaluation.reason = Some(verdict.reason.as_ref().to_owned());
        if !verdict.decision.is_allow() {
            let explain = request.options.explain == Some(true);
            evaluation.explanation = policies.explanation(&verdict, explain);
            evaluation.code = verdict.code.as_deref().map(str::to_owned);
            evaluation.retry_after = verdict.retry_after;
        }
        evaluation.policy_version = Some(policies.digest().to_owned());

        let about = (Arc::clone(&action), resource);
        let with_context = holding.as_deref().map(|rules| (rules, caller));
        let event = record::evaluation(request, about, verdict, permit, with_context)
            .with("policy_version", policies.shared_digest());
        let event = attribution.sign(event);
        let request_id = request.options.request_id.as_deref().unwrap_or(&event.id);
        evaluation.request_id = Some(request_id.to_owned());

        let (charges, bad_amount) = match charges {
            Ok(charges) => (charges, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        let mut pending = Box::new(PendingDecision {
            current: Arc::clone(&self.policies),
            policies,
            life: self.permit_ttl,
            limits,
            counts,
            actors: request.actors.clone(),
            action,
            environment: attribution.environment,
            repeat: None,
            event,
            evaluation,
            new_permit,
            charges,
            held,
            approval_url: self.approval_url.clone(),
        });
        if let Some(reason) = bad_amount {
            pending.deny_by_amount(reason);
        }
        Ok(pending)
    }

    /// Wakes those who wait for a decision that the request has closed or used: every one that it
    /// has read, except the open one that it joined.
    fn wake_waiters(&self, decisions: &[EscalationId], evaluation: &Evaluation) {
        let is_held = matches!(evaluation.decision, Decision::Hold | Decision::Escalate);
        let joined = evaluation.escalation_id.as_deref().filter(|_| is_held);
        for id in decisions {
            if joined != Some(&*id.to_string()) {
                self.waiters.wake(*id);
            }
        }
    }

    /// Returns the end of the chain, by whose organization and time signed approvals are verified.
    /// `None` for a request that carries no approval.
    async fn chain_of_approvals(
        &self,
        request: &EvaluateRequest,
    ) -> Result<Option<ChainHead>, Error> {
        let options = &request.options;
        if options.approval.is_none() && options.approval_quorum.is_none() {
            return Ok(None);
        }
        let status = self.store.status().await;
        let status = status.map_err(|error| unavailable(failed::APPROVALS, error))?;
        Ok(Some(status.head))
    }

    /// Returns what releases a held request. `None` for a request that is not held, and for
    /// one that the policies would not permit without their holds: an approval would release
    /// nothing.
    fn releasable(
        &self,
        policies: &Policies,
        request: &EvaluateRequest,
        verdict: &Verdict,
    ) -> Result<Option<Release>, Error> {
        let is_held = matches!(verdict.decision, Decision::Hold | Decision::Escalate);
        if !is_held {
            return Ok(None);
        }
        // A request that asks for an approval itself is held by no policy.
        if verdict.approval.is_empty() {
            return Ok(Some(Release {
                rules: vec![ApprovalRule::new(BY_REQUEST)],
                granting: verdict.determining.clone(),
            }));
        }
        let without_holds = policies.decide_without_holds(fields::policy_input(request)?);
        let is_permitted = without_holds.decision.is_allow();
        Ok(is_permitted.then(|| Release {
            rules: verdict.approval.clone(),
            granting: without_holds.determining,
        }))
    }
}

/// What releases a held request, and which policies grant it then.
struct Release {
    rules: Vec<ApprovalRule>,
    granting: Vec<Arc<str>>,
}

/// Returns what a request with an id is known by when it is repeated.
pub(super) fn repeatable(
    caller: &Caller<'_>,
    request: &EvaluateRequest,
) -> Result<Option<RepeatableRequest>, Error> {
    let Some(id) = &request.options.request_id else {
        return Ok(None);
    };
    Ok(Some(RepeatableRequest {
        key: ReplayKey::new(caller, id),
        request_hash: replay::request_hash(request).map_err(unreadable)?,
        permit: None,
    }))
}

/// Returns the policies' verdict on a request.
fn verdict_on(policies: &Policies, request: &EvaluateRequest) -> Result<Verdict, Error> {
    let verdict = policies.decide(fields::policy_input(request)?);
    // The request is held until an approver agrees, even where no policy asks for that.
    if verdict.decision.is_allow() && request.options.require_approval == Some(true) {
        return Ok(Verdict {
            decision: Decision::Hold,
            reason: "the request asks for an approval".into(),
            code: Some("APPROVAL_REQUIRED".into()),
            ..verdict
        });
    }
    Ok(verdict)
}

/// Turns the verdict on a request into a denial for an approval that it carries.
fn bad_approval(verdict: Verdict, reason: String) -> Verdict {
    Verdict {
        decision: Decision::Deny,
        reason: reason.into(),
        code: Some(BAD_APPROVAL.into()),
        approval: Vec::new(),
        ..verdict
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Failure::new(Code::BadRequest, "the request has no JSON form")
        .with_source(error)
        .into()
}
