//! Approvals: people release what the policies hold.
//!
//! `held.rs` is the side of the agent that asks, `vote.rs` that of the people who decide,
//! `request.rs` opens decisions by hand, `settle.rs` and `due.rs` end them when their time is over,
//! and `waiting.rs` lets agents wait. `signed.rs` counts the signed approvals that a request
//! carries.

mod change;
mod due;
mod held;
mod list;
mod request;
mod settle;
mod shown;
mod signed;
mod vote;
mod waiting;

pub(crate) use due::Due;
pub(in crate::local) use held::{HeldRequest, HoldPlan};
pub use list::{ApprovalFilter, ApprovalPage};
pub use request::NewApproval;
pub(in crate::local) use signed::PresentedApprovals;
pub use vote::Ballot;
pub(crate) use waiting::Waiters;

use atlasent::Error;

use crate::ledger::approval::{ApprovalEntry, EscalationId, VoteRefusal};
use crate::local::caller::Caller;
use crate::local::{LocalAuthority, failed, unavailable};
use crate::store::{ApprovalList, Store};

/// How many open decisions are read at a time.
const AT_ONCE: usize = 500;

/// Why an operation on a pending decision failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// The authority knows no such decision.
    #[error("there is no escalation `{0}`")]
    Unknown(EscalationId),
    /// The vote was refused, or the decision is closed.
    #[error(transparent)]
    Refused(#[from] VoteRefusal),
    /// The operation is invalid. The text says what is wrong, and what to do.
    #[error("{0}")]
    Invalid(String),
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl<S: Store> LocalAuthority<S> {
    /// Returns a pending decision, open or closed, as it stands now. `None` for an unknown one.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the decision cannot be read, or its expiry cannot be recorded.
    pub async fn approval(&self, id: EscalationId) -> Result<Option<ApprovalEntry>, Error> {
        self.approval_for(&Caller::embedded(&self.secret), id).await
    }

    /// Returns a pending decision for a caller.
    pub(crate) async fn approval_for(
        &self,
        caller: &Caller<'_>,
        id: EscalationId,
    ) -> Result<Option<ApprovalEntry>, Error> {
        let row = self.store.approval(id.key()).await;
        let row = row.map_err(|error| unavailable(failed::APPROVALS, error))?;
        let Some(row) = row.filter(|row| row.is_known_to(caller)) else {
            return Ok(None);
        };
        let is_over = self.clock.now() >= row.timeout_at || self.policies.ended(&row);
        if !row.is_open() || !is_over {
            return Ok(Some(self.sealing.opened(row)));
        }
        match self.change_approval(caller, id, |_, _| Ok(())).await {
            Ok((row, ())) => Ok(Some(row)),
            Err(ApprovalError::Failed(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Returns at most `limit` decisions of a list that were opened before the event `before`, the
    /// newest first. A decision whose time is over, or whose policies changed, is listed as open
    /// until it is [ended](Self::expire_due_approvals).
    ///
    /// There may be fewer than `limit`, since a page also ends after some megabytes: an empty page
    /// alone shows the end of the list.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the decisions cannot be read.
    pub async fn approvals(
        &self,
        list: ApprovalList,
        before: u64,
        limit: usize,
    ) -> Result<Vec<ApprovalEntry>, Error> {
        let rows = self.store.approvals(list, before, limit).await;
        let rows = rows.map_err(|error| unavailable(failed::APPROVALS, error))?;
        Ok(rows
            .into_iter()
            .map(|row| self.sealing.opened(row))
            .collect())
    }
}
