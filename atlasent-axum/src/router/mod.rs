//! A router in which every route declares its access, and undeclared requests are refused.
//!
//! In axum's own router, a layer covers only the routes that were added before it, so a wrong order
//! leaves a route open. This router is built only after all routes are declared: the order does not
//! matter, and the built router takes no more routes.

mod app;
mod handler;
mod methods;
mod signature;

use std::fmt;
use std::time::Duration;

use ati_client::RateStore;
use atlasent_tower::{AtiLayer, Authentication, Refusal, Respond, Route, RouteGuard, RouteTable};
use axum::Router;
use axum::extract::Request;

pub use app::ProtectedApp;
pub use methods::{
    ProtectedMethodRouter, RouteAccess, connect, delete, get, head, options, patch, post, put,
    trace,
};
pub use signature::{BySignature, ShowsPermit, by_signature};

use crate::HasAuthority;
use handler::Responder;
use methods::Method;

/// A router in which every route declares its action, or declares that it is public. Requests with
/// an undeclared method or an unmatched path are refused.
///
/// ```
/// # use ati_client::Verifier;
/// # use atlasent_axum::{Access, AtiLayer, ProtectedRouter, SharedAuthority, TakePermit, get};
/// # async fn read(TakePermit(_): TakePermit) {}
/// # async fn clean(TakePermit(_): TakePermit) {}
/// fn app(verifier: Verifier, authority: SharedAuthority) -> atlasent_axum::ProtectedApp {
///     let admin = ProtectedRouter::new()
///         .route("/caches", get(Access::action("show_caches"), read).delete(Access::action("drop_caches"), clean));
///     ProtectedRouter::new()
///         .route("/health", get(Access::public(), async || "ok"))
///         .nest("/admin", admin)
///         // For all routes that are not public, declared before or after this line.
///         .authenticate(AtiLayer::new(verifier))
///         .with_state(authority)
/// }
/// ```
///
/// The state must hold an authority ([`HasAuthority`]). [`table`](Self::table) shows what each
/// route requires: print it at start-up, and compare it in a test.
#[must_use]
pub struct ProtectedRouter<S = crate::SharedAuthority> {
    authentication: Option<Authentication>,
    responder: Responder,
    max_wait: Duration,
    routes: Vec<DeclaredRoute<S>>,
}

/// One method of one path.
struct DeclaredRoute<S> {
    path: String,
    /// The authentication of the nested or merged router that the route came from.
    authentication: Option<Authentication>,
    method: Method<S>,
}

// The bounds are on the methods and not on the `impl`, so that the compiler shows the message of
// `HasAuthority` for a state without an authority.
impl<S> ProtectedRouter<S> {
    /// Creates a router without routes, which refuses all requests.
    pub fn new() -> Self
    where
        S: HasAuthority,
    {
        Self {
            authentication: None,
            responder: Responder::default(),
            max_wait: Duration::ZERO,
            routes: Vec::new(),
        }
    }

    /// Sets the longest time for which a request waits for approvers, as
    /// [`ProtectLayer::max_wait`](crate::ProtectLayer::max_wait) does, for all routes that are not
    /// public and for the [`Authorized`](crate::Authorized) of their handlers. A second call
    /// replaces the maximum. That of a nested or merged router is not used.
    pub fn max_wait(mut self, at_most: Duration) -> Self {
        self.max_wait = at_most;
        self
    }

    /// Authenticates the callers of all routes that are not public, whether they are added before
    /// or after this call.
    ///
    /// A second call adds a layer: a request has to pass both. Routes that are [nested](Self::nest)
    /// or [merged](Self::merge) from a router with its own authentication keep that authentication
    /// instead.
    pub fn authenticate<R: RateStore>(mut self, layer: AtiLayer<R>) -> Self {
        self.authentication = Some(match self.authentication {
            Some(outer) => outer.and(layer),
            None => layer.into(),
        });
        self
    }

    /// Sets the responder that builds the responses of this router's refusals. The default is
    /// [`ProblemDetails`](crate::ProblemDetails). A second call replaces the responder.
    ///
    /// The responder also builds the response where a handler or an extractor of this crate returns
    /// [`Refused`](crate::Refused), and, by [`Respond::respond_to_rejection`], where the extractor
    /// inside an [`Authorized`](crate::Authorized) or an [`Extracted`](crate::Extracted) rejects
    /// the request. Other extractors of axum send their own response.
    pub fn respond_with(mut self, responder: impl Respond) -> Self {
        self.responder = Responder::new(responder);
        self
    }

    /// Adds a route: a path in axum's syntax, and its methods, each with its access. A path that is
    /// added twice has the methods of both calls.
    pub fn route(mut self, path: &str, methods: ProtectedMethodRouter<S>) -> Self {
        self.routes
            .extend(methods.into_iter().map(|method| DeclaredRoute {
                path: path.to_owned(),
                authentication: None,
                method,
            }));
        self
    }

    /// Adds the routes of another router below `prefix`. They keep that router's authentication, if
    /// it has one, and use this router's responder. Unlike in axum, handlers and targets see the
    /// whole path.
    pub fn nest(mut self, prefix: &str, router: Self) -> Self {
        let prefix = prefix.trim_end_matches('/');
        self.add_routes(router, |path| match path {
            "/" if !prefix.is_empty() => prefix.to_owned(),
            path => format!("{prefix}{path}"),
        });
        self
    }

    /// Adds the routes of another router, as [`nest`](Self::nest) does, without a prefix.
    pub fn merge(mut self, router: Self) -> Self {
        self.add_routes(router, str::to_owned);
        self
    }

    fn add_routes(&mut self, router: Self, path: impl Fn(&str) -> String) {
        let authentication = router.authentication;
        self.routes
            .extend(router.routes.into_iter().map(|route| DeclaredRoute {
                path: path(&route.path),
                authentication: route.authentication.or_else(|| authentication.clone()),
                method: route.method,
            }));
    }

    /// Returns a table of all routes and what they require, including each `HEAD` that the handler
    /// of `GET` answers. Requests that are not in the table are refused.
    #[must_use]
    pub fn table(&self) -> RouteTable {
        let heads = self.routes.iter().filter(|route| self.answers_head(route));
        let heads = heads.map(|route| Route::new("HEAD", &*route.path, &route.method.access));
        self.declared().chain(heads).collect()
    }

    /// Returns the routes as they were declared.
    pub(crate) fn declared(&self) -> impl Iterator<Item = Route> {
        let routes = self.routes.iter();
        routes
            .map(|DeclaredRoute { path, method, .. }| Route::new(method.name, path, &method.access))
    }

    /// Whether the route is a `GET` that also answers `HEAD`, because its path declares no `HEAD`.
    fn answers_head(&self, route: &DeclaredRoute<S>) -> bool {
        let mut others = self.routes.iter();
        route.method.name == "GET"
            && !others.any(|other| other.method.name == "HEAD" && other.path == route.path)
    }

    /// Builds the app that can be served.
    ///
    /// # Panics
    ///
    /// Panics, as axum does, if a path is malformed or two routes overlap.
    #[must_use]
    pub fn with_state(self, state: S) -> ProtectedApp
    where
        S: HasAuthority + Clone + Send + Sync + 'static,
    {
        let table = self.table();
        let responder = self.responder;
        let mut router = Router::new();
        for route in self.routes {
            let authentication = route.authentication.or_else(|| self.authentication.clone());
            let guard = RouteGuard::new(authentication.as_ref(), route.method.access);
            let guard = guard.max_wait(self.max_wait);
            let handler = (route.method.handler)(guard, responder.clone());
            router = router.route(&route.path, handler);
        }
        let not_found = responder.clone();
        let router = router
            .fallback(async move |request: Request| {
                not_found.refuse(&Refusal::NotFound, &request.into_parts().0)
            })
            .method_not_allowed_fallback(async move |request: Request| {
                responder.refuse(&Refusal::MethodNotAllowed, &request.into_parts().0)
            });
        ProtectedApp::new(router.with_state(state), table)
    }
}

impl<S: HasAuthority> Default for ProtectedRouter<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for ProtectedRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedRouter")
            .field("routes", &self.routes.len())
            .finish_non_exhaustive()
    }
}
