//! What a route requires of its callers, declared with the route.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ati_client::RateStore;
use atlasent::authority::DynAuthority;
use atlasent::permit::Execution;
use http::request::Parts;

use http::Response;

use crate::challenge::Protection;
use crate::protect::slot;
use crate::{AtiLayer, Refusal, RequestTarget, Target, admit, check_request_path, claims};

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
    kind: Kind,
    scopes: Vec<Arc<str>>,
}

#[derive(Clone)]
enum Kind {
    Public,
    Permit(Arc<dyn AnyTarget>),
    Handler(Arc<str>),
}

/// A target of any action.
trait AnyTarget: Send + Sync {
    fn admit<'a>(
        &'a self,
        authority: &'a dyn DynAuthority,
        request: &'a mut Parts,
    ) -> BoxFuture<'a, Execution>;

    fn action(&self) -> Option<&str>;
}

impl<T: Target> AnyTarget for T {
    fn admit<'a>(
        &'a self,
        authority: &'a dyn DynAuthority,
        request: &'a mut Parts,
    ) -> BoxFuture<'a, Execution> {
        Box::pin(admit(authority, self, request))
    }

    fn action(&self) -> Option<&str> {
        self.action_name()
    }
}

impl Access {
    /// Requires nothing: the authority is not asked, and no token is looked at. With a
    /// [`scope`](Self::scope), a token that grants it is required, and sufficient.
    pub fn public() -> Self {
        Self::new(Kind::Public)
    }

    /// Requires a permit for this action. Verified ATI claims name the agent.
    pub fn action(name: &'static str) -> Self {
        Self::target(RequestTarget::action(name))
    }

    /// Requires a permit for what `target` reads from the request.
    pub fn target(target: impl Target) -> Self {
        Self::new(Kind::Permit(Arc::new(target)))
    }

    /// Leaves the permit to the handler, which asks for it by `#[protect]`, because the action has
    /// values that stand in the body.
    ///
    /// The caller has to be known from an ATI token, and the table of routes shows `action`. That
    /// the handler does ask, nothing here can see: have it tested. (In axum, a handler that takes
    /// `Authorized` shows it in its signature.)
    pub fn in_handler(action: impl Into<Arc<str>>) -> Self {
        Self::new(Kind::Handler(action.into()))
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            scopes: Vec::new(),
        }
    }

    /// Requires an ATI scope, such as `tool:github:search`, before the authority is asked. A second
    /// call adds: all scopes are required, beside those of the [`AtiLayer`] that authenticates the
    /// route, and the call is counted for the token's rates for [each of them](AtiLayer#rates).
    pub fn scope(mut self, required: impl Into<Arc<str>>) -> Self {
        self.scopes.push(required.into());
        self
    }

    /// Whether anybody may call it. A public route that requires a scope is public no more.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self.kind, Kind::Public) && self.scopes.is_empty()
    }

    /// The name of the action, where it is the same for all requests.
    #[must_use]
    pub fn action_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Public => None,
            Kind::Permit(target) => target.action(),
            Kind::Handler(action) => Some(action),
        }
    }

    /// The scopes that are required, in the order in which they were added.
    pub fn required_scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Public => "public",
            Kind::Permit(_) => "permit",
            Kind::Handler(_) => "in the handler",
        };
        f.debug_struct("Access")
            .field("kind", &kind)
            .field("action", &self.action_name())
            .field("scopes", &self.scopes)
            .finish()
    }
}

/// How callers are authenticated: by an [`AtiLayer`], whatever counts its rates, or by several.
#[derive(Clone)]
pub struct Authentication {
    /// Those that a request has to pass before the last one.
    first: Vec<Arc<dyn AnyAti>>,
    last: Arc<dyn AnyAti>,
}

trait AnyAti: Send + Sync {
    fn admit<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, ()>;
    fn with_scopes(&self, required: &[Arc<str>]) -> Arc<dyn AnyAti>;
    fn protection(&self) -> &Protection;
}

impl<S: RateStore> AnyAti for AtiLayer<S> {
    fn admit<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, ()> {
        Box::pin(AtiLayer::admit(self, request))
    }

    fn with_scopes(&self, required: &[Arc<str>]) -> Arc<dyn AnyAti> {
        Arc::new(
            required
                .iter()
                .fold(self.clone(), |layer, scope| layer.scope(Arc::clone(scope))),
        )
    }

    fn protection(&self) -> &Protection {
        AtiLayer::protection(self)
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
    /// Adds a layer that a request has to pass as well. Its claims are those that are seen further
    /// in.
    #[must_use]
    pub fn and<S: RateStore>(mut self, layer: AtiLayer<S>) -> Self {
        self.first.push(self.last);
        Self {
            first: self.first,
            last: Arc::new(layer),
        }
    }

    /// Adds scopes to what the last layer requires, so that it counts the call once for all of
    /// them.
    fn with_scopes(&self, required: &[Arc<str>]) -> Self {
        match required {
            [] => self.clone(),
            _ => Self {
                first: self.first.clone(),
                last: self.last.with_scopes(required),
            },
        }
    }

    async fn admit(&self, request: &mut Parts) -> Result<(), Refusal> {
        for layer in &self.first {
            layer.admit(request).await?;
        }
        self.last.admit(request).await
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}

/// Authenticates and authorizes the requests of one route.
///
/// Routers are made of these; `atlasent_axum::ProtectedRouter` is.
#[derive(Clone, Debug)]
pub struct Guard {
    authentication: Option<Authentication>,
    access: Access,
}

impl Guard {
    /// The guard of a route with this access. A public one looks at no token. Without
    /// `authentication`, a layer outside has to authenticate the caller.
    ///
    /// Scopes that `access` requires without `authentication` to check them cannot be granted:
    /// every request is refused then.
    #[must_use]
    pub fn new(authentication: Option<&Authentication>, access: Access) -> Self {
        Self {
            authentication: authentication
                .map(|authentication| authentication.with_scopes(&access.scopes)),
            access,
        }
    }

    /// Whether the route requires nothing.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.access.is_public()
    }

    /// Does what has to happen before the route's handler is called. On the way the verified
    /// claims, and the permit in a [`PermitSlot`](crate::PermitSlot), are put into the request's
    /// extensions. Where the permit is obtained here, its execution has started, and is finished
    /// when the handler has answered.
    ///
    /// The path is [checked](check_request_path), of public routes too. The permits of outer layers
    /// are taken out of the request: they were granted for what those layers asked, and the handler
    /// gets one for what this route declares, or none.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] if the handler may not be called.
    pub async fn pass(
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
            Some(authentication) => authentication.admit(request).await?,
            None if !self.access.scopes.is_empty() => {
                return Err(Refusal::misconfigured(
                    "a scope is required, and nothing authenticates: give the router an `AtiLayer`",
                ));
            }
            None => {}
        }
        match &self.access.kind {
            Kind::Public => Ok(None),
            Kind::Handler(_) => claims(request).map(|_| None),
            Kind::Permit(target) => target.admit(authority, request).await.map(Some),
        }
    }

    /// Adds the [realm](AtiLayer::realm) and the [URL of the metadata](AtiLayer::resource_metadata)
    /// of this guard's layers to the challenge of a response, if it has one.
    #[must_use]
    pub fn complete_challenge<B>(&self, response: Response<B>) -> Response<B> {
        let Some(Authentication { first, last }) = &self.authentication else {
            return response;
        };
        let layers = first.iter().chain([last]).rev();
        layers.fold(response, |response, layer| {
            layer.protection().completed(response)
        })
    }
}
