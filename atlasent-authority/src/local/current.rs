//! The policies in force.

use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::ledger::ApprovalEntry;
use crate::policy::Policies;

/// The policies in force. They are replaced inside the transaction that records the replacement, so
/// each decision and each verification falls on one side of it.
#[derive(Debug)]
pub(crate) struct CurrentPolicies {
    in_force: RwLock<InForce>,
    changes: watch::Sender<()>,
}

/// The policies in force, and since when.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    policies: Arc<Policies>,
    /// The earliest time of all for policies that stand in for others.
    since: Timestamp,
    replacement: Replacement,
}

/// Identifies one replacement of the policies. The policies alone do not identify it: an authority
/// may put the same set in force twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replacement(Arc<()>);

impl CurrentPolicies {
    pub(crate) fn new(policies: Arc<Policies>, since: Timestamp) -> Self {
        let replacement = Replacement::default();
        Self {
            in_force: RwLock::new(InForce {
                policies,
                since,
                replacement,
            }),
            changes: watch::Sender::new(()),
        }
    }

    pub(crate) fn get(&self) -> Arc<Policies> {
        self.look(|in_force| Arc::clone(&in_force.policies))
    }

    /// Returns the policies in force. `None` for those that only stand in for others that cannot be
    /// loaded now: nothing follows from them for a decision that waits for approvers.
    pub(crate) fn unless_stand_in(&self) -> Option<Arc<Policies>> {
        self.look(|in_force| {
            let is_real = in_force.since > Timestamp::MIN;
            is_real.then(|| Arc::clone(&in_force.policies))
        })
    }

    /// Returns whether `policies` are still in force.
    pub(crate) fn are(&self, policies: &Arc<Policies>) -> bool {
        self.look(|in_force| Arc::ptr_eq(&in_force.policies, policies))
    }

    /// Returns whether an open decision was ended by other policies: it was opened before those in
    /// force, which are others for its action.
    ///
    /// One that was opened since then may be of a process that shares the store and has read newer
    /// policies: its own change ends it, and not the mere sight of it here.
    pub(crate) fn ended(&self, row: &ApprovalEntry) -> bool {
        let Some(policy) = &row.policy else {
            return false;
        };
        self.look(|in_force| {
            row.opened_at <= in_force.since
                && in_force.policies.action_digest(&row.question.action) != policy
        })
    }

    /// Puts `policies` in force.
    pub(crate) fn replace(
        &self,
        policies: Arc<Policies>,
        since: Timestamp,
        replacement: Replacement,
    ) {
        self.put_back(InForce {
            policies,
            since,
            replacement,
        });
    }

    /// Returns whether a replacement put the policies in force.
    pub(crate) fn are_by(&self, replacement: &Replacement) -> bool {
        self.look(|in_force| Arc::ptr_eq(&in_force.replacement.0, &replacement.0))
    }

    /// Puts policies in force that were in force before, as of then.
    pub(crate) fn put_back(&self, former: InForce) {
        let mut in_force = self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *in_force = former;
    }

    /// Returns what is in force, to be [put back](Self::put_back).
    pub(crate) fn in_force(&self) -> InForce {
        self.look(InForce::clone)
    }

    /// Notifies all watchers that other policies are in force, and recorded.
    pub(crate) fn announce(&self) {
        self.changes.send_replace(());
    }

    /// Returns a receiver that is notified by [`announce`](Self::announce).
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn look<T>(&self, look: impl FnOnce(&InForce) -> T) -> T {
        look(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }
}
