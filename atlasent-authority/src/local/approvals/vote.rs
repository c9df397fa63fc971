//! Voting on pending decisions, passing them on, and ending them.

use std::time::Duration;

use atlasent::wire::ExpiredReason;
use jiff::SignedDuration;
use uuid::Uuid;

use super::ApprovalError;
use super::settle::after_escalation;
use crate::ledger::approval::{
    ApprovalEntry, ApprovalState, Approver, EscalationId, GrantedUse, ShownText, Vote, VoteOutcome,
    VoteRefusal,
};
use crate::local::LocalAuthority;
use crate::local::caller::Caller;
use crate::policy::Approvers;
use crate::store::{Changeset, Store};
use crate::trail::approval_events;

/// The maximum length of a note, in characters.
const MAX_NOTE: usize = 2_000;

/// A vote that an approver casts.
///
/// ```
/// use std::time::Duration;
/// use atlasent_authority::approvals::{Approver, Ballot};
///
/// let alice = Approver::new("alice", ["release-manager"])?;
/// let once = Ballot::approve(alice.clone()).note("the tests passed");
/// let often = Ballot::approve(alice).for_any_context(Duration::from_secs(3_600), 5);
/// # Ok::<(), atlasent_authority::approvals::InvalidApprover>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ballot {
    approver: Approver,
    approves: bool,
    note: Option<String>,
    grant: Option<WantedGrant>,
}

/// What an approval is meant to grant beyond the one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WantedGrant {
    /// For how long. Unset for as long as the policy allows.
    lasts: Option<SignedDuration>,
    times: u32,
}

impl WantedGrant {
    /// Returns the grant, on a decision.
    fn on(self, row: &ApprovalEntry) -> GrantedUse {
        let longest = || SignedDuration::try_from(row.longest_grant()?).ok();
        // Without a longest time, the policy allows none, which the vote checks.
        let lasts = self.lasts.or_else(longest).unwrap_or_default();
        let times = self.times;
        GrantedUse { lasts, times }
    }
}

impl Ballot {
    /// Approves the request, once and with the same context.
    pub fn approve(approver: Approver) -> Self {
        Self {
            approver,
            approves: true,
            note: None,
            grant: None,
        }
    }

    /// Rejects the request.
    pub fn reject(approver: Approver) -> Self {
        Self {
            approves: false,
            ..Self::approve(approver)
        }
    }

    /// Sets a note for others to read: at most 2,000 characters. A second call replaces the first.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Approves the same action on the same resource for the same agent, in any context, for a
    /// time and a number of uses, if the policy allows that (`@approval_grants`). Each use is a
    /// permit of its own. A second call replaces the first.
    pub fn for_any_context(mut self, lasts: Duration, times: u32) -> Self {
        let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
        let lasts = Some(lasts);
        self.grant = Some(WantedGrant { lasts, times });
        self
    }

    /// Approves the same action on the same resource for the same agent, in any context, for a
    /// number of uses within the longest time that the policy allows (`@approval_grants`). Replaces
    /// [`for_any_context`](Self::for_any_context), as that replaces this.
    pub fn times_in_any_context(mut self, times: u32) -> Self {
        self.grant = Some(WantedGrant { lasts: None, times });
        self
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Casts a vote on a pending decision. The last approval that the policies ask for grants the
    /// request, and one rejection rejects it.
    ///
    /// The caller vouches for who the approver is. The same vote again changes nothing.
    ///
    /// ```
    /// # use atlasent::wire::EvaluateRequest;
    /// # use atlasent::{Agent, AnyAction, Authority};
    /// # use atlasent_authority::approvals::{Approver, Ballot};
    /// # use atlasent_authority::{LocalAuthority, Policies};
    /// # futures_executor::block_on(async {
    /// let policies = Policies::parse(
    ///     r#"
    ///     permit (principal, action, resource);
    ///     @decision("hold") @approvers("role:sre")
    ///     forbid (principal, action == Action::"deploy", resource);
    ///     "#,
    /// )?;
    /// let authority = LocalAuthority::in_memory(policies)?;
    /// let request = EvaluateRequest::new(Agent::new("bot")?, &AnyAction::new("deploy")?)?;
    /// let held = authority.evaluate(&request).await?;
    /// let id = held.escalation_id.unwrap().parse()?;
    ///
    /// authority.vote(id, Ballot::approve(Approver::new("alice", ["sre"])?)).await?;
    /// assert!(authority.evaluate(&request).await?.decision.is_allow());
    /// assert!(!authority.evaluate(&request).await?.decision.is_allow(), "once only");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`ApprovalError`], and the vote does not count.
    pub async fn vote(
        &self,
        id: EscalationId,
        ballot: Ballot,
    ) -> Result<ApprovalEntry, ApprovalError> {
        let caller = Caller::embedded(&self.secret);
        self.vote_for(&caller, id, ballot, None).await
    }

    /// Casts a vote that a caller carries. `via` names the credential of the approver.
    pub(crate) async fn vote_for(
        &self,
        caller: &Caller<'_>,
        id: EscalationId,
        ballot: Ballot,
        via: Option<String>,
    ) -> Result<ApprovalEntry, ApprovalError> {
        check_note("note", ballot.note.as_deref())?;
        let (attribution, call) = (caller.attribution(), self.permit_ttl);
        let vote_id = format!("vote_{}", Uuid::new_v4().simple());
        let sealing = self.sealing.clone();
        let change = move |row: &mut ApprovalEntry, changeset: &mut Changeset<'_>| {
            // An approver can only reject a request whose context cannot be shown.
            if let ShownText::Sealed(sealed) = &row.shown
                && ballot.approves
                && !sealing.can_show(row)
            {
                return Err(VoteRefusal::Sealed(sealed.key_id.clone()));
            }
            let vote = Vote {
                id: vote_id,
                approver: ballot.approver,
                via,
                approves: ballot.approves,
                note: ballot.note,
                grant: ballot.grant.map(|grant| grant.on(row)),
                artifact: None,
                at: changeset.time(),
            };
            let closing = match row.vote(vote.clone(), call)? {
                VoteOutcome::Repeated => return Ok(()),
                VoteOutcome::Counted => None,
                VoteOutcome::Granted => Some(approval_events::granted(row)),
                VoteOutcome::Rejected => Some(approval_events::rejected(row)),
            };
            let voted = approval_events::voted(row, &vote);
            for event in std::iter::once(voted).chain(closing) {
                changeset.record(attribution.sign(event));
            }
            Ok(())
        };
        let (row, ()) = self.change_approval(caller, id, change).await?;
        Ok(row)
    }

    /// Lets the approvers of the next step (`@escalate_to`) vote as well, and starts the time
    /// again. `by` must be an approver that could vote.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`], and nothing changes.
    pub async fn escalate_approval(
        &self,
        id: EscalationId,
        by: &Approver,
        reason: Option<String>,
    ) -> Result<ApprovalEntry, ApprovalError> {
        let caller = Caller::embedded(&self.secret);
        let by = Some(by.clone());
        self.escalate_approval_for(&caller, id, by, Approvers::Any, reason)
            .await
    }

    /// Lets the approvers of the next step vote as well, for a caller. `by` must be an approver
    /// that could vote. It is unset for a caller that opened the decision by hand; `to` then names
    /// the approvers of the next step.
    pub(crate) async fn escalate_approval_for(
        &self,
        caller: &Caller<'_>,
        id: EscalationId,
        by: Option<Approver>,
        to: Approvers,
        reason: Option<String>,
    ) -> Result<ApprovalEntry, ApprovalError> {
        check_note("reason", reason.as_deref())?;
        let (attribution, call) = (caller.attribution(), self.permit_ttl);
        let change = move |row: &mut ApprovalEntry, changeset: &mut Changeset<'_>| {
            let key_id = attribution.key_id.as_deref();
            match &by {
                Some(approver) => row.check_voter(approver, key_id)?,
                None if !row.is_open() => return Err(VoteRefusal::Closed(row.state)),
                None => {}
            }
            let by = by.map(|approver| approver.principal);
            let by = by.or_else(|| key_id.map(str::to_owned));
            row.name_next_step(&to);
            if !row.escalate(by, reason, changeset.time()) {
                return Err(VoteRefusal::LastStep);
            }
            for event in after_escalation(row, call, changeset.time()) {
                changeset.record(attribution.sign(event));
            }
            Ok(())
        };
        let (row, ()) = self.change_approval(caller, id, change).await?;
        Ok(row)
    }

    /// Ends an open decision without a result. Ending an expired one again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ApprovalError`], and nothing changes.
    pub async fn expire_approval(
        &self,
        id: EscalationId,
        note: Option<String>,
    ) -> Result<ApprovalEntry, ApprovalError> {
        let caller = Caller::embedded(&self.secret);
        self.expire_approval_for(&caller, id, None, note).await
    }

    /// Ends an open decision without a result, for a caller. `by` must be an approver that could
    /// vote; it is unset for a caller that asked the question.
    pub(crate) async fn expire_approval_for(
        &self,
        caller: &Caller<'_>,
        id: EscalationId,
        by: Option<Approver>,
        note: Option<String>,
    ) -> Result<ApprovalEntry, ApprovalError> {
        check_note("note", note.as_deref())?;
        let attribution = caller.attribution();
        let change = move |row: &mut ApprovalEntry, changeset: &mut Changeset<'_>| {
            match row.state {
                ApprovalState::Pending | ApprovalState::Escalated => {}
                ApprovalState::TimedOut => return Ok(()),
                ApprovalState::Approved | ApprovalState::Rejected => {
                    return Err(VoteRefusal::Closed(row.state));
                }
            }
            let key_id = attribution.key_id.as_deref();
            if let Some(approver) = &by {
                row.check_voter(approver, key_id)?;
            }
            let by = by.map(|approver| approver.principal);
            let by = by.or_else(|| key_id.map(str::to_owned));
            row.time_out(ExpiredReason::ManualExpire, by, note, changeset.time());
            let event = approval_events::expired(row);
            changeset.record(attribution.sign(event));
            Ok(())
        };
        let (row, ()) = self.change_approval(caller, id, change).await?;
        Ok(row)
    }
}

/// Checks a text that people write.
pub(super) fn check_note(name: &str, note: Option<&str>) -> Result<(), ApprovalError> {
    let length = note.map_or(0, |note| note.chars().count());
    if length > MAX_NOTE {
        return Err(ApprovalError::Invalid(format!(
            "`{name}` has {length} characters, and the limit is {MAX_NOTE}: shorten it"
        )));
    }
    Ok(())
}
