//! The permit that a layer obtained, as an extractor.

use std::any::type_name;

use atlasent::{Action, AnyAction, Permit};
use atlasent_tower::{PermitSlot, Refusal, check_request_path};
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Refused;

/// Takes the permit that a [`ProtectLayer`](atlasent_tower::ProtectLayer) or a [`ProtectedRouter`](crate::ProtectedRouter) obtained, so that the
/// handler cannot run without one.
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
/// misconfiguration, and a 500. A path that is not in normal form gets 400, of the whole request,
/// also inside of `nest`.
#[derive(Debug)]
pub struct TakePermit<A: Action = AnyAction>(pub Permit<A>);

impl<A: Action, S: Send + Sync> FromRequestParts<S> for TakePermit<A> {
    type Rejection = Refused;

    async fn from_request_parts(request: &mut Parts, _: &S) -> Result<Self, Refused> {
        check_request_path(request)?;
        let slot = request.extensions.get::<PermitSlot<A>>().ok_or_else(|| {
            Refusal::misconfigured(format!(
                "the handler takes a `Permit<{}>`, and nothing outside has obtained one: add a `ProtectLayer` whose target is \
                 of that action",
                type_name::<A>()
            ))
        })?;
        let permit = slot.take().ok_or_else(|| {
            Refusal::misconfigured(format!(
                "the `Permit<{}>` of this request was taken before",
                type_name::<A>()
            ))
        })?;
        Ok(Self(permit))
    }
}
