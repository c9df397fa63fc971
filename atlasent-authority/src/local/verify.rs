//! Verification: a permit is used up by the request that it fits, or refused.

use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::IssuerId;
use atlasent::error::{Code, Failure, PermitOutcome};
use atlasent::permit::PermitRecord;
use atlasent::wire::{
    ApprovalRecord, EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, Receipt,
    Verification, VerifyRequest,
};
use atlasent::{Authority, Decision, Error};
use futures_util::future::join_all;

use crate::ledger::outstanding::{AgentKey, PermitCounts};
use crate::ledger::permit_key::PermitKey;
use crate::ledger::validity::{self, InvalidPermit};
use crate::ledger::{PermitEntry, VerifyRefusal};
use crate::local::caller::{Attribution, Caller};
use crate::local::current::CurrentPolicies;
use crate::local::evaluate::EvaluateOutcome;
use crate::local::permit_cells::PermitCells;
use crate::local::schema::SchemaMismatch;
use crate::local::{LocalAuthority, failed};
use crate::policy::Policies;
use crate::store::{CellKey, Changeset, Store};
use crate::trail::chain::SealedEvent;
use crate::trail::record;

impl<S: Store> Authority for LocalAuthority<S> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let caller = Caller::embedded(&self.secret);
        let outcome = self.evaluate_for(caller, request, None).await?;
        outcome.into_evaluation()
    }

    /// Decides on all requests side by side, so that they share the transactions of the store.
    /// Those that only ask what would be decided share one.
    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        if requests.iter().all(|request| request.shadow == Some(true)) {
            let outcomes = self.decide_shadows(Caller::embedded(&self.secret), requests);
            let outcomes = outcomes.await?.into_iter();
            return Ok(outcomes
                .map(|outcome| outcome.and_then(EvaluateOutcome::into_evaluation))
                .collect());
        }
        Ok(join_all(requests.iter().map(|request| self.evaluate(request))).await)
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.verify_for(Caller::embedded(&self.secret), request)
            .await
    }

    async fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> Result<(Evaluation, Option<Verification>), Error> {
        let caller = Caller::embedded(&self.secret);
        let (outcome, verification) = self.decide(caller, request, None, Some(restated)).await?;
        Ok((outcome.into_evaluation()?, verification))
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        let unknown = || Failure::new(Code::BadRequest, "there is no such escalation");
        let id = escalation_id.parse().map_err(|_| unknown())?;
        let row = self.wait_for_approval(id, at_most).await?;
        Ok(row.ok_or_else(unknown)?.state.into())
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.status_of(permit).await
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.complete_permit(receipt).await.map(drop)
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.issuer.id())
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Verifies a permit for a caller, as [`verify`](Authority::verify) does for code of this
    /// process.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the verification cannot be recorded, or the policies have another
    /// schema than the [caller requires](Caller::require_schema); the permit is not used up then.
    pub async fn verify_for(
        &self,
        caller: Caller<'_>,
        request: &VerifyRequest,
    ) -> Result<Verification, Error> {
        let key = PermitKey::from_token(&request.permit_token);
        let attribution = caller.attribution();
        // The counts to read are those of the permit. It is not read yet, so the first attempt
        // takes the agent that the request names, and the limits in force.
        let environment = attribution.environment.as_deref();
        let limit = self.limits.get().max_permits;
        let counts = request.actor_id.as_ref().map(|guess| PermitCounts {
            agent: AgentKey::new(guess.as_str(), environment),
            total: limit.map(|_| AgentKey::total(environment)),
        });
        let mut cells = PermitCells::new(counts, []);
        loop {
            let mut reads = vec![CellKey::Permit(key), CellKey::Stops];
            reads.extend(cells.keys());
            let change =
                PendingVerification::new(self, &caller, request.clone(), &attribution, cells);
            match self
                .commit(failed::VERIFICATION, reads, move |changeset| {
                    change.run(changeset)
                })
                .await?
            {
                Attempt::NeedsCells(needed) => cells = needed,
                Attempt::OtherSchema(mismatch) => return Err(mismatch.into_failure()),
                Attempt::Answered(event, result) => {
                    let verification = answer(key, &event, result);
                    return Ok(self.issuer.vouch(request, verification));
                }
            }
        }
    }
}

/// A presented permit, to be verified by one transaction.
#[derive(Clone)]
pub(super) struct PendingVerification {
    current: Arc<CurrentPolicies>,
    request: VerifyRequest,
    attribution: Attribution,
    /// The digest of the schema that the caller requires.
    required_schema: Option<String>,
    key: PermitKey,
    /// The cells that the transaction reads beside the permit and the stops.
    cells: PermitCells,
}

pub(super) enum Attempt {
    Answered(Arc<SealedEvent>, Result<Vec<ApprovalRecord>, VerifyRefusal>),
    /// The permit is part of other counts, or takes from budgets, which the transaction has to
    /// read: try again.
    NeedsCells(PermitCells),
    OtherSchema(SchemaMismatch),
}

impl PendingVerification {
    /// Creates the verification of a permit. Its transaction has to read the permit, the stops and
    /// `cells`.
    pub(super) fn new<S: Store>(
        authority: &LocalAuthority<S>,
        caller: &Caller<'_>,
        request: VerifyRequest,
        attribution: &Attribution,
        cells: PermitCells,
    ) -> Self {
        Self {
            current: Arc::clone(&authority.policies),
            key: PermitKey::from_token(&request.permit_token),
            request,
            attribution: attribution.clone(),
            required_schema: caller.required_schema().map(str::to_owned),
            cells,
        }
    }

    /// Uses the permit up, or refuses it, and records that.
    pub(super) fn run(self, changeset: &mut Changeset<'_>) -> Attempt {
        let policies = self.current.get();
        let required = self.required_schema.as_deref();
        if let Err(mismatch) = SchemaMismatch::check(&policies, required) {
            return Attempt::OtherSchema(mismatch);
        }
        let environment = self.attribution.environment.as_deref();
        let known = changeset.permit(self.key).cloned();
        let mut entry = known.filter(|entry| entry.grant.is_known_to(environment));
        if let Some(needed) = self.cells.missing_from(entry.as_ref()) {
            return Attempt::NeedsCells(needed);
        }
        let before = entry.as_ref().map(|entry| entry.state);
        let result = self.judge(entry.as_mut(), &policies, changeset);
        let event = record::verification(self.request, self.key, entry.as_ref(), result);
        let event = changeset.record(self.attribution.sign(event));
        let approvals = entry.as_ref().map(|entry| entry.grant.approvals.clone());
        let result = result.map(|()| approvals.unwrap_or_default());
        if let Some(entry) = entry.filter(|entry| Some(entry.state) != before) {
            changeset.keep_ended(self.key, entry, before);
        }
        Attempt::Answered(event, result)
    }

    /// Uses the permit up, or returns why it is refused.
    fn judge(
        &self,
        entry: Option<&mut PermitEntry>,
        policies: &Policies,
        changeset: &Changeset<'_>,
    ) -> Result<(), VerifyRefusal> {
        if self.request.permit_token.is_empty() {
            return Err(VerifyRefusal::Missing);
        }
        let now = changeset.time();
        let entry = entry.ok_or(VerifyRefusal::Permit(PermitOutcome::NotFound))?;
        if let Err(invalid) = validity::check(entry, &changeset.stops(), policies, now) {
            let refusal = invalid.refusal();
            match invalid {
                InvalidPermit::Closed(_) => {}
                InvalidPermit::Killed(killed) => {
                    entry.kill(killed, now);
                }
                InvalidPermit::PolicyChanged => {
                    entry.revoke(now, None, refusal.reason());
                }
            }
            return Err(refusal);
        }
        entry.consume(&self.request, now)
    }
}

/// Returns the answer to the verification of a permit that an event records.
pub(super) fn answer(
    permit: PermitKey,
    event: &SealedEvent,
    result: Result<Vec<ApprovalRecord>, VerifyRefusal>,
) -> Verification {
    let mut verification = match result {
        Ok(approvals) => {
            let mut good = Verification::valid().with_approvals(approvals);
            good.decision = Some(Decision::Allow.as_str().into());
            good.reason = Some("the permit is valid, and is used up now".into());
            good
        }
        Err(refusal) => {
            let mut refused = Verification::refuse(refusal.outcome(), refusal.reason());
            refused.verify_error_code = Some(refusal.code().to_owned());
            refused.consumed = Some(refusal.burns());
            refused
        }
    };
    verification.permit_hash = Some(permit.to_hex());
    verification.timestamp = Some(event.occurred_at.clone());
    verification
}
