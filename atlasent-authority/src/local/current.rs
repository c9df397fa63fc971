//! The policies that decide now.

use std::sync::{Arc, PoisonError, RwLock};

use crate::policy::Policies;

/// The policies that decide now. They are replaced inside the transaction that records it, so that
/// each decision and each verification knows on which side of the change it is.
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

    /// Whether these are still the ones.
    pub(crate) fn are(&self, policies: &Arc<Policies>) -> bool {
        Arc::ptr_eq(&self.get(), policies)
    }

    /// Decides by others from now on. Returns the former ones.
    pub(crate) fn replace(&self, policies: Arc<Policies>) -> Arc<Policies> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, policies)
    }
}
