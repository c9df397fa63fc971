//! Reads the agent from a request.

use std::sync::Arc;

use ati_client::Claims;
use atlasent::{Agent, ToAgent};
use http::HeaderName;
use http::request::Parts;

use crate::ati::Anonymous;
use crate::{Refusal, Unauthenticated, header};

/// Where the agent is read from.
#[derive(Clone)]
pub(super) enum AgentSource {
    Claims,
    Fixed(Agent),
    TrustedHeader(HeaderName),
    Function(Arc<AgentFn>),
    /// The fixed name is invalid, for this reason.
    Invalid(Arc<str>),
}

pub(super) type AgentFn = dyn Fn(&Parts) -> Result<Agent, Refusal> + Send + Sync;

impl AgentSource {
    pub(super) fn read(&self, request: &Parts) -> Result<Agent, Refusal> {
        match self {
            Self::Claims => subject(request),
            Self::Fixed(agent) => Ok(agent.clone()),
            Self::TrustedHeader(name) => agent_from_header(request, name),
            Self::Function(read) => read(request),
            Self::Invalid(why) => Err(Refusal::misconfigured(why.as_ref())),
        }
    }
}

/// Returns the claims that an [`AtiLayer`](crate::AtiLayer) has verified.
///
/// # Errors
///
/// Returns [`Refusal::Unauthenticated`] for an anonymous request, and [`Refusal::Misconfigured`] if
/// no `AtiLayer` is outside, which is a mistake of the service and not of the caller.
pub fn claims(request: &Parts) -> Result<&Claims, Refusal> {
    if let Some(claims) = request.extensions.get::<Claims>() {
        return Ok(claims);
    }
    Err(match request.extensions.get::<Anonymous>() {
        Some(Anonymous) => Unauthenticated::NoToken.into(),
        None => Refusal::misconfigured(
            "the request has no `ati_client::Claims`: put an `AtiLayer` around this service",
        ),
    })
}

/// Returns the agent that the verified claims of a request name.
///
/// # Errors
///
/// Returns the errors of [`claims`], and [`Refusal::Unauthenticated`] if the `sub` of the token, or
/// an actor in its `act`, is not a valid name of an agent.
pub fn subject(request: &Parts) -> Result<Agent, Refusal> {
    let claims = claims(request)?;
    let agent = claims.sub().to_agent();
    let agent = agent.map_err(|error| Unauthenticated::BadSubject(error.to_string()))?;
    check_actors(claims)?;
    Ok(agent)
}

/// Fails if an actor of a delegated token is not a valid name of an agent.
pub(crate) fn check_actors(claims: &Claims) -> Result<(), Refusal> {
    for actor in claims.actors() {
        Agent::new(actor).map_err(|error| Unauthenticated::BadActor(error.to_string()))?;
    }
    Ok(())
}

fn agent_from_header(request: &Parts, name: &HeaderName) -> Result<Agent, Refusal> {
    let no_agent = |why: &str| Unauthenticated::NoAgent(format!("the header `{name}` {why}"));
    let value = header::single(&request.headers, name).map_err(no_agent)?;
    let value = value.ok_or_else(|| no_agent("is missing"))?;
    // A proxy may join two headers into one.
    if value.contains(',') {
        return Err(no_agent("names more than one agent").into());
    }
    if value.trim().is_empty() {
        return Err(no_agent("is empty").into());
    }
    let agent = value.to_agent();
    Ok(agent.map_err(|error| no_agent(&format!("is not a valid agent: {error}")))?)
}
