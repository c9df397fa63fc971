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

// The bound is on the methods instead of the `impl`, so that the compiler's error names the action
// that does not meet it.
impl<T, A> Guarded<T, A> {
    /// Guards `inner`. It accepts permits of the process default, which
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

    /// Guards `inner`. It accepts permits of `authority`, of its clones and of pointers to it.
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
    /// // The permit of another authority is refused.
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

    /// Uses a permit up to lend the value to one closure, which cannot keep it.
    ///
    /// The closure receives an [`Opened`], which derefs to the value and holds the permit.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). The closure does not run in these cases.
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

    /// Uses a permit up to lend the value to one async closure: [`with`](Self::with) for async
    /// code.
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
    /// As [`open`](Self::open). The closure does not run in these cases.
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

    /// Uses a permit up to lend the value for the lifetime of the result, which may be as long as
    /// that of the `Guarded`. Prefer [`with`](Self::with), which ends with its closure.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] when another authority granted the permit or the permit expired.
    /// [`Error::Config`] when permits of the process default are accepted and no default is
    /// installed. The permit is used up in each case.
    pub fn open(&self, permit: Permit<A>) -> Result<Opened<'_, T, A>, Error>
    where
        A: NamedAction,
    {
        let issuer = match self.accepts {
            AcceptedIssuer::Only(issuer) => issuer,
            AcceptedIssuer::ProcessDefault => default_issuer().ok_or_else(|| {
                Error::Config(
                    "this value accepts permits of the process default, and no default is installed: call \
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

/// The value of a [`Guarded`], lent for a permit. It derefs to the value.
#[must_use = "the permit is used up: use the value that it opened"]
pub struct Opened<'a, T, A> {
    inner: &'a T,
    permit: Permit<A>,
}

impl<T, A> Opened<'_, T, A> {
    /// Returns the permit that opened the value.
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

/// Prints the permit and omits the value, which may hold secrets.
impl<T, A> fmt::Debug for Opened<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}
