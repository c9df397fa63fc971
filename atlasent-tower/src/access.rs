//! Declares what a route requires of its callers, and enforces it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ati_client::RateStore;
use atlasent::authority::DynAuthority;
use atlasent::permit::Execution;
use http::Response;
use http::request::Parts;

use crate::challenge::ChallengeParameters;
use crate::prefer::AppliedWait;
use crate::protect::slot;
use crate::{AtiLayer, Refusal, RequestTarget, Target, check_request_path, claims, obtain_permit};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// What a route requires of its callers: nothing, or a permit for an action, and any number of ATI
/// scopes.
///
/// ```
/// use atlasent_tower::{Access, RequestTarget};
///
/// let health = Access::public();
/// let read = Access::action("read_patient_record").scope("tool:ehr:read");
/// let deploy = Access::target(RequestTarget::action("deploy").path());
/// ```
#[derive(Clone)]
#[must_use]
pub struct Access {
    requirement: Requirement,
    scopes: Vec<Arc<str>>,
}

/// What a route requires besides scopes.
#[derive(Clone)]
enum Requirement {
    Public,
    Permit(Arc<dyn DynTarget>),
    /// The handler obtains a permit for this action.
    Handler(Arc<str>),
}

/// A [`Target`] whose type of action is erased.
trait DynTarget: Send + Sync {
    fn obtain_permit<'a>(
        &'a self,
        authority: &'a dyn DynAuthority,
        request: &'a mut Parts,
    ) -> BoxFuture<'a, Execution>;

    fn action(&self) -> Option<&str>;
}

impl<T: Target> DynTarget for T {
    fn obtain_permit<'a>(
        &'a self,
        authority: &'a dyn DynAuthority,
        request: &'a mut Parts,
    ) -> BoxFuture<'a, Execution> {
        Box::pin(obtain_permit(authority, self, request))
    }

    fn action(&self) -> Option<&str> {
        self.action_name()
    }
}

impl Access {
    /// Requires nothing: the authority is not asked and no token is read. With a
    /// [`scope`](Self::scope), a token that grants the scope is required, and is enough.
    pub fn public() -> Self {
        Self::new(Requirement::Public)
    }

    /// Requires a permit for this action. The agent is the subject of the verified ATI claims.
    pub fn action(name: &'static str) -> Self {
        Self::target(RequestTarget::action(name))
    }

    /// Requires a permit for the action that `target` reads from the request.
    pub fn target(target: impl Target) -> Self {
        Self::new(Requirement::Permit(Arc::new(target)))
    }

    /// Requires that the handler itself obtains a permit, by `#[protect]`, because the action has
    /// values from the body.
    ///
    /// The caller needs an ATI token, and the table of routes shows `action`. Nothing here checks
    /// that the handler obtains the permit: test the handler. (In axum, a handler that takes
    /// `Authorized` shows it in its signature.)
    pub fn in_handler(action: impl Into<Arc<str>>) -> Self {
        Self::new(Requirement::Handler(action.into()))
    }

    fn new(requirement: Requirement) -> Self {
        Self {
            requirement,
            scopes: Vec::new(),
        }
    }

    /// Requires an ATI scope, such as `tool:github:search`, which is checked before the authority
    /// is asked. A second call adds a scope: all of them are required, together with those of the
    /// [`AtiLayer`] that authenticates the route. The call is counted for the rates of [each
    /// scope](AtiLayer#rates).
    pub fn scope(mut self, required: impl Into<Arc<str>>) -> Self {
        self.scopes.push(required.into());
        self
    }

    /// Whether the route requires nothing. A public route with a required scope is not public.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self.requirement, Requirement::Public) && self.scopes.is_empty()
    }

    /// Returns the name of the action, if it is the same for all requests.
    #[must_use]
    pub fn action_name(&self) -> Option<&str> {
        match &self.requirement {
            Requirement::Public => None,
            Requirement::Permit(target) => target.action(),
            Requirement::Handler(action) => Some(action),
        }
    }

    /// Returns the required scopes, in the order in which they were added.
    pub fn required_scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requirement = match &self.requirement {
            Requirement::Public => "public",
            Requirement::Permit(_) => "permit",
            Requirement::Handler(_) => "in the handler",
        };
        f.debug_struct("Access")
            .field("requirement", &requirement)
            .field("action", &self.action_name())
            .field("scopes", &self.scopes)
            .finish()
    }
}

/// How callers are authenticated: by one or more [`AtiLayer`]s, with any rate stores.
#[derive(Clone)]
pub struct Authentication {
    /// The layers that a request has to pass before the last one.
    first: Vec<Arc<dyn DynAtiLayer>>,
    last: Arc<dyn DynAtiLayer>,
}

/// An [`AtiLayer`] whose type of rate store is erased.
trait DynAtiLayer: Send + Sync {
    fn authenticate<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, ()>;
    fn with_scopes(&self, required: &[Arc<str>]) -> Arc<dyn DynAtiLayer>;
    fn challenge_parameters(&self) -> &ChallengeParameters;
}

impl<S: RateStore> DynAtiLayer for AtiLayer<S> {
    fn authenticate<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, ()> {
        Box::pin(AtiLayer::authenticate(self, request))
    }

    fn with_scopes(&self, required: &[Arc<str>]) -> Arc<dyn DynAtiLayer> {
        Arc::new(
            required
                .iter()
                .fold(self.clone(), |layer, scope| layer.scope(Arc::clone(scope))),
        )
    }

    fn challenge_parameters(&self) -> &ChallengeParameters {
        AtiLayer::challenge_parameters(self)
    }
}

impl<S: RateStore> From<AtiLayer<S>> for Authentication {
    fn from(layer: AtiLayer<S>) -> Self {
        Self {
            first: Vec::new(),
            last: Arc::new(layer),
        }
    }
}

impl Authentication {
    /// Adds a layer that a request also has to pass. Inner services see the claims of the layer
    /// that was added last.
    #[must_use]
    pub fn and<S: RateStore>(mut self, layer: AtiLayer<S>) -> Self {
        self.first.push(self.last);
        Self {
            first: self.first,
            last: Arc::new(layer),
        }
    }

    /// Adds required scopes to the last layer, so that it counts the call once for all of them.
    fn with_scopes(&self, required: &[Arc<str>]) -> Self {
        match required {
            [] => self.clone(),
            _ => Self {
                first: self.first.clone(),
                last: self.last.with_scopes(required),
            },
        }
    }

    async fn authenticate(&self, request: &mut Parts) -> Result<(), Refusal> {
        for layer in &self.first {
            layer.authenticate(request).await?;
        }
        self.last.authenticate(request).await
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}

/// Authenticates and authorizes the requests of one route.
///
/// `atlasent_axum::ProtectedRouter` has one for each route; use it to build routers for other
/// frameworks.
#[derive(Clone, Debug)]
pub struct RouteGuard {
    authentication: Option<Authentication>,
    access: Access,
    max_wait: Duration,
}

impl RouteGuard {
    /// Creates the guard of a route with this access. The guard of a public route reads no token.
    /// Without `authentication`, an outer layer has to authenticate the caller.
    ///
    /// Required scopes without `authentication` are a misconfiguration: every request gets 500.
    #[must_use]
    pub fn new(authentication: Option<&Authentication>, access: Access) -> Self {
        Self {
            authentication: authentication
                .map(|authentication| authentication.with_scopes(&access.scopes)),
            access,
            max_wait: Duration::ZERO,
        }
    }

    /// Sets the longest time for which a request waits for approvers, as
    /// [`ProtectLayer::max_wait`](crate::ProtectLayer::max_wait) does, also for the permits that
    /// extractors of the handler obtain. A second call replaces the maximum.
    #[must_use]
    pub fn max_wait(mut self, at_most: Duration) -> Self {
        self.max_wait = at_most;
        self
    }

    /// Whether the route requires nothing.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.access.is_public()
    }

    /// Checks a request before the handler of the route is called. Puts the verified claims, and
    /// the permit in a [`PermitSlot`](crate::PermitSlot), into the extensions of the request.
    /// Returns the execution of the permit, which has started; finish it when the handler has
    /// answered. Returns `None` for a route whose permit is not obtained here.
    ///
    /// The path is [checked](check_request_path), also that of public routes. Permits of outer
    /// layers are removed from the request, since they were granted for other targets: the handler
    /// sees only the permit for the action that this route declares.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] if the handler must not be called.
    pub async fn authorize(
        &self,
        authority: &dyn DynAuthority,
        request: &mut Parts,
    ) -> Result<Option<Execution>, Refusal> {
        slot::remove_all(&mut request.extensions);
        check_request_path(request)?;
        if self.is_public() {
            return Ok(None);
        }
        match &self.authentication {
            Some(authentication) => authentication.authenticate(request).await?,
            None if !self.access.scopes.is_empty() => {
                return Err(Refusal::misconfigured(
                    "the route requires a scope and has no authentication: give the router an `AtiLayer`",
                ));
            }
            None => {}
        }
        AppliedWait::start(request, self.max_wait);
        match &self.access.requirement {
            Requirement::Public => Ok(None),
            Requirement::Handler(_) => claims(request).map(|_| None),
            Requirement::Permit(target) => target.obtain_permit(authority, request).await.map(Some),
        }
    }

    /// Adds the [realm](AtiLayer::realm) and the [URL of the metadata](AtiLayer::resource_metadata)
    /// of the layers of this guard to the challenge of a response, if it has one.
    #[must_use]
    pub fn complete_challenge<B>(&self, response: Response<B>) -> Response<B> {
        let Some(Authentication { first, last }) = &self.authentication else {
            return response;
        };
        let layers = first.iter().chain([last]).rev();
        layers.fold(response, |response, layer| {
            layer.challenge_parameters().complete(response)
        })
    }
}
