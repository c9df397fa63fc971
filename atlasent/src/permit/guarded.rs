//! A value that is reachable only with a permit.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use crate::authority::IssuerId;
use crate::authority::config::default_issuer;
use crate::authority::issuer_of;
use crate::{Authority, Error, NamedAction, Permit};

/// A value, such as a connection pool or a cloud client, that is reachable only with a permit.
///
/// ```
/// use atlasent::{Action, Error, Guarded, Permit};
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
/// fn run(database: &Guarded<Database, DropTable>, permit: Permit<DropTable>) -> Result<(), Error> {
///     database.with(permit, |database| database.drop_table(&database.permit().table))
/// }
/// ```
///
/// A permit is taken by value and lends the guarded value for one closure ([`with`](Self::with),
/// [`with_async`](Self::with_async)) or for the lifetime of the result ([`open`](Self::open)).
///
/// # Accepted permits
///
/// Any type can implement [`Authority`] and allow everything, so a `Guarded` accepts the permits of
/// one authority: the process default ([`new`](Self::new)), or a named one
/// ([`granted_by`](Self::granted_by)). The permit also has to be [active](Permit::is_active).
///
/// # Values that can be cloned
///
/// A `Clone` value, such as a connection pool or most clients, can be cloned while it is lent, and
/// the clone outlives the permit. Guard a type that is not `Clone` and offers only what the action
/// needs.
pub struct Guarded<T, A> {
    inner: T,
    accepts: AcceptedIssuer,
    // Invariant, as in `Permit`.
    action: PhantomData<fn(A) -> A>,
}

/// The authority whose permits open a value.
#[derive(Clone, Copy)]
enum AcceptedIssuer {
    ProcessDefault,
    Only(IssuerId),
}

// The bound is on the methods, and not on the `impl`: only so does the compiler say what is wrong
// with an action.
impl<T, A> Guarded<T, A> {
    /// Locks `inner` away. It opens to permits of the process default, which
    /// [`configure`](crate::configure) installs.
    pub const fn new(inner: T) -> Self
    where
        A: NamedAction,
    {
        Self {
            inner,
            accepts: AcceptedIssuer::ProcessDefault,
            action: PhantomData,
        }
    }

    /// Locks `inner` away. It opens to permits that `authority` grants, or a clone or pointer of
    /// it.
    ///
    /// ```
    /// use atlasent::{Action, AuthorityExt, Guarded, testing::MockAuthority};
    ///
    /// #[derive(Action)]
    /// #[action("drop_table")]
    /// struct DropTable { table: String }
    ///
    /// # futures_executor::block_on(async {
    /// let authority = MockAuthority::new().allow("drop_table");
    /// let tables = Guarded::granted_by(&authority, vec!["old", "new"])?;
    ///
    /// let permit = authority.protect("bot", DropTable { table: "old".into() }).await?;
    /// let known = tables.with(permit, |tables| tables.contains(&&*tables.permit().table))?;
    /// assert!(known);
    ///
    /// // Somebody else's yes.
    /// let another = MockAuthority::new().allow("drop_table");
    /// let permit = another.protect("bot", DropTable { table: "old".into() }).await?;
    /// assert!(tables.open(permit).is_err());
    /// # Ok::<(), atlasent::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when the authority has no [`issuer`](Authority::issuer).
    pub fn granted_by<P: Authority + ?Sized>(authority: &P, inner: T) -> Result<Self, Error>
    where
        A: NamedAction,
    {
        Ok(Self {
            inner,
            accepts: AcceptedIssuer::Only(issuer_of(authority)?),
            action: PhantomData,
        })
    }

    /// Spends a permit to lend what is inside to one closure, which cannot keep it.
    ///
    /// The closure receives an [`Opened`], which derefs to the value and has the permit.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); the closure does not run then.
    pub fn with<R>(
        &self,
        permit: Permit<A>,
        body: impl FnOnce(Opened<'_, T, A>) -> R,
    ) -> Result<R, Error>
    where
        A: NamedAction,
    {
        Ok(body(self.open(permit)?))
    }

    /// [`with`](Self::with) for an async closure.
    ///
    /// ```
    /// # use atlasent::{Action, Error, Guarded, Permit};
    /// # #[derive(Action)]
    /// # #[action("drop_table")]
    /// # struct DropTable { table: String }
    /// # struct Database;
    /// # impl Database { async fn drop_table(&self, _name: &str) {} }
    /// async fn run(database: &Guarded<Database, DropTable>, permit: Permit<DropTable>) -> Result<(), Error> {
    ///     database
    ///         .with_async(permit, async |database| {
    ///             database.drop_table(&database.permit().table).await;
    ///         })
    ///         .await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); the closure does not run then.
    pub async fn with_async<R>(
        &self,
        permit: Permit<A>,
        body: impl AsyncFnOnce(Opened<'_, T, A>) -> R,
    ) -> Result<R, Error>
    where
        A: NamedAction,
    {
        Ok(body(self.open(permit)?).await)
    }

    /// Spends a permit to reach what is inside for as long as the result lives, which may be as
    /// long as the `Guarded` itself. Prefer [`with`](Self::with), which ends with its closure.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] when the permit was granted by another authority or is not active any
    /// more, [`Error::Config`] when the permits of the process default are taken and none is
    /// installed. The permit is spent all the same.
    pub fn open(&self, permit: Permit<A>) -> Result<Opened<'_, T, A>, Error>
    where
        A: NamedAction,
    {
        let issuer = match self.accepts {
            AcceptedIssuer::Only(issuer) => issuer,
            AcceptedIssuer::ProcessDefault => default_issuer().ok_or_else(|| {
                Error::Config(
                    "this value takes permits of the process default, and none is installed: call \
                     `atlasent::configure` at start-up, or name an authority: `Guarded::granted_by`"
                        .to_owned(),
                )
            })?,
        };
        permit.require_issuer(issuer)?;
        permit.require_active()?;
        Ok(Opened {
            inner: &self.inner,
            permit,
        })
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
    /// Returns the permit that opened it.
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
