//! Carries a permit in the extensions of a request.

use std::any::{TypeId, type_name};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use atlasent::{Action, AnyAction, Permit};
use http::Extensions;

use crate::Refusal;

/// A permit in the extensions of a request, from which it can be taken once.
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
/// Clones of a slot share the one permit, since extensions can be cloned and permits cannot. A
/// permit that is not taken is dropped with the request. The route guards of
/// [`ProtectedMethods`](crate::ProtectedMethods) and `atlasent_axum::ProtectedRouter` remove the
/// slots of outer layers: inside a guard, a request holds only the permit for the action that the
/// route declares.
pub struct PermitSlot<A = AnyAction>(Arc<Mutex<Option<Permit<A>>>>);

/// Puts a permit into a slot in the extensions.
pub(crate) fn put<A: Action>(permit: Permit<A>, extensions: &mut Extensions) {
    extensions.insert(PermitSlot::new(permit));
    // The slot of untyped actions, the usual one, is found without the chain.
    if TypeId::of::<A>() == TypeId::of::<AnyAction>() {
        return;
    }
    let outer = extensions.remove::<SlotChain>().map(Box::new);
    let remove = |extensions: &mut Extensions| drop(extensions.remove::<PermitSlot<A>>());
    extensions.insert(SlotChain { remove, outer });
}

/// Removes all slots from the extensions. Their permits can no longer be taken from this request.
pub(crate) fn remove_all(extensions: &mut Extensions) {
    extensions.remove::<PermitSlot>();
    let mut next = extensions.remove::<SlotChain>().map(Box::new);
    while let Some(slots) = next {
        (slots.remove)(extensions);
        next = slots.outer;
    }
}

/// The slots of typed actions in the extensions, innermost first. It makes them removable, since
/// extensions are accessed by type only.
#[derive(Clone)]
struct SlotChain {
    remove: fn(&mut Extensions),
    outer: Option<Box<SlotChain>>,
}

impl<A> PermitSlot<A> {
    pub(crate) fn new(permit: Permit<A>) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Takes the permit out of the slot in the extensions of a request, for immediate use.
    ///
    /// # Errors
    ///
    /// Returns [`Refusal::Misconfigured`] if the request has no permit for this type of action, or
    /// the permit was already taken. Returns [`Refusal::Denied`] if the permit is no longer
    /// [active](Permit::is_active).
    pub fn take_from(extensions: &Extensions) -> Result<Permit<A>, Refusal>
    where
        A: Action,
    {
        let name = type_name::<A>();
        let slot = extensions.get::<Self>().ok_or_else(|| {
            Refusal::misconfigured(format!(
                "the request has no `Permit<{name}>`: put a `ProtectLayer` with a target for this type of action \
                 outside"
            ))
        })?;
        let permit = slot.take().ok_or_else(|| {
            Refusal::misconfigured(format!(
                "the `Permit<{name}>` of this request was already taken by another call: put layers that repeat calls \
                 outside the `ProtectLayer`"
            ))
        })?;
        permit.require_active()?;
        Ok(permit)
    }

    /// Takes the permit, or returns `None` if it was taken before. The permit may have
    /// [expired](Permit::is_active) in the meantime.
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

    #[test]
    fn slots_of_all_types_are_removed_at_once() {
        struct TypedAction;
        impl Action for TypedAction {
            fn name(&self) -> &str {
                "typed"
            }
        }
        let mut extensions = Extensions::new();
        for _ in 0..2 {
            let any = AnyAction::new("deploy").unwrap();
            put(testing::permit(any).unwrap(), &mut extensions);
            put(testing::permit(TypedAction).unwrap(), &mut extensions);
        }
        extensions.insert(7_u8);
        let kept = extensions.get::<PermitSlot>().unwrap().clone();
        remove_all(&mut extensions);
        assert!(extensions.get::<PermitSlot>().is_none());
        assert!(extensions.get::<PermitSlot<TypedAction>>().is_none());
        assert_eq!((extensions.len(), extensions.get()), (1, Some(&7_u8)));
        // A slot that was cloned out of the request before keeps its permit.
        assert!(kept.take().is_some());
    }
}
