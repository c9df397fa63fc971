//! The permit that a layer obtained, as an extractor.

use atlasent::{Action, AnyAction, Permit};
use atlasent_tower::{PermitSlot, check_request_path};
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Refused;

/// Takes the permit that a [`ProtectLayer`](atlasent_tower::ProtectLayer) or a
/// [`ProtectedRouter`](crate::ProtectedRouter) obtained, so that the handler cannot run without
/// one.
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
///     format!("deployed, as {} may", permit.agent())
/// }
/// # axum::Router::<()>::new().route("/", axum::routing::post(deploy));
/// ```
///
/// Inside of a `ProtectedRouter` that is the permit for what the route declares, and no other: a
/// route that is public, or whose handler asks by itself, has none, whatever a layer outside of the
/// router has obtained.
///
/// Where no layer has obtained a permit for this type of action, or it was taken before, that is a
/// misconfiguration, and a 500. A permit that [expired](Permit::is_active) while the request waited
/// gets 403. A path that is not in normal form gets 400, of the whole request, also inside of
/// `nest`.
///
/// Outside of a `ProtectedRouter` the permit is that of the innermost `ProtectLayer`, which names
/// the authority. A handler that has to be sure of it asks
/// [`require_granted_by`](Permit::require_granted_by), or uses the permit on an
/// [`atlasent::Guarded`], which asks by itself.
#[derive(Debug)]
pub struct TakePermit<A: Action = AnyAction>(pub Permit<A>);

impl<A: Action, S: Send + Sync> FromRequestParts<S> for TakePermit<A> {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Refused> {
        check_request_path(request)?;
        Ok(Self(PermitSlot::take_from(&request.extensions)?))
    }
}
