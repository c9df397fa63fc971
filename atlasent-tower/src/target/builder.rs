//! A target put together from parts, for the common cases.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use atlasent::wire::RequestOptions;
use atlasent::{Action, AnyAction, Context, ToAgent};
use http::HeaderName;
use http::request::Parts;

use super::agent::AgentSource;
use super::{Asked, Target};
use crate::{Refusal, Unauthenticated, grpc, header};

/// What requests ask for, put together from parts.
///
/// By default the agent is the one whom verified ATI claims name, so an
/// [`AtiLayer`](crate::AtiLayer) has to stand outside.
///
/// What is said of the action and of the request adds up, in the order of the calls, and any of it
/// can refuse the request. A field of the context, or the resource, that is said twice has its last
/// value. The agent is named once: of [`agent`](Self::agent),
/// [`trusted_header`](Self::trusted_header) and [`agent_from`](Self::agent_from), the last call
/// replaces the ones before.
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
/// A typed action brings its resource and its context along, and its permits carry its values:
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
    action: Arc<ActionOf<A>>,
    name: Option<Cow<'static, str>>,
    agent: AgentSource,
    options: Option<Arc<OptionsOf>>,
}

type ActionOf<A> = dyn Fn(&Parts) -> Result<A, Refusal> + Send + Sync;
type OptionsOf = dyn Fn(&Parts, RequestOptions) -> RequestOptions + Send + Sync;

impl RequestTarget {
    /// The same action for every request.
    pub fn action(name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        let action = AnyAction::new(name.clone()).map_err(|error| error.to_string());
        let target = Self::action_from(move |_| action.clone().map_err(Refusal::misconfigured));
        Self {
            name: Some(name),
            ..target
        }
    }

    /// The action is called as the gRPC method: `package.Service/Method`.
    pub fn grpc_method() -> Self {
        Self::action_from(|request| {
            let (service, method) = grpc::method(request)?;
            AnyAction::new(format!("{service}/{method}"))
                .map_err(|error| Refusal::bad_request(error.to_string()))
        })
    }

    /// Reads what the action is done to. A second call replaces the resource; both functions are
    /// asked, and each can refuse the request.
    pub fn resource(
        self,
        resource: impl Fn(&Parts) -> Result<String, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.extended(move |request, action| Ok(action.with_resource(resource(request)?)))
    }

    /// Adds fields to the context that policies decide on. A second call adds its fields, and
    /// replaces those of the same name.
    pub fn context(
        self,
        context: impl Fn(&Parts) -> Result<Context, Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.extended(move |request, mut action| {
            for (key, value) in context(request)?.as_object() {
                action = action.with_field(key, value)?;
            }
            Ok(action)
        })
    }

    /// Adds the HTTP method, as the field `method`. A second call changes nothing.
    pub fn method(self) -> Self {
        self.extended(|request, action| Ok(action.with_field("method", request.method.as_str())?))
    }

    /// Adds the path, as the field `path`. It is in normal form (RFC 3986 §6.2.2), and otherwise as
    /// it was sent.
    ///
    /// Inside of `axum::Router::nest` that is the rest of the path. `atlasent_axum::TargetExt` has
    /// the whole. A second call changes nothing.
    pub fn path(self) -> Self {
        self.extended(|request, action| Ok(action.with_field("path", request.uri.path())?))
    }

    /// Adds the value of a header, if the request has it, as the field `field`. A header that
    /// stands there more than once, or is not plain ASCII, is refused.
    ///
    /// A second call adds; into the same field, the last of the headers that the request has.
    ///
    /// Anybody can send any header: a policy should allow nothing because of one unless a proxy
    /// vouches for it.
    ///
    /// # Panics
    ///
    /// When `name` cannot be a header's: it has to be in lower case.
    pub fn header(self, name: &'static str, field: &'static str) -> Self {
        let name = HeaderName::from_static(name);
        self.extended(move |request, action| {
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
    /// Behind a proxy that is the proxy's. A second call replaces it.
    ///
    /// `address` finds it in the request's extensions, where servers put it; that it does not is a
    /// misconfiguration. For axum, `atlasent_axum::TargetExt` has it ready. With tonic it is
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
        self.extended(move |request, action| {
            let address = address(request).ok_or_else(|| {
                Refusal::misconfigured(
                    "the client's address is not known: serve with connection info",
                )
            })?;
            Ok(action.with_field("client_address", &address.ip().to_canonical())?)
        })
    }

    fn extended(
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
    /// The action that a request itself describes.
    ///
    /// Of the body nothing is known here: an action with values out of it is a matter for an
    /// extractor or for `#[protect]`.
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

    /// Names the agent of every request. A second call replaces it, as do
    /// [`trusted_header`](Self::trusted_header) and [`agent_from`](Self::agent_from).
    pub fn agent(self, agent: impl ToAgent) -> Self {
        let agent = match agent.to_agent() {
            Ok(agent) => AgentSource::Fixed(agent),
            Err(error) => AgentSource::Unusable(error.to_string().into()),
        };
        Self { agent, ..self }
    }

    /// Reads the agent from a header, such as `x-agent-id`. There must be exactly one. A second
    /// call replaces it, as do [`agent`](Self::agent) and [`agent_from`](Self::agent_from).
    ///
    /// **Anybody can send any header.** This is safe only where nobody can reach the service but
    /// through a proxy or a mesh that authenticates the agent, sets this header, and removes the
    /// one that came from outside. Everywhere else, use tokens.
    ///
    /// # Panics
    ///
    /// When `name` cannot be a header's: it has to be in lower case.
    pub fn trusted_header(self, name: &'static str) -> Self {
        Self {
            agent: AgentSource::TrustedHeader(HeaderName::from_static(name)),
            ..self
        }
    }

    /// Reads the agent by a function, such as from what another layer has put into the extensions.
    /// A second call replaces it, as do [`agent`](Self::agent) and
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

    /// Sets optional fields of the request to the authority. A second call adds: it gets what the
    /// first one has set.
    pub fn options(
        self,
        set: impl Fn(&Parts, RequestOptions) -> RequestOptions + Send + Sync + 'static,
    ) -> Self {
        let options: Arc<OptionsOf> = match self.options {
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

    async fn ask(&self, request: &Parts) -> Result<Asked<A>, Refusal> {
        // Who asks comes first: a stranger is not told what is wrong with the rest.
        let agent = self.agent.read(request)?;
        let asked = Asked::new(agent, (self.action)(request)?)?;
        Ok(match &self.options {
            Some(set) => asked.options(|options| set(request, options)),
            None => asked,
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
                &self.name.as_deref().unwrap_or("as the request says"),
            )
            .finish_non_exhaustive()
    }
}
