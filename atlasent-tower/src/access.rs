//! What a route asks of those who call it, said where the route is declared.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ati_client::RateStore;
use atlasent::{DynAuthority, Execution};
use http::request::Parts;

use crate::{AtiLayer, Refusal, RequestTarget, Target, admit, check_path, claims};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// What a route asks of those who call it: nothing, or a permit for an action.
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
    scope: Option<Arc<str>>,
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
    /// Anybody may call it. Nobody is asked, and no token is looked at, unless a [`scope`](Self::scope) is required: then a token that grants
    /// it is enough.
    pub fn public() -> Self {
        Self::of(Kind::Public)
    }

    /// It is called with a permit for this action. The agent is the one whom verified ATI claims name.
    pub fn action(name: &'static str) -> Self {
        Self::target(RequestTarget::action(name))
    }

    /// It is called with a permit for what `target` reads from the request.
    pub fn target(target: impl Target) -> Self {
        Self::of(Kind::Permit(Arc::new(target)))
    }

    /// The handler asks for the permit itself, by `#[protect]`, because the action has values that stand in the body.
    ///
    /// Who calls has to be known from an ATI token, and the table of routes shows `action`. That the handler does ask, nothing here can see: have it
    /// tested. (In axum, a handler that takes `Authorized` shows it in its signature.)
    pub fn in_handler(action: impl Into<Arc<str>>) -> Self {
        Self::of(Kind::Handler(action.into()))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, scope: None }
    }

    /// Also requires an ATI scope, such as `tool:github:search`, before anybody is asked, and counts the call against the token's
    /// rates for it.
    pub fn scope(self, required: impl Into<Arc<str>>) -> Self {
        Self {
            scope: Some(required.into()),
            ..self
        }
    }

    /// Whether anybody may call it. A public route that requires a scope is public no more.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self.kind, Kind::Public) && self.scope.is_none()
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

    /// The scope, if one is required.
    #[must_use]
    pub fn required_scope(&self) -> Option<&str> {
        self.scope.as_deref()
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
            .field("scope", &self.required_scope())
            .finish()
    }
}

/// How callers are known: an [`AtiLayer`], whatever counts its rates.
#[derive(Clone)]
pub struct Authentication(Arc<dyn AnyAti>);

trait AnyAti: Send + Sync {
    fn admit<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, ()>;
    fn with_scope(&self, required: Arc<str>) -> Authentication;
}

impl<S: RateStore> AnyAti for AtiLayer<S> {
    fn admit<'a>(&'a self, request: &'a mut Parts) -> BoxFuture<'a, ()> {
        Box::pin(AtiLayer::admit(self, request))
    }

    fn with_scope(&self, required: Arc<str>) -> Authentication {
        self.clone().scope(required).into()
    }
}

impl<S: RateStore> From<AtiLayer<S>> for Authentication {
    fn from(layer: AtiLayer<S>) -> Self {
        Self(Arc::new(layer))
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}

/// What stands before one route: who calls is found out, and then whether that agent may.
///
/// Routers are made of these; `atlasent_axum::ProtectedRouter` is.
#[derive(Clone, Debug)]
pub struct Guard {
    authentication: Option<Authentication>,
    access: Access,
}

impl Guard {
    /// The guard of a route with this access. A public one looks at no token. Without `authentication`, a layer outside has to
    /// have found out who calls.
    ///
    /// A scope that `access` requires without `authentication` to check it cannot be granted: every request is refused then.
    #[must_use]
    pub fn new(authentication: Option<&Authentication>, access: Access) -> Self {
        let authentication = authentication.map(|authentication| match &access.scope {
            Some(scope) => authentication.0.with_scope(Arc::clone(scope)),
            None => authentication.clone(),
        });
        Self {
            authentication,
            access,
        }
    }

    /// Whether anybody may call the route.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.access.is_public()
    }

    /// What has to happen before the route's handler is called. On the way the verified claims, and the permit in a
    /// [`PermitSlot`](crate::PermitSlot), are put into the request's extensions. Where the permit is obtained here, its execution has
    /// started, and is finished when the handler has answered.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] if the handler may not be called.
    pub async fn pass(
        &self,
        authority: &dyn DynAuthority,
        request: &mut Parts,
    ) -> Result<Option<Execution>, Refusal> {
        if self.is_public() {
            return Ok(None);
        }
        check_path(request.uri.path())?;
        match &self.authentication {
            Some(authentication) => authentication.0.admit(request).await?,
            None if self.access.scope.is_some() => {
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
}
