//! Builds a target from parts.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use atlasent::wire::RequestOptions;
use atlasent::{Action, AnyAction, Context, ToAgent};
use http::HeaderName;
use http::request::Parts;

use super::agent::AgentSource;
use super::{PermitRequest, Target};
use crate::{Refusal, Unauthenticated, grpc, header};

/// A [`Target`] that is built from parts.
///
/// The default agent is the subject of the verified ATI claims, so an [`AtiLayer`](crate::AtiLayer)
/// has to be outside.
///
/// Calls add to the action and to the request, in their order, and each function can refuse the
/// request. A context field or a resource that is set twice has its last value. Of
/// [`agent`](Self::agent), [`trusted_header`](Self::trusted_header) and
/// [`agent_from`](Self::agent_from), the last call replaces the earlier ones.
///
/// ```
/// use atlasent_tower::RequestTarget;
///
/// let deploy = RequestTarget::action("deploy.production")
///     .resource(|request| Ok(request.uri.path().trim_start_matches("/clusters/").to_owned()))
///     .method()
///     .header("x-change-ticket", "ticket")
///     .options(|_, options| options.environment("production"));
/// ```
///
/// A typed action has its own resource and context, and its permits carry its values:
///
/// ```
/// # use atlasent::Action;
/// # use atlasent_tower::{Refusal, RequestTarget};
/// #[derive(Action)]
/// #[action("read_patient_record")]
/// struct ReadPatientRecord {
///     #[action(resource)]
///     patient_id: String,
/// }
///
/// let read = RequestTarget::action_from(|request| {
///     let id = request.uri.path().strip_prefix("/patients/");
///     let patient_id = id.ok_or_else(|| Refusal::bad_request("it names no patient"))?.to_owned();
///     Ok(ReadPatientRecord { patient_id })
/// });
/// ```
#[must_use]
pub struct RequestTarget<A = AnyAction> {
    action: Arc<ActionFn<A>>,
    name: Option<Cow<'static, str>>,
    agent: AgentSource,
    options: Option<Arc<OptionsFn>>,
}

type ActionFn<A> = dyn Fn(&Parts) -> Result<A, Refusal> + Send + Sync;
type OptionsFn = dyn Fn(&Parts, RequestOptions) -> RequestOptions + Send + Sync;

impl RequestTarget {
    /// Creates a target with the same action for every request.
    pub fn action(name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        let action = AnyAction::new(name.clone()).map_err(|error| error.to_string());
        let target = Self::action_from(move |_| action.clone().map_err(Refusal::misconfigured));
        Self {
            name: Some(name),
            ..target
        }
    }

    /// Creates a target whose action is the name of the gRPC method: `package.Service/Method`.
    pub fn grpc_method() -> Self {
        Self::action_from(|request| {
            let (service, method) = grpc::method(request)?;
            AnyAction::new(format!("{service}/{method}"))
                .map_err(|error| Refusal::bad_request(error.to_string()))
        })
    }

    /// Sets the function that reads the resource of the action. A second call replaces the
    /// resource; both functions are called, and each can refuse the request.
    pub fn resource(
        self,
        resource: impl Fn(&Parts) -> Result<String, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.extend_action(move |request, action| Ok(action.with_resource(resource(request)?)))
    }

    /// Adds fields to the context that policies read. A second call adds its fields, and replaces
    /// fields of the same name.
    pub fn context(
        self,
        context: impl Fn(&Parts) -> Result<Context, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.extend_action(move |request, mut action| {
            for (key, value) in context(request)?.as_object() {
                action = action.with_field(key, value)?;
            }
            Ok(action)
        })
    }

    /// Adds the HTTP method, as the field `method`. A second call changes nothing.
    pub fn method(self) -> Self {
        self.extend_action(|request, action| {
            Ok(action.with_field("method", request.method.as_str())?)
        })
    }

    /// Adds the path, as the field `path`. It is in normal form (RFC 3986 §6.2.2), and otherwise as
    /// sent.
    ///
    /// Inside `axum::Router::nest` this is the rest of the path; `original_path` of
    /// `atlasent_axum::TargetExt` adds the whole path. A second call changes nothing.
    pub fn path(self) -> Self {
        self.extend_action(|request, action| Ok(action.with_field("path", request.uri.path())?))
    }

    /// Adds the value of a header, if the request has it, as the field `field`. A repeated header,
    /// or one that is not plain ASCII, is refused.
    ///
    /// A second call adds another header. If both set the same field, the last header that the
    /// request has wins.
    ///
    /// Any client can send any header: do not let a policy allow an action because of a header
    /// unless a trusted proxy sets it.
    ///
    /// # Panics
    ///
    /// Panics if `name` is not a valid header name in lower case.
    pub fn header(self, name: &'static str, field: &'static str) -> Self {
        let name = HeaderName::from_static(name);
        self.extend_action(move |request, action| {
            let value = header::single(&request.headers, &name).map_err(|why| {
                Refusal::bad_request(format!("its header `{name}` {why}: send one"))
            })?;
            match value {
                Some(value) => Ok(action.with_field(field, value)?),
                None => Ok(action),
            }
        })
    }

    /// Adds the address of the connected peer, without the port, as the field `client_address`.
    /// Behind a proxy, this is the address of the proxy. A second call replaces it.
    ///
    /// `address` reads the address from the extensions of the request, where servers put it; a
    /// missing address is a misconfiguration. For axum, use `connected_address` of
    /// `atlasent_axum::TargetExt`. For tonic:
    ///
    /// ```
    /// # #[cfg(any())] // tonic is not among the dependencies
    /// target.client_address(|request| request.extensions.get::<TcpConnectInfo>()?.remote_addr())
    /// # ;
    /// ```
    pub fn client_address(
        self,
        address: impl Fn(&Parts) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.extend_action(move |request, action| {
            let address = address(request).ok_or_else(|| {
                Refusal::misconfigured(
                    "the request has no client address: serve with connection info",
                )
            })?;
            Ok(action.with_field("client_address", &address.ip().to_canonical())?)
        })
    }

    fn extend_action(
        self,
        extend: impl Fn(&Parts, AnyAction) -> Result<AnyAction, Refusal> + Send + Sync + 'static,
    ) -> Self {
        let action = self.action;
        Self {
            action: Arc::new(move |request| extend(request, action(request)?)),
            ..self
        }
    }
}

impl<A: Action> RequestTarget<A> {
    /// Creates a target whose action a function reads from the request.
    ///
    /// The function does not see the body: for an action with values from the body, use an
    /// extractor or `#[protect]`.
    pub fn action_from(
        action: impl Fn(&Parts) -> Result<A, Refusal> + Send + Sync + 'static,
    ) -> Self {
        Self {
            action: Arc::new(action),
            name: None,
            agent: AgentSource::Claims,
            options: None,
        }
    }

    /// Sets the agent of every request. A second call replaces it, as do
    /// [`trusted_header`](Self::trusted_header) and [`agent_from`](Self::agent_from).
    pub fn agent(self, agent: impl ToAgent) -> Self {
        let agent = match agent.to_agent() {
            Ok(agent) => AgentSource::Fixed(agent),
            Err(error) => AgentSource::Invalid(error.to_string().into()),
        };
        Self { agent, ..self }
    }

    /// Reads the agent from a header, such as `x-agent-id`, which must appear exactly once. A
    /// second call replaces it, as do [`agent`](Self::agent) and [`agent_from`](Self::agent_from).
    ///
    /// **Any client can send any header.** This is safe only if all requests come through a proxy
    /// or a mesh that authenticates the agent, sets this header, and removes it from incoming
    /// requests. Otherwise use tokens.
    ///
    /// # Panics
    ///
    /// Panics if `name` is not a valid header name in lower case.
    pub fn trusted_header(self, name: &'static str) -> Self {
        Self {
            agent: AgentSource::TrustedHeader(HeaderName::from_static(name)),
            ..self
        }
    }

    /// Reads the agent by a function, for example from the extensions that another layer set. A
    /// second call replaces it, as do [`agent`](Self::agent) and
    /// [`trusted_header`](Self::trusted_header).
    pub fn agent_from<N: ToAgent>(
        self,
        agent: impl Fn(&Parts) -> Result<N, Refusal> + Send + Sync + 'static,
    ) -> Self {
        let agent = move |request: &Parts| {
            let agent = agent(request)?.to_agent();
            agent.map_err(|error| Unauthenticated::NoAgent(error.to_string()).into())
        };
        Self {
            agent: AgentSource::Function(Arc::new(agent)),
            ..self
        }
    }

    /// Sets optional fields of the request to the authority. A second call receives the options of
    /// the first.
    pub fn options(
        self,
        set: impl Fn(&Parts, RequestOptions) -> RequestOptions + Send + Sync + 'static,
    ) -> Self {
        let options: Arc<OptionsFn> = match self.options {
            Some(first) => Arc::new(move |request, options| set(request, first(request, options))),
            None => Arc::new(set),
        };
        Self {
            options: Some(options),
            ..self
        }
    }
}

impl<A: Action> Target for RequestTarget<A> {
    type Action = A;

    async fn permit_request(&self, request: &Parts) -> Result<PermitRequest<A>, Refusal> {
        // The agent is read first, so that an anonymous caller does not learn what else is invalid.
        let agent = self.agent.read(request)?;
        let permit_request = PermitRequest::new(agent, (self.action)(request)?)?;
        Ok(match &self.options {
            Some(set) => permit_request.options(|options| set(request, options)),
            None => permit_request,
        })
    }

    fn action_name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl<A> Clone for RequestTarget<A> {
    fn clone(&self) -> Self {
        Self {
            action: Arc::clone(&self.action),
            name: self.name.clone(),
            agent: self.agent.clone(),
            options: self.options.clone(),
        }
    }
}

impl<A> fmt::Debug for RequestTarget<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestTarget")
            .field(
                "action",
                &self.name.as_deref().unwrap_or("from the request"),
            )
            .finish_non_exhaustive()
    }
}
