//! Obtains the permit for a request.

use atlasent::permit::Execution;
use atlasent::{Authority, AuthorityExt};
use http::request::Parts;

use super::slot;
use crate::{PermitRequest, Refusal, Target, check_request_path};

/// Obtains a permit for the action that `target` reads from the request, as a
/// [`ProtectLayer`](crate::ProtectLayer) does before it calls the inner service, and puts the
/// permit into a [`PermitSlot`](crate::PermitSlot) in the extensions of the request. Returns the
/// execution of the permit, which has started. Call the inner service once, and finish the
/// execution afterwards.
///
/// # Errors
///
/// Returns the [`Refusal`] if the permit was not obtained.
pub async fn obtain_permit<P, T>(
    authority: &P,
    target: &T,
    request: &mut Parts,
) -> Result<Execution, Refusal>
where
    P: Authority + ?Sized,
    T: Target,
{
    check_request_path(request)?;
    let PermitRequest {
        agent,
        action,
        options,
    } = target.permit_request(request).await?;
    let mut ask = authority.ask(agent, action);
    if let Some(options) = options {
        ask = ask.options(|_| *options);
    }
    let permit = ask.protect().await?;
    let execution = permit.execution();
    slot::put(permit, &mut request.extensions);
    Ok(execution)
}
