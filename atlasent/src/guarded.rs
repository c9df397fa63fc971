//! Something dangerous behind a permit.

use std::fmt;
use std::ops::Deref;

use crate::{NamedAction, Permit};
use std::marker::PhantomData;

/// Holds something dangerous, such as a connection pool or a cloud client, that only a permit reaches.
///
/// ```
/// use atlasent::{Action, Guarded, Permit};
///
/// #[derive(Action)]
/// #[action("drop_table")]
/// struct DropTable { table: String }
///
/// struct Database;
/// impl Database {
///     fn drop_table(&self, _name: &str) {}
/// }
///
/// fn run(database: &Guarded<Database, DropTable>, permit: Permit<DropTable>) {
///     let database = database.open(permit);
///     database.drop_table(&database.permit().table);
/// }
/// ```
pub struct Guarded<T, A> {
    inner: T,
    action: PhantomData<fn(A)>,
}

// The bound is on the methods, and not on the `impl`: only so does the compiler say what is wrong with an action.
impl<T, A> Guarded<T, A> {
    /// Locks `inner` away.
    pub const fn new(inner: T) -> Self
    where
        A: NamedAction,
    {
        Self {
            inner,
            action: PhantomData,
        }
    }

    /// Spends a permit to reach what is inside, for as long as the result lives.
    pub fn open(&self, permit: Permit<A>) -> Opened<'_, T, A>
    where
        A: NamedAction,
    {
        Opened {
            inner: &self.inner,
            permit,
        }
    }
}

impl<T, A> fmt::Debug for Guarded<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

/// What a [`Guarded`] holds, opened by a permit. It derefs to it.
#[must_use = "the permit is spent: use what it opened"]
pub struct Opened<'a, T, A> {
    inner: &'a T,
    permit: Permit<A>,
}

impl<T, A> Opened<'_, T, A> {
    /// The permit that opened it.
    pub fn permit(&self) -> &Permit<A> {
        &self.permit
    }
}

impl<T, A> Deref for Opened<'_, T, A> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner
    }
}

/// Prints the permit and not what it opened, which may hold secrets.
impl<T, A> fmt::Debug for Opened<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}
