//! Who asks, as a request shows it.

use std::sync::Arc;

use ati_client::Claims;
use atlasent::{Agent, ToAgent};
use http::HeaderName;
use http::request::Parts;

use crate::ati::Anonymous;
use crate::{Refusal, Unauthenticated, header};

/// Where the name of the agent is read from.
#[derive(Clone)]
pub(super) enum AgentSource {
    Claims,
    Fixed(Agent),
    TrustedHeader(HeaderName),
    Function(Arc<AgentOf>),
    /// The name that was to be fixed is none, or the header's.
    Unusable(Arc<str>),
}

pub(super) type AgentOf = dyn Fn(&Parts) -> Result<Agent, Refusal> + Send + Sync;

impl AgentSource {
    pub(super) fn read(&self, request: &Parts) -> Result<Agent, Refusal> {
        match self {
            Self::Claims => subject(request),
            Self::Fixed(agent) => Ok(agent.clone()),
            Self::TrustedHeader(name) => named_by_header(request, name),
            Self::Function(read) => read(request),
            Self::Unusable(why) => Err(Refusal::misconfigured(why.as_ref())),
        }
    }
}

/// The claims that an [`AtiLayer`](crate::AtiLayer) has verified.
///
/// # Errors
///
/// [`Refusal::Unauthenticated`] when the request is nobody's, and [`Refusal::Misconfigured`] when
/// there is no such layer outside: that is our mistake, not the caller's.
pub fn claims(request: &Parts) -> Result<&Claims, Refusal> {
    if let Some(claims) = request.extensions.get::<Claims>() {
        return Ok(claims);
    }
    Err(match request.extensions.get::<Anonymous>() {
        Some(Anonymous) => Unauthenticated::NoToken.into(),
        None => Refusal::misconfigured(
            "the request has no `ati_client::Claims`: put an `AtiLayer` around this service, outside of whatever reads them",
        ),
    })
}

/// The agent that a request's verified claims name.
///
/// # Errors
///
/// As [`claims`], and [`Refusal::Unauthenticated`] when the token's `sub` cannot be an agent's
/// name.
pub fn subject(request: &Parts) -> Result<Agent, Refusal> {
    let agent = claims(request)?.sub().to_agent();
    Ok(agent.map_err(|error| Unauthenticated::BadSubject(error.to_string()))?)
}

fn named_by_header(request: &Parts, name: &HeaderName) -> Result<Agent, Refusal> {
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
    Ok(agent.map_err(|error| no_agent(&format!("names no agent: {error}")))?)
}
