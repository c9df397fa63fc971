//! The policies in force.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::policy::Policies;

/// The policies in force. They are replaced inside the transaction that records the replacement, so
/// each decision and each verification falls on one side of it.
#[derive(Debug)]
pub(crate) struct CurrentPolicies {
    policies: RwLock<Arc<Policies>>,
    changes: watch::Sender<()>,
}

impl CurrentPolicies {
    pub(crate) fn new(policies: Policies) -> Self {
        Self {
            policies: RwLock::new(Arc::new(policies)),
            changes: watch::Sender::new(()),
        }
    }

    pub(crate) fn get(&self) -> Arc<Policies> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&policies)
    }

    /// Returns whether `policies` are still in force.
    pub(crate) fn are(&self, policies: &Arc<Policies>) -> bool {
        let current = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        Arc::ptr_eq(&current, policies)
    }

    /// Puts `policies` in force, and returns the former ones.
    pub(crate) fn replace(&self, policies: Arc<Policies>) -> Arc<Policies> {
        let mut current = self
            .policies
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, policies)
    }

    /// Notifies all watchers that other policies are in force, and recorded.
    pub(crate) fn announce(&self) {
        self.changes.send_replace(());
    }

    /// Returns a receiver that is notified by [`announce`](Self::announce).
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}
