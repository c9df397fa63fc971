//! Moves the ready inner service into a future that outlives the call.

use std::mem;

/// Takes the ready service and leaves a clone in its place. The clone is not ready, and calling it
/// would break back-pressure.
pub(crate) fn take<I: Clone>(inner: &mut I) -> I {
    let clone = inner.clone();
    mem::replace(inner, clone)
}
