//! Obtains the permit for a request.

use std::time::Duration;

use ati_client::Claims;
use atlasent::permit::Execution;
use atlasent::{Authority, AuthorityExt};
use http::request::Parts;

use super::slot;
use crate::target::check_actors;
use crate::{PermitRequest, Refusal, Target, check_request_path, preferred_wait};

/// Obtains a permit for the action that `target` reads from the request, as a
/// [`ProtectLayer`](crate::ProtectLayer) does before it calls the inner service, and puts the
/// permit into a [`PermitSlot`](crate::PermitSlot) in the extensions of the request. Returns the
/// execution of the permit, which has started. Call the inner service once, and finish the
/// execution afterwards.
///
/// The authority hears who acts for the agent, if the claims that an [`AtiLayer`](crate::AtiLayer)
/// verified are those of the agent and of a [delegated](ati_client::delegate) token.
///
/// A request that the authority holds waits for approvers as long as [`preferred_wait`] says.
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
    let wait = preferred_wait(request);
    obtain_permit_within(authority, target, request, wait).await
}

/// Obtains a permit, and waits for approvers for at most `wait`.
pub(super) async fn obtain_permit_within<P, T>(
    authority: &P,
    target: &T,
    request: &mut Parts,
    wait: Option<Duration>,
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
    // Only a delegated token names actors, and only a request that waits can outlive its token. The
    // token of another agent than the one that acts, such as a fixed one, says nothing of it.
    let claims = request.extensions.get::<Claims>().filter(|claims| {
        let says_more = claims.actors().len() > 0 || wait.is_some();
        says_more && claims.sub() == agent.as_str()
    });
    let mut ask = authority.ask(agent, action);
    if let Some(claims) = claims {
        check_actors(claims)?;
        ask = ask.claims(claims);
    }
    if let Some(options) = options {
        ask = ask.options(|_| *options);
    }
    if let Some(at_most) = wait {
        ask = ask.wait(at_most);
    }
    let permit = ask.protect().await?;
    let execution = permit.execution();
    slot::put(permit, &mut request.extensions);
    Ok(execution)
}
