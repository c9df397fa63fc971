//! A decided request in its transaction: checks that nothing stands against the decision, and
//! records it.

use std::sync::Arc;

use atlasent::wire::{Evaluation, PermitToken};
use atlasent::{Agent, Decision, Error};
use jiff::{SignedDuration, Timestamp};

use crate::duration::whole_seconds;
use crate::ledger::approval::{ApprovalEntry, EscalationId};
use crate::ledger::outstanding::PermitCounts;
use crate::ledger::permit_key::PermitKey;
use crate::ledger::replay::{Nonce, Replay, ReplayKey};
use crate::ledger::stops::Stop;
use crate::ledger::validity;
use crate::ledger::{PermitEntry, PermitGrant};
use crate::local::approvals::{HeldRequest, HoldPlan};
use crate::local::budgets::{self, Exceeded, PendingCharge};
use crate::local::caller::Caller;
use crate::local::current::CurrentPolicies;
use crate::local::limits::{Limits, StorageLimit};
use crate::policy::Policies;
use crate::store::{CellKey, Changeset};
use crate::trail::chain::{NewEvent, format_time};
use crate::trail::record;

/// The code of a denial by a stop (contract, part D).
const STOPPED: &str = "STOPPED";

/// The code of a denial because the agent holds too many unused permits.
const AGENT_LIMIT: &str = "AGENT_PERMIT_LIMIT";

/// The code of a denial because all agents together hold too many unused permits.
const TOTAL_LIMIT: &str = "ORGANIZATION_PERMIT_LIMIT";

/// The code of a denial because a budget does not have the amount that the request needs.
const BUDGET_EXCEEDED: &str = "BUDGET_EXCEEDED";

/// The code of a denial because the request has no amount that a budget could add up.
const BUDGET_AMOUNT: &str = "BUDGET_AMOUNT_INVALID";

/// The code of a denial because approvers rejected the same question.
const REJECTED: &str = "APPROVAL_REJECTED";

/// The code of a denial because the caller is one of the approvers.
const SELF_APPROVAL: &str = "SELF_APPROVAL";

/// The code of a denial because an approval that the request carries is not good for it (contract,
/// part D).
pub(super) const BAD_APPROVAL: &str = "APPROVAL_ARTIFACT_INVALID";

/// The code of a denial because too many decisions wait for approvers.
const APPROVAL_LIMIT: &str = "APPROVAL_LIMIT";

/// The code of a denial because a request has more than approvers are shown.
const APPROVAL_TOO_LARGE: &str = "APPROVAL_TOO_LARGE";

/// A request that its caller may repeat, since it has a `request_id`.
#[derive(Clone)]
pub(super) struct RepeatableRequest {
    pub(super) key: ReplayKey,
    pub(super) request_hash: String,
    /// The permit of the earlier answer, which the transaction reads. Unset until an earlier answer
    /// is found.
    pub(super) permit: Option<PermitKey>,
}

/// A permit to issue.
#[derive(Clone)]
pub(super) struct NewPermit {
    pub(super) nonce: Nonce,
    pub(super) token: PermitToken,
    pub(super) key: PermitKey,
    pub(super) grant: PermitGrant,
}

impl NewPermit {
    /// Derives the token of a new permit.
    pub(super) fn new(caller: &Caller<'_>, grant: PermitGrant) -> Result<Self, Error> {
        let nonce = Nonce::random()?;
        let token = nonce.token(caller)?;
        Ok(Self {
            nonce,
            key: PermitKey::from_token(&token),
            token,
            grant,
        })
    }
}

/// A decided request, to be recorded by one transaction.
#[derive(Clone)]
pub(super) struct PendingDecision {
    pub(super) current: Arc<CurrentPolicies>,
    /// The policies that made the decision.
    pub(super) policies: Arc<Policies>,
    /// How long an unused permit stays valid.
    pub(super) life: SignedDuration,
    pub(super) limits: Limits,
    /// The counts of the new permit.
    pub(super) counts: PermitCounts,
    /// The agents that act for the agent.
    pub(super) actors: Vec<Agent>,
    pub(super) action: Arc<str>,
    /// The environment of the caller's API key.
    pub(super) environment: Option<Arc<str>>,
    pub(super) repeat: Option<RepeatableRequest>,
    pub(super) event: NewEvent,
    pub(super) evaluation: Evaluation,
    pub(super) new_permit: Option<NewPermit>,
    /// What the permit takes from budgets.
    pub(super) charges: Vec<PendingCharge>,
    /// What approvers can release. Unset for a request that no approval releases.
    pub(super) held: Option<Box<HeldRequest>>,
    /// The address of the page where people approve, with `{id}` in the place of the id.
    pub(super) approval_url: Option<Arc<str>>,
}

/// What became of a pending decision in its transaction.
pub(super) enum Attempt {
    First(Box<Evaluation>),
    Repeated(Box<Replay>),
    Conflict,
    /// An earlier answer names this permit, which the transaction has not read: try again with it.
    NeedsPermit(PermitKey),
    /// The agent's questions name these pending decisions, which the transaction has not read: try
    /// again with them.
    NeedsDecisions(Vec<EscalationId>),
    /// Too many decisions are open, and some of them may be due: end those, and try again.
    TooManyApprovals,
    PoliciesChanged,
    StorageLimit(StorageLimit),
}

impl Attempt {
    /// Returns whether the request was allowed now.
    pub(super) fn is_allow(&self) -> bool {
        matches!(self, Self::First(evaluation) if evaluation.decision.is_allow())
    }
}

/// Whether the request got an answer before that can be given again.
enum EarlierAnswer {
    No,
    Yes(Box<Replay>, PermitKey),
    Conflict,
    NeedsPermit(PermitKey),
}

impl PendingDecision {
    /// Returns the cells that the transaction reads.
    pub(super) fn reads(&self) -> Vec<CellKey> {
        // The stops, two counts, a replay and its permit.
        let mut reads = Vec::with_capacity(5);
        reads.push(CellKey::Stops);
        if self.permit_to_issue().is_some() {
            reads.extend(self.counts.keys().map(CellKey::Agent));
        }
        if let Some(repeat) = &self.repeat {
            reads.push(CellKey::Replay(repeat.key));
            reads.extend(repeat.permit.map(CellKey::Permit));
        }
        reads.extend(self.charges.iter().map(PendingCharge::cell));
        reads.extend(self.held.iter().flat_map(|held| held.reads()));
        reads
    }

    /// Returns the permit that the request gets, or would get if it is released.
    fn permit_to_issue(&self) -> Option<&NewPermit> {
        let released = self.held.as_ref().map(|held| &held.new_permit);
        self.new_permit.as_ref().or(released)
    }

    /// Checks the decision against the store, and records it.
    pub(super) fn run(mut self: Box<Self>, changeset: &mut Changeset<'_>) -> Attempt {
        if !self.current.are(&self.policies) {
            return Attempt::PoliciesChanged;
        }
        // A denial is an event, too, so nothing is recorded beyond the limit.
        if let Err(limit) = StorageLimit::check(changeset.held_events(), self.limits.max_events) {
            return Attempt::StorageLimit(limit);
        }
        let (now, stops) = (changeset.time(), changeset.stops());
        let agent = self
            .event
            .actor_id
            .as_ref()
            .map_or("", |agent| agent.as_str());
        let asked = (agent, &*self.actors, &*self.action);
        let mut plan = None;
        if let Some(stop) = stops.denying(asked, self.environment.as_deref(), now) {
            self.deny_by_stop(stop, now);
        } else {
            match self.earlier(changeset) {
                EarlierAnswer::No => {}
                EarlierAnswer::Conflict => return Attempt::Conflict,
                EarlierAnswer::NeedsPermit(permit) => return Attempt::NeedsPermit(permit),
                EarlierAnswer::Yes(replay, permit) => {
                    changeset.record(record::replayed(self.event, permit));
                    return Attempt::Repeated(replay);
                }
            }
            if !self.evaluation.decision.is_allow() {
                self.check_whole_budgets(changeset);
            }
            if let Some(held) = self.held.take() {
                match held.plan(&self.policies, &self.limits, changeset) {
                    Ok(HoldPlan::TooMany(_)) if held.may_count_due(now) => {
                        return Attempt::TooManyApprovals;
                    }
                    Ok(planned) => {
                        self.follow(&held, &planned);
                        plan = Some((held, planned));
                    }
                    Err(decisions) => return Attempt::NeedsDecisions(decisions),
                }
            }
            if self.new_permit.is_some() {
                self.check_permits(changeset);
            }
            if self.evaluation.decision.is_allow() {
                self.check_budgets(changeset);
            }
        }
        let evaluation = self.decide(changeset);
        // A release that ends in a denial, because of a limit, stays for the next request.
        let releases = matches!(plan, Some((_, HoldPlan::Release(_))));
        if let Some((held, plan)) = plan
            && evaluation.decision.is_allow() == releases
        {
            plan.carry_out(&held, changeset);
        }
        Attempt::First(Box::new(evaluation))
    }

    /// Makes the answer to a held request what its pending decision says.
    fn follow(&mut self, held: &HeldRequest, plan: &HoldPlan) {
        match plan {
            HoldPlan::Release(row) => self.release(held.new_permit.clone(), row),
            HoldPlan::Rejected(row) => {
                let closing = row.closing.as_ref();
                let by = closing.and_then(|closing| closing.by.as_deref());
                let note = closing.and_then(|closing| closing.note.as_deref());
                let note = note.map(|note| format!(": {note}")).unwrap_or_default();
                let reason = format!("rejected by `{}`{note}", by.unwrap_or("an approver"));
                self.deny(REJECTED, reason);
            }
            HoldPlan::OwnApproval(_, approver) => {
                let reason = format!(
                    "`{approver}` approved this, and an approver cannot use the approval: the \
                     permit is for other callers that ask"
                );
                self.deny(SELF_APPROVAL, reason);
            }
            HoldPlan::BadApproval(reason) => self.deny(BAD_APPROVAL, reason.clone()),
            HoldPlan::TooMany(reason) => self.deny(APPROVAL_LIMIT, reason.clone()),
            HoldPlan::TooLarge(reason) => self.deny(APPROVAL_TOO_LARGE, reason.clone()),
            HoldPlan::Open(_) | HoldPlan::Join(_) => {}
        }
        let Some(row) = plan.row() else {
            return;
        };
        let id = row.id.to_string();
        self.event
            .payload
            .insert("escalation_id", id.clone().into());
        if row.is_open() {
            let page = |template: &Arc<str>| template.replace("{id}", &id);
            self.evaluation.approval_url = self.approval_url.as_ref().map(page);
        }
        self.evaluation.escalation_id = Some(id);
    }

    /// Turns the hold into an allow: the approvers have released it.
    fn release(&mut self, mut permit: NewPermit, row: &ApprovalEntry) {
        permit.grant.approvals = row.approval_records();
        let approved_by = row.approved_by();
        let reason = format!("approved by `{}`", approved_by.join("`, `"));
        record::allow_instead(&mut self.event, permit.key, reason.clone());
        self.event.payload.insert("approvers", approved_by.into());
        let evaluation = &mut self.evaluation;
        evaluation.decision = Decision::Allow;
        evaluation.permit_token = Some(permit.token.clone());
        evaluation.permit_id = Some(permit.key.id().to_string());
        evaluation.reason = Some(reason);
        evaluation.code = None;
        evaluation.explanation = Vec::new();
        evaluation.retry_after = None;
        self.new_permit = Some(permit);
    }

    /// Looks up an allow that the same request got before and whose permit is unused.
    fn earlier(&self, changeset: &Changeset<'_>) -> EarlierAnswer {
        let now = changeset.time();
        let Some(repeat) = &self.repeat else {
            return EarlierAnswer::No;
        };
        let Some(replay) = changeset
            .replay(repeat.key)
            .filter(|known| known.expires_at > now)
        else {
            return EarlierAnswer::No;
        };
        if replay.request_hash != repeat.request_hash {
            return EarlierAnswer::Conflict;
        }
        let Some(permit) = replay.permit else {
            return EarlierAnswer::No;
        };
        if repeat.permit != Some(permit) {
            return EarlierAnswer::NeedsPermit(permit);
        }
        let is_valid = changeset.permit(permit).is_some_and(|entry| {
            validity::check(entry, &changeset.stops(), &self.policies, now).is_ok()
        });
        match is_valid && self.permit_to_issue().is_some() {
            true => EarlierAnswer::Yes(Box::new(replay.clone()), permit),
            false => EarlierAnswer::No,
        }
    }

    fn deny_by_stop(&mut self, stop: &Stop, now: Timestamp) {
        let reason = format!("stopped: {}", stop.reason);
        let left = stop
            .expires_at
            .and_then(|end| std::time::Duration::try_from(now.duration_until(end)).ok());
        self.deny(STOPPED, reason);
        let id = stop.id.clone();
        self.event.payload.insert("stop_id", id.into());
        // An earlier request would be denied again.
        self.evaluation.retry_after = left.map(whole_seconds).map(std::time::Duration::from_secs);
    }

    /// Denies the request if there are as many unused permits as there may be.
    fn check_permits(&mut self, changeset: &Changeset<'_>) {
        let waiting = changeset.unused_permits(self.counts.agent);
        if waiting >= self.limits.permits_per_agent {
            return self.deny_by_agent_limit(waiting);
        }
        if let (Some(limit), Some(total)) = (self.limits.max_permits, self.counts.total) {
            let waiting = changeset.unused_permits(total);
            if waiting >= limit.get() {
                let reason = format!(
                    "the organization has {waiting} unused permits, and the limit is {limit}: \
                     verify or revoke some first, or wait until they expire"
                );
                self.deny(TOTAL_LIMIT, reason);
            }
        }
    }

    /// Denies the request if its permit does not fit a budget.
    fn check_budgets(&mut self, changeset: &Changeset<'_>) {
        let (states, result) = budgets::check(&self.charges, changeset);
        if let Err(exceeded) = result {
            self.deny_by_budget(exceeded);
        } else if self.new_permit.is_some() && !self.charges.is_empty() {
            let recorded = self.charges.iter().map(PendingCharge::recorded);
            let recorded: Vec<Arc<str>> = recorded.collect();
            self.event.payload.insert("budgets", recorded.into());
        }
        self.evaluation.budgets = states;
    }

    /// Denies a held request that takes more than the whole of a budget: no approval releases it.
    fn check_whole_budgets(&mut self, changeset: &Changeset<'_>) {
        let (states, result) = budgets::check(&self.charges, changeset);
        if let Err(exceeded) = result
            && exceeded.retry_after.is_none()
        {
            self.held = None;
            self.deny_by_budget(exceeded);
            self.evaluation.budgets = states;
        }
    }

    fn deny_by_budget(&mut self, exceeded: Exceeded) {
        self.deny(BUDGET_EXCEEDED, exceeded.reason);
        let reason = exceeded.recorded_reason;
        self.event.payload.insert("reason", reason.into());
        self.evaluation.retry_after = exceeded.retry_after;
    }

    /// Denies the request, since it has no amount that a budget could add up.
    pub(super) fn deny_by_amount(&mut self, reason: String) {
        self.held = None;
        self.deny(BUDGET_AMOUNT, reason);
    }

    fn deny_by_agent_limit(&mut self, waiting: u64) {
        let agent = self
            .event
            .actor_id
            .as_ref()
            .map_or("", |agent| agent.as_str());
        let reason = format!(
            "agent `{agent}` holds {waiting} unused permits, and the limit is {}: \
             verify or revoke some first, or wait until they expire",
            self.limits.permits_per_agent
        );
        self.deny(AGENT_LIMIT, reason);
    }

    /// Turns the decision into a denial, whatever the policies decided.
    fn deny(&mut self, code: &'static str, reason: String) {
        self.new_permit = None;
        let evaluation = &mut self.evaluation;
        evaluation.decision = Decision::Deny;
        evaluation.permit_token = None;
        evaluation.permit_id = None;
        evaluation.code = Some(code.to_owned());
        evaluation.retry_after = None;
        evaluation.reason = Some(reason.clone());
        evaluation.explanation.clear();
        record::deny_instead(&mut self.event, code, reason);
    }

    /// Records the decision, and issues the permit of an allow.
    fn decide(self: Box<Self>, changeset: &mut Changeset<'_>) -> Evaluation {
        let Self {
            mut evaluation,
            event,
            new_permit,
            charges,
            repeat,
            life,
            counts,
            ..
        } = *self;
        let now = changeset.time();
        let expires_at = now.saturating_add(life).unwrap_or(Timestamp::MAX);
        evaluation.expires_at = new_permit.as_ref().map(|_| format_time(expires_at));
        let id = Arc::clone(&event.id);
        let event = changeset.record(event.with_some("expires_at", evaluation.expires_at.clone()));
        evaluation.timestamp = Some(event.occurred_at.clone());
        evaluation.audit_hash = Some((*event.hash).to_owned());
        let Some(new_permit) = new_permit else {
            return evaluation;
        };
        let mut entry = PermitEntry::issue(new_permit.grant, (id, event.sequence), now, expires_at);
        entry.in_total = counts.total.is_some();
        entry.charges = budgets::take(&charges, &entry, changeset);
        for count in counts.keys() {
            changeset.change_outstanding(count, |outstanding| outstanding.add(&entry, now));
        }
        changeset.keep_permit(new_permit.key, entry);
        if !changeset.stops().knows_life(life) {
            let mut stops = changeset.stops();
            stops.learn_life(life);
            changeset.keep_stops(stops);
        }
        if let Some(RepeatableRequest {
            key, request_hash, ..
        }) = repeat
        {
            let replay = Replay::new(
                &evaluation,
                (new_permit.key, new_permit.nonce),
                request_hash,
                expires_at,
            );
            changeset.keep_replay(key, replay);
        }
        evaluation
    }
}
