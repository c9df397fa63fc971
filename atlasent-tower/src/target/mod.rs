//! Reads from a request which agent wants to do which action.

mod agent;
mod builder;

use std::fmt;
use std::future::Future;

use atlasent::wire::RequestOptions;
use atlasent::{Action, Agent, Error, ToAgent};
use http::request::Parts;

pub(crate) use agent::check_actors;
pub use agent::{claims, subject};
pub use builder::RequestTarget;

use crate::Refusal;

/// Reads from a request which agent wants to do which action.
///
/// [`RequestTarget`] covers the common cases. This target looks up a directory:
///
/// ```
/// use atlasent::AnyAction;
/// use atlasent_tower::{PermitRequest, Refusal, Target, claims};
/// use http::request::Parts;
///
/// struct Transfers {
///     directory: Directory,
/// }
///
/// impl Target for Transfers {
///     type Action = AnyAction;
///
///     async fn permit_request(&self, request: &Parts) -> Result<PermitRequest<AnyAction>, Refusal> {
///         // The claims that an `AtiLayer` verified, not a header that any client can send.
///         let claims = claims(request)?;
///         let department = self.directory.department_of(claims.sub()).await;
///         let action = AnyAction::new("wire.transfer")?.with_field("department", &department)?;
///         Ok(PermitRequest::new(claims.sub(), action)?)
///     }
/// }
/// # struct Directory;
/// # impl Directory { async fn department_of(&self, _: &str) -> String { String::new() } }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a target: it does not read an action from a request",
    label = "this does not implement `atlasent_tower::Target`",
    note = "name the action: `RequestTarget::action(\"deploy.production\")`, or \
            `RequestTarget::action_from(|request| …)` where it depends on the request"
)]
pub trait Target: Send + Sync + 'static {
    /// The type of the action.
    type Action: Action;

    /// Returns the agent and the action of a request. The path of the request is in normal form
    /// (RFC 3986 §6.2.2).
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if the request is invalid or has no agent. The request is refused with
    /// it.
    fn permit_request(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<PermitRequest<Self::Action>, Refusal>> + Send;

    /// Returns the name of the action, if it is the same for all requests. Tables of routes show
    /// it.
    fn action_name(&self) -> Option<&str> {
        None
    }
}

/// A request for a permit: the agent, the action, and optional fields.
#[must_use]
pub struct PermitRequest<A> {
    pub(crate) agent: Agent,
    pub(crate) action: A,
    // Boxed, since most requests have no options.
    pub(crate) options: Option<Box<RequestOptions>>,
}

impl<A: Action> PermitRequest<A> {
    /// Creates a request of `agent` to do `action`.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Invalid`] if the name of the agent is empty or longer than 256 characters.
    pub fn new(agent: impl ToAgent, action: A) -> Result<Self, Error> {
        Ok(Self {
            agent: agent.to_agent()?,
            action,
            options: None,
        })
    }

    /// Sets optional fields of the request to the authority. A second call receives the options of
    /// the first.
    pub fn options(mut self, set: impl FnOnce(RequestOptions) -> RequestOptions) -> Self {
        let options = self.options.take().map(|options| *options);
        self.options = Some(Box::new(set(options.unwrap_or_default())));
        self
    }
}

/// Prints the agent and the name of the action, but not the values of the action, which may be
/// secret.
impl<A: Action> fmt::Debug for PermitRequest<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitRequest")
            .field("agent", &self.agent)
            .field("action", &self.action.name())
            .field("options", &self.options)
            .finish()
    }
}
