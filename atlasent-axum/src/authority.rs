//! The authority in a router's state.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::{DynAuthority, IssuerId};
use atlasent::permit::PermitRecord;
use atlasent::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, Receipt, Verification,
    VerifyRequest,
};
use atlasent::{Authority, Error};
use axum::extract::FromRef;

/// An authority that handlers share. Put it into the router's state:
///
/// ```
/// # use atlasent::testing::MockAuthority;
/// use atlasent_axum::SharedAuthority;
/// use axum::extract::FromRef;
///
/// #[derive(Clone)]
/// struct App {
///     authority: SharedAuthority,
///     database: String,
/// }
///
/// // Or `#[derive(FromRef)]`, with axum's feature `macros`.
/// impl FromRef<App> for SharedAuthority {
///     fn from_ref(app: &App) -> Self {
///         app.authority.clone()
///     }
/// }
///
/// let app = App {
///     authority: SharedAuthority::new(MockAuthority::new().allow("deploy")),
///     database: "postgres://…".into(),
/// };
/// ```
///
/// `SharedAuthority` implements [`Authority`], so `#[protect(…, authority = app.authority)]`
/// accepts it.
#[derive(Clone)]
pub struct SharedAuthority(Arc<dyn DynAuthority>);

impl SharedAuthority {
    /// Wraps an authority, to be shared by cloning.
    #[must_use]
    pub fn new(authority: impl Authority + 'static) -> Self {
        Self(Arc::new(authority))
    }

    pub(crate) fn as_dyn(&self) -> &dyn DynAuthority {
        &*self.0
    }
}

impl Authority for SharedAuthority {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.0.evaluate(request).await
    }

    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        self.0.evaluate_all(requests).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.0.verify(request).await
    }

    async fn evaluate_and_verify(
        &self,
        request: &EvaluateRequest,
        restated: &VerifyRequest,
    ) -> Result<(Evaluation, Option<Verification>), Error> {
        self.0.evaluate_and_verify(request, restated).await
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.0.permit_status(permit).await
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.0.complete(receipt).await
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        self.0.wait(escalation_id, at_most).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.0.issuer()
    }
}

impl fmt::Debug for SharedAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAuthority").finish_non_exhaustive()
    }
}

/// A router's state that holds an authority. Every state `S` for which [`SharedAuthority`]
/// implements `FromRef<S>` has this trait.
#[diagnostic::on_unimplemented(
    message = "the state `{Self}` has no authority",
    label = "this state holds no authority to obtain permits from",
    note = "give it a field of the type `atlasent_axum::SharedAuthority` and derive `axum::extract::FromRef` for it, \
            or implement `FromRef<{Self}>` for `SharedAuthority`; a `SharedAuthority` alone is a valid state, too"
)]
pub trait HasAuthority {
    /// Returns the authority.
    fn authority(&self) -> SharedAuthority;
}

#[diagnostic::do_not_recommend]
impl<S> HasAuthority for S
where
    SharedAuthority: FromRef<S>,
{
    fn authority(&self) -> SharedAuthority {
        SharedAuthority::from_ref(self)
    }
}
