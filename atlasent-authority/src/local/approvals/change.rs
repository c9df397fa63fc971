//! One change of one pending decision.

use std::sync::Arc;

use super::ApprovalError;
use super::settle::{keep, settle};
use crate::ledger::approval::{ApprovalEntry, EscalationId, VoteRefusal};
use crate::local::caller::Caller;
use crate::local::{LocalAuthority, failed, unavailable};
use crate::store::{CellKey, Changeset, Store};

impl<S: Store> LocalAuthority<S> {
    /// Changes a pending decision in one transaction, after it was brought up to date. A refused
    /// change leaves the decision as it is.
    pub(super) async fn change_approval<T: Send + 'static>(
        &self,
        caller: &Caller<'_>,
        id: EscalationId,
        change: impl FnOnce(&mut ApprovalEntry, &mut Changeset<'_>) -> Result<T, VoteRefusal>
        + Clone
        + Send
        + 'static,
    ) -> Result<(ApprovalEntry, T), ApprovalError> {
        let unknown = ApprovalError::Unknown(id);
        let row = self.store.approval(id.key()).await;
        let row = row.map_err(|error| unavailable(failed::APPROVALS, error))?;
        let Some(row) = row.filter(|row| row.is_known_to(caller)) else {
            return Err(unknown);
        };
        let mut reads = id.cells().to_vec();
        reads.push(CellKey::Questions(row.agent_key()));
        let policies = Arc::clone(&self.policies);
        let change = move |changeset: &mut Changeset<'_>| {
            let mut row = changeset.approval(id.key())?.clone();
            if settle(&mut row, &policies.get(), changeset) {
                keep(row.clone(), changeset);
            }
            let mut changed = row.clone();
            Some(change(&mut changed, changeset).map(|result| {
                if changed != row {
                    keep(changed.clone(), changeset);
                }
                (changed, result)
            }))
        };
        let result = self.commit(failed::APPROVAL, reads, change).await;
        // A change that was refused may still have ended the decision.
        self.waiters.wake(id);
        match result? {
            Some(result) => {
                let (row, result) = result?;
                if row.is_open() {
                    self.due.sooner(row.timeout_at);
                }
                Ok((self.sealing.opened(row), result))
            }
            None => Err(unknown),
        }
    }
}
