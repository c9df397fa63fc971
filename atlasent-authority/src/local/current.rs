//! The policies in force.

use std::sync::{Arc, PoisonError, RwLock};

use crate::policy::Policies;

/// The policies in force. They are replaced inside the transaction that records the replacement, so
/// each decision and each verification falls on one side of it.
#[derive(Debug)]
pub(crate) struct CurrentPolicies(RwLock<Arc<Policies>>);

impl CurrentPolicies {
    pub(crate) fn new(policies: Policies) -> Self {
        Self(RwLock::new(Arc::new(policies)))
    }

    pub(crate) fn get(&self) -> Arc<Policies> {
        let policies = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&policies)
    }

    /// Returns whether `policies` are still in force.
    pub(crate) fn are(&self, policies: &Arc<Policies>) -> bool {
        Arc::ptr_eq(&self.get(), policies)
    }

    /// Puts `policies` in force, and returns the former ones.
    pub(crate) fn replace(&self, policies: Arc<Policies>) -> Arc<Policies> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, policies)
    }
}
