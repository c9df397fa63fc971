//! The inner service that is ready, for a future that outlives the call.

use std::mem;

/// Takes the service that is ready. The clone that stays in its place is not: whoever called that one would break
/// back-pressure.
pub(crate) fn take<I: Clone>(inner: &mut I) -> I {
    let clone = inner.clone();
    mem::replace(inner, clone)
}
