//! Where a permit waits for the one who executes the action.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use atlasent::{AnyAction, Permit};

/// A permit in a request's extensions, from which it can be taken once.
///
/// ```
/// use atlasent::Permit;
/// use atlasent_tower::PermitSlot;
///
/// fn permit_of<B>(request: &http::Request<B>) -> Option<Permit> {
///     // `PermitSlot<ModifyPatientRecord>` for a target of typed actions.
///     request.extensions().get::<PermitSlot>()?.take()
/// }
/// ```
///
/// Extensions can be cloned, and permits cannot: clones of a slot share the one permit. What nobody takes is dropped with the
/// request.
pub struct PermitSlot<A = AnyAction>(Arc<Mutex<Option<Permit<A>>>>);

impl<A> PermitSlot<A> {
    pub(crate) fn new(permit: Permit<A>) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// The permit, unless it was taken before.
    #[must_use]
    pub fn take(&self) -> Option<Permit<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<A> Clone for PermitSlot<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A> fmt::Debug for PermitSlot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("PermitSlot").field(&*permit).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atlasent::testing;

    #[test]
    fn a_permit_is_taken_once_whoever_has_the_slot() {
        let action = AnyAction::new("deploy").unwrap();
        let slot = PermitSlot::new(testing::permit(action).unwrap());
        let clone = slot.clone();
        assert!(clone.take().is_some());
        assert!(slot.take().is_none() && clone.take().is_none());
    }
}
