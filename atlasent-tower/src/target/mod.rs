//! What a request asks for: who wants to do what.

mod agent;
mod builder;

use std::fmt;
use std::future::Future;

use atlasent::permit::Execution;
use atlasent::wire::RequestOptions;
use atlasent::{Action, Agent, Authority, AuthorityExt, Error, ToAgent};
use http::request::Parts;

pub use agent::{claims, subject};
pub use builder::RequestTarget;

use crate::protect::slot;
use crate::{Refusal, check_request_path};

/// Reads from a request who wants to do what.
///
/// [`RequestTarget`] is one for the common cases. This one asks a directory on the way:
///
/// ```
/// use atlasent::AnyAction;
/// use atlasent_tower::{Asked, Refusal, Target, claims};
/// use http::request::Parts;
///
/// struct Transfers {
///     directory: Directory,
/// }
///
/// impl Target for Transfers {
///     type Action = AnyAction;
///
///     async fn ask(&self, request: &Parts) -> Result<Asked<AnyAction>, Refusal> {
///         // Claims that an `AtiLayer` has verified. Never a header that anybody can send.
///         let claims = claims(request)?;
///         let department = self.directory.department_of(claims.sub()).await;
///         let action = AnyAction::new("wire.transfer")?.with_field("department", &department)?;
///         Ok(Asked::new(claims.sub(), action)?)
///     }
/// }
/// # struct Directory;
/// # impl Directory { async fn department_of(&self, _: &str) -> String { String::new() } }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a request asks for",
    label = "this is not an `atlasent_tower::Target`",
    note = "name the action: `RequestTarget::action(\"deploy.production\")`, or \
            `RequestTarget::action_from(|request| …)` where it depends on the request"
)]
pub trait Target: Send + Sync + 'static {
    /// The action that its permits are for.
    type Action: Action;

    /// Who wants to do what. The request's path is in normal form (RFC 3986 §6.2.2).
    ///
    /// # Errors
    ///
    /// The [`Refusal`] if that cannot be told. The request goes no further.
    fn ask(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<Asked<Self::Action>, Refusal>> + Send;

    /// The name of the action, where all requests have the same, for tables.
    fn action_name(&self) -> Option<&str> {
        None
    }
}

/// Who wants to do what.
#[must_use]
pub struct Asked<A> {
    agent: Agent,
    action: A,
    // Most requests have none.
    options: Option<Box<RequestOptions>>,
}

impl<A: Action> Asked<A> {
    /// `agent` wants to do `action`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the agent's name is empty or longer than 256 characters.
    pub fn new(agent: impl ToAgent, action: A) -> Result<Self, Error> {
        Ok(Self {
            agent: agent.to_agent()?,
            action,
            options: None,
        })
    }

    /// Sets optional fields of the request to the authority. A second call adds: it gets what the
    /// first one has set.
    pub fn options(mut self, set: impl FnOnce(RequestOptions) -> RequestOptions) -> Self {
        let options = self.options.take().map(|options| *options);
        self.options = Some(Box::new(set(options.unwrap_or_default())));
        self
    }
}

/// Prints who asks, for which action, and not its values, which may be anything.
impl<A: Action> fmt::Debug for Asked<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("agent", &self.agent)
            .field("action", &self.action.name())
            .field("options", &self.options)
            .finish()
    }
}

/// Obtains the permit for what a request asks for, as a [`ProtectLayer`](crate::ProtectLayer) does
/// before it calls the inner service, and puts it into a [`PermitSlot`](crate::PermitSlot) in the
/// request's extensions. The permit's execution has started then: the caller of the inner service
/// finishes it, and calls that service once.
///
/// # Errors
///
/// The [`Refusal`] if there is no permit. There is no third outcome.
pub async fn admit<P, T>(
    authority: &P,
    target: &T,
    request: &mut Parts,
) -> Result<Execution, Refusal>
where
    P: Authority + ?Sized,
    T: Target,
{
    check_request_path(request)?;
    let Asked {
        agent,
        action,
        options,
    } = target.ask(request).await?;
    let mut ask = authority.ask(agent, action);
    if let Some(options) = options {
        ask = ask.options(|_| *options);
    }
    let permit = ask.protect().await?;
    let execution = permit.execution();
    slot::put(permit, &mut request.extensions);
    Ok(execution)
}
