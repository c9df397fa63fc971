//! The extractor that takes the permit that a layer obtained.

use atlasent::{Action, AnyAction, Permit};
use atlasent_tower::{PermitSlot, check_request_path};
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Refused;

/// Takes the permit that a [`ProtectLayer`](atlasent_tower::ProtectLayer) or a
/// [`ProtectedRouter`](crate::ProtectedRouter) obtained. The handler does not run without one.
///
/// ```
/// use atlasent::Permit;
/// use atlasent_axum::TakePermit;
///
/// // `TakePermit<ReadPatientRecord>` for a target of typed actions.
/// async fn deploy(TakePermit(permit): TakePermit) -> String {
///     run(permit)
/// }
///
/// fn run(permit: Permit) -> String {
///     format!("deployed by {}", permit.agent())
/// }
/// # axum::Router::<()>::new().route("/", axum::routing::post(deploy));
/// ```
///
/// Inside a `ProtectedRouter`, the permit is always the one for the action that the route declares.
/// A public route, or one whose handler obtains its own permit, has no permit to take, even if a
/// layer around the router obtained one.
///
/// A request gets 500, as a misconfiguration, if no layer obtained a permit for this type of action
/// or the permit was already taken. A permit that [expired](Permit::is_active) while the request
/// waited gets 403. A request whose path is not in normal form gets 400; inside `nest`, the whole
/// path is checked.
///
/// Outside a `ProtectedRouter`, the permit is that of the innermost `ProtectLayer`, and granted by
/// that layer's authority. To require a certain authority, call
/// [`require_granted_by`](Permit::require_granted_by), or use the permit on an
/// [`atlasent::Guarded`], which requires its own.
#[derive(Debug)]
pub struct TakePermit<A: Action = AnyAction>(pub Permit<A>);

impl<A: Action, S: Send + Sync> FromRequestParts<S> for TakePermit<A> {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Refused> {
        check_request_path(request)?;
        Ok(Self(PermitSlot::take_from(&request.extensions)?))
    }
}
