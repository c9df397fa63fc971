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
        let (policies, call) = (Arc::clone(&self.policies), self.permit_ttl);
        let change = move |changeset: &mut Changeset<'_>| {
            let mut row = changeset.approval(id.key())?.clone();
            let in_force = policies.unless_stand_in();
            if settle(&mut row, in_force.as_deref(), call, changeset) {
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

#[cfg(all(test, feature = "server"))]
mod tests {
    use atlasent::wire::EvaluateRequest;
    use atlasent::{Agent, AnyAction, Authority, Decision};
    use futures_executor::block_on;

    use crate::approvals::{ApprovalState, Approver, Ballot, EscalationId};
    use crate::{LocalAuthority, MemoryStore, Policies};

    const HOLDS: &str = r#"
        permit (principal, action, resource);
        @decision("hold") forbid (principal, action, resource);
    "#;

    const NOTHING: &str = "forbid (principal, action, resource);";

    fn authority(
        store: &MemoryStore,
        policies: &str,
        is_stand_in: bool,
    ) -> Result<LocalAuthority, Box<dyn std::error::Error>> {
        let builder = LocalAuthority::builder(Policies::parse(policies)?);
        let builder = builder.store(store.clone()).stand_in(is_stand_in);
        Ok(block_on(builder.build())?)
    }

    #[test]
    fn a_vote_counts_while_other_policies_stand_in_for_those_that_hold_the_request() {
        let store = MemoryStore::new();
        let action = AnyAction::new("deploy").unwrap();
        let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
        let ask = || {
            let authority = authority(&store, HOLDS, false).unwrap();
            block_on(authority.evaluate(&request)).unwrap()
        };
        for (is_stand_in, counts) in [(true, true), (false, false)] {
            let id: EscalationId = ask().escalation_id.unwrap().parse().unwrap();
            let others = authority(&store, NOTHING, is_stand_in).unwrap();
            let ballot = Ballot::approve(Approver::new("alice", ["sre"]).unwrap());
            let voted = block_on(others.vote(id, ballot));
            assert_eq!(voted.is_ok(), counts, "{voted:?}");
            let row = block_on(others.approval(id)).unwrap().unwrap();
            let state = match counts {
                true => ApprovalState::Approved,
                false => ApprovalState::TimedOut,
            };
            assert_eq!(row.state, state);
            assert_eq!(ask().decision == Decision::Allow, counts);
        }
    }
}
