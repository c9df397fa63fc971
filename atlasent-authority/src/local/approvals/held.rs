//! A held request in the transaction that records it: it joins a pending decision, opens one, or is
//! released by one.
//!
//! [`plan`](HeldRequest::plan) looks at the store before the request is recorded, and
//! [`carry_out`](HoldPlan::carry_out) changes the pending decision after it, so that the chain shows
//! the request first.

use std::sync::Arc;

use atlasent::Error;
use atlasent::approval::{ActionBinding, action_hash};
use atlasent::wire::EvaluateRequest;
use jiff::{SignedDuration, Timestamp};

use super::Due;
use super::settle::{keep, settle};
use super::shown::{MAX_SHOWN, Shown};
use super::signed::PresentedApprovals;
use crate::ledger::approval::{
    ApprovalEntry, ApprovalState, Asker, EscalationId, HeldQuestion, Question, ShownText, ttl,
};
use crate::ledger::outstanding::AgentKey;
use crate::local::LocalAuthority;
use crate::local::caller::{Attribution, Caller};
use crate::local::limits::Limits;
use crate::local::pending::NewPermit;
use crate::policy::{ApprovalRule, Policies};
use crate::store::{CellKey, Changeset};
use crate::trail::approval_events;

/// The reason of a denial because a decision names as many askers as it may.
const TOO_MANY_ASKERS: &str = "too many API keys ask for the same approval: ask with fewer keys";

/// A request that the policies hold, with what an approval of it would release.
#[derive(Clone)]
pub(in crate::local) struct HeldRequest {
    /// The id of the pending decision, if the request opens one.
    new_id: EscalationId,
    question: Question,
    agent: AgentKey,
    reason: String,
    /// The digest of the policies that hold the request.
    policy: String,
    rules: Vec<ApprovalRule>,
    /// What the store keeps for approvers, and the hash of what they see.
    shown: ShownText,
    shown_hash: String,
    /// The length of what approvers would see, in bytes.
    shown_length: usize,
    askers: Vec<Asker>,
    /// The approvals that the request carries.
    presented: PresentedApprovals,
    /// How long an approval of the one call is good.
    call: SignedDuration,
    attribution: Attribution,
    due: Arc<Due>,
    /// The decisions that the transaction reads. Empty until the agent's questions name one.
    pub(in crate::local) rows: Vec<EscalationId>,
    /// Whether the due decisions were ended for this request, so that none counts as open.
    pub(in crate::local) has_ended_due: bool,
    /// The permit that an approval releases.
    pub(in crate::local) new_permit: NewPermit,
}

/// What a held request does to its pending decision.
pub(in crate::local) enum HoldPlan {
    /// It waits for a new decision.
    Open(ApprovalEntry),
    /// It waits for this decision.
    Join(ApprovalEntry),
    /// It is released by this decision.
    Release(ApprovalEntry),
    /// It is denied, since this decision was rejected.
    Rejected(ApprovalEntry),
    /// It is denied, since its caller, the person of this name, approved this decision.
    OwnApproval(ApprovalEntry, String),
    /// It is denied, since an approval that it carries is not good for it.
    BadApproval(String),
    /// It is denied, since too much waits for approvers already.
    TooMany(String),
    /// It is denied, since it has more than approvers are shown.
    TooLarge(String),
}

impl HeldRequest {
    /// Takes what approvers decide on from a request that the policies hold.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to seal it with.
    pub(in crate::local) fn new<S>(
        authority: &LocalAuthority<S>,
        request: &EvaluateRequest,
        reason: &str,
        rules: Vec<ApprovalRule>,
        presented: PresentedApprovals,
        caller: &Caller<'_>,
        new_permit: NewPermit,
    ) -> Result<Self, Error> {
        let grant = &new_permit.grant;
        let new_id = EscalationId::random();
        let shown = Shown::new(request, &rules, caller);
        let attribution = caller.attribution();
        let shown_length = shown.text.len();
        let shown_text = match shown_length {
            0..=MAX_SHOWN => authority.sealing.seal(shown.text, new_id, &shown.hash)?,
            // It opens no decision, and may use one that is made.
            _ => ShownText::from(String::new()),
        };
        Ok(Self {
            new_id,
            question: Question {
                agent: request.actor_id.clone(),
                actors: request.actors.clone(),
                action: request.action_type.to_string(),
                resource: request.resource_id.clone(),
                environment: grant.environment.as_deref().map(str::to_owned),
                action_hash: action_hash(&ActionBinding::from(request)),
                key_environment: grant.key_environment.as_deref().map(str::to_owned),
            },
            agent: AgentKey::from_grant(grant),
            reason: reason.to_owned(),
            policy: grant.policy.as_deref().unwrap_or_default().to_owned(),
            shown: shown_text,
            shown_hash: shown.hash,
            shown_length,
            rules,
            askers: attribution.askers(),
            presented,
            call: authority.permit_ttl,
            attribution,
            due: Arc::clone(&authority.due),
            rows: Vec::new(),
            has_ended_due: false,
            new_permit,
        })
    }

    /// Returns the cells that the transaction reads.
    pub(in crate::local) fn reads(&self) -> impl Iterator<Item = CellKey> {
        let rows = self.rows.iter().map(|id| CellKey::Approval(id.key()));
        let new = self.new_id.cells();
        let nonces = self.presented.reads();
        rows.chain(new)
            .chain([CellKey::Questions(self.agent)])
            .chain(nonces)
    }

    /// Returns whether decisions that are due may count as open.
    pub(in crate::local) fn may_count_due(&self, now: Timestamp) -> bool {
        !self.has_ended_due && self.due.is_over(now)
    }

    /// Looks up what was decided on the question.
    ///
    /// # Errors
    ///
    /// The decisions that the agent's questions name, and that the transaction has not read: try
    /// again with them.
    pub(in crate::local) fn plan(
        &self,
        policies: &Policies,
        limits: &Limits,
        changeset: &mut Changeset<'_>,
    ) -> Result<HoldPlan, Vec<EscalationId>> {
        let now = changeset.time();
        let asked = changeset.questions(self.agent);
        let own = asked.get(&self.question.key(), now);
        let mut grants = asked.grants(&self.question.any_context_key(), now);
        grants.retain(|id| own != Some(*id));
        let mut unread: Vec<_> = own.iter().chain(&grants).copied().collect();
        // A store may have forgotten one that was read.
        unread.retain(|id| changeset.approval(id.key()).is_none() && !self.rows.contains(id));
        if !unread.is_empty() {
            return Err(unread);
        }
        let read = |id: &EscalationId| changeset.approval(id.key()).cloned();
        let grants: Vec<_> = grants.iter().filter_map(read).collect();
        let mut own = own.as_ref().and_then(read);
        if let Some(row) = &mut own
            && settle(row, Some(policies), self.call, changeset)
        {
            keep(row.clone(), changeset);
        }
        if let Err(reason) = self.presented.check_id(own.iter().chain(&grants)) {
            return Ok(HoldPlan::BadApproval(reason));
        }
        // A rejection of this very question also stands against a grant for any context.
        if let Some(row) = own.as_ref().filter(|row| self.stands_rejected(row)) {
            return Ok(HoldPlan::Rejected(row.clone()));
        }
        let mut known = own.iter().chain(&grants);
        if let Some(row) = known.find(|row| row.released(&self.held(), now).is_some()) {
            return Ok(HoldPlan::Release(row.clone()));
        }
        // Another decision on the question would take the place of this one, which stands for
        // other callers.
        if let Some(row) = &own
            && let Some(approver) = row.withheld_from(&self.held(), now)
        {
            return Ok(HoldPlan::OwnApproval(row.clone(), approver.to_owned()));
        }
        if self.presented.has_votes() {
            return Ok(self.plan_with_votes(own, limits, changeset));
        }
        Ok(match own {
            Some(mut row) if row.is_open() => match row.join(self.askers.clone()) {
                true => HoldPlan::Join(row),
                false => HoldPlan::TooMany(TOO_MANY_ASKERS.to_owned()),
            },
            _ => match self.new_row(limits, changeset) {
                Ok(row) => HoldPlan::Open(row),
                Err(refusal) => *refusal,
            },
        })
    }

    /// Counts the approvals that the request carries, on its open decision or on a new one.
    fn plan_with_votes(
        &self,
        own: Option<ApprovalEntry>,
        limits: &Limits,
        changeset: &mut Changeset<'_>,
    ) -> HoldPlan {
        let known = own.filter(ApprovalEntry::is_open);
        let is_new = known.is_none();
        let mut row = match known {
            Some(row) => row,
            None => match self.new_row(limits, changeset) {
                Ok(row) => row,
                Err(refusal) => return *refusal,
            },
        };
        if !row.join(self.askers.clone()) {
            return HoldPlan::TooMany(TOO_MANY_ASKERS.to_owned());
        }
        let open = |row: &mut ApprovalEntry, changeset: &mut Changeset<'_>| {
            if is_new {
                self.record_opening(row, changeset);
            }
        };
        let cast = self
            .presented
            .cast(&mut row, self.call, &self.attribution, changeset, open);
        if let Err(reason) = cast {
            return HoldPlan::BadApproval(reason);
        }
        keep(row.clone(), changeset);
        let (held, now) = (self.held(), changeset.time());
        if row.released(&held, now).is_some() {
            return HoldPlan::Release(row);
        }
        match row.withheld_from(&held, now).map(str::to_owned) {
            Some(approver) => HoldPlan::OwnApproval(row, approver),
            None => HoldPlan::Join(row),
        }
    }

    /// Records that a decision waits for approvers.
    fn record_opening(&self, row: &mut ApprovalEntry, changeset: &mut Changeset<'_>) {
        let event = self.attribution.sign(approval_events::requested(row));
        row.sequence = changeset.record(event).sequence;
        self.due.sooner(row.timeout_at);
    }

    /// Returns what an approval has to be for to release the request.
    fn held(&self) -> HeldQuestion<'_> {
        HeldQuestion {
            question: &self.question,
            policy: &self.policy,
            rules: &self.rules,
            askers: &self.askers,
        }
    }

    /// Returns whether a rejection of the same question by the same policies stands.
    fn stands_rejected(&self, row: &ApprovalEntry) -> bool {
        row.state == ApprovalState::Rejected && row.policy.as_ref() == Some(&self.policy)
    }

    /// Returns a new decision for the question, or the denial of a request that may open none.
    fn new_row(
        &self,
        limits: &Limits,
        changeset: &Changeset<'_>,
    ) -> Result<ApprovalEntry, Box<HoldPlan>> {
        if self.shown_length > MAX_SHOWN {
            let length = self.shown_length;
            return Err(Box::new(HoldPlan::TooLarge(format!(
                "approvers would have to read {length} bytes of this request, and the limit is \
                 {MAX_SHOWN}: send less context"
            ))));
        }
        limits
            .check_approvals(self.question.agent.as_str(), self.agent, changeset)
            .map_err(|reason| Box::new(HoldPlan::TooMany(reason)))?;
        let now = changeset.time();
        let timeout_at = now
            .saturating_add(ttl(&self.rules))
            .unwrap_or(Timestamp::MAX);
        let mut row = ApprovalEntry::new(self.new_id, self.question.clone(), now, timeout_at);
        row.reason.clone_from(&self.reason);
        row.policy = Some(self.policy.clone());
        row.rules.clone_from(&self.rules);
        row.shown.clone_from(&self.shown);
        row.shown_hash.clone_from(&self.shown_hash);
        row.askers.extend(self.askers.iter().cloned());
        Ok(row)
    }
}

impl HoldPlan {
    /// Returns the pending decision that the request belongs to.
    pub(in crate::local) fn row(&self) -> Option<&ApprovalEntry> {
        match self {
            Self::Open(row)
            | Self::Join(row)
            | Self::Release(row)
            | Self::Rejected(row)
            | Self::OwnApproval(row, _) => Some(row),
            Self::BadApproval(_) | Self::TooMany(_) | Self::TooLarge(_) => None,
        }
    }

    /// Changes the pending decision, after the held request is recorded.
    pub(in crate::local) fn carry_out(self, held: &HeldRequest, changeset: &mut Changeset<'_>) {
        match self {
            Self::Open(mut row) => {
                held.record_opening(&mut row, changeset);
                keep(row, changeset);
            }
            Self::Join(row) => {
                if changeset.approval(row.id.key()) != Some(&row) {
                    keep(row, changeset);
                }
            }
            Self::Release(mut row) => {
                if let Some(release) = &mut row.release {
                    release.uses_left = release.uses_left.saturating_sub(1);
                }
                keep(row, changeset);
            }
            Self::Rejected(_)
            | Self::OwnApproval(..)
            | Self::BadApproval(_)
            | Self::TooMany(_)
            | Self::TooLarge(_) => {}
        }
    }
}
