//! Where a permit waits for the one who executes the action.

use std::any::type_name;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use atlasent::{Action, AnyAction, Permit};
use http::Extensions;

use crate::Refusal;

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
/// Extensions can be cloned, and permits cannot: clones of a slot share the one permit. A permit
/// that is not taken is dropped with the request. The route guards of
/// [`ProtectedMethods`](crate::ProtectedMethods) and of `atlasent_axum::ProtectedRouter` take the
/// slots of outer layers away: below a guard there is the permit for what the route declares, and
/// no other.
pub struct PermitSlot<A = AnyAction>(Arc<Mutex<Option<Permit<A>>>>);

/// Puts a permit into a slot in the extensions.
pub(crate) fn put<A: Action>(permit: Permit<A>, extensions: &mut Extensions) {
    extensions.insert(PermitSlot::new(permit));
    let outer = extensions.remove::<Slots>().map(Box::new);
    let remove = |extensions: &mut Extensions| drop(extensions.remove::<PermitSlot<A>>());
    extensions.insert(Slots { remove, outer });
}

/// Takes all slots out of the extensions. Their permits are no longer to be had from this request.
pub(crate) fn remove_all(extensions: &mut Extensions) {
    let mut next = extensions.remove::<Slots>().map(Box::new);
    while let Some(slots) = next {
        (slots.remove)(extensions);
        next = slots.outer;
    }
}

/// Every slot in the extensions, of whatever type, innermost first: extensions themselves are found
/// by type only.
#[derive(Clone)]
struct Slots {
    remove: fn(&mut Extensions),
    outer: Option<Box<Slots>>,
}

impl<A> PermitSlot<A> {
    pub(crate) fn new(permit: Permit<A>) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Takes the permit out of the slot in a request's extensions, to use it now.
    ///
    /// # Errors
    ///
    /// [`Refusal::Misconfigured`] when there is no slot for a permit of this type, or it is empty.
    /// [`Refusal::Denied`] when the permit is not [active](Permit::is_active) any more.
    pub fn take_from(extensions: &Extensions) -> Result<Permit<A>, Refusal>
    where
        A: Action,
    {
        let name = type_name::<A>();
        let slot = extensions.get::<Self>().ok_or_else(|| {
            Refusal::misconfigured(format!(
                "no `Permit<{name}>` was obtained for this request: put a `ProtectLayer` whose target is of that \
                 action outside"
            ))
        })?;
        let permit = slot.take().ok_or_else(|| {
            Refusal::misconfigured(format!(
                "the `Permit<{name}>` of this request was used by another call: put what repeats calls outside of the \
                 `ProtectLayer`"
            ))
        })?;
        permit.require_active()?;
        Ok(permit)
    }

    /// The permit, unless it was taken before. It may have [expired](Permit::is_active) while it
    /// waited.
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
        struct Typed;
        impl Action for Typed {
            fn name(&self) -> &str {
                "typed"
            }
        }
        let mut extensions = Extensions::new();
        for _ in 0..2 {
            let any = AnyAction::new("deploy").unwrap();
            put(testing::permit(any).unwrap(), &mut extensions);
            put(testing::permit(Typed).unwrap(), &mut extensions);
        }
        extensions.insert(7_u8);
        let kept = extensions.get::<PermitSlot>().unwrap().clone();
        remove_all(&mut extensions);
        assert!(extensions.get::<PermitSlot>().is_none());
        assert!(extensions.get::<PermitSlot<Typed>>().is_none());
        assert_eq!((extensions.len(), extensions.get()), (1, Some(&7_u8)));
        // A slot that was taken out of the request before is its owner's.
        assert!(kept.take().is_some());
    }
}
