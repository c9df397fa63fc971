//! A router in which every route says what it asks for, and anything else is refused.
//!
//! axum's own router loses routes to the order in which it is built: a layer covers the routes that
//! are there when it is added, and no other. Nothing is built here before all is declared, so there
//! is no order to get wrong, and what comes out takes no more routes.

mod app;
mod handler;
mod methods;
mod signature;

use std::fmt;

use ati_client::RateStore;
use atlasent_tower::{AtiLayer, Authentication, Guard, Refusal, Respond, Route, RouteTable};
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

/// A router in which every route names its action, or says that it is public. An undeclared method
/// and an unmatched path are refused.
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
///         .route("/health", get(Access::public(), async || "well"))
///         .nest("/admin", admin)
///         // For all routes that are not public, before and after this line.
///         .authenticate(AtiLayer::new(verifier))
///         .with_state(authority)
/// }
/// ```
///
/// The state has an authority ([`HasAuthority`]). What is asked for is shown by
/// [`table`](Self::table): print it at start-up, and hold on to it in a test.
#[must_use]
pub struct ProtectedRouter<S = crate::SharedAuthority> {
    authentication: Option<Authentication>,
    responder: Responder,
    routes: Vec<Declared<S>>,
}

/// One method of one path.
struct Declared<S> {
    path: String,
    /// That of the router that it came from, if that had one.
    authentication: Option<Authentication>,
    method: Method<S>,
}

// The bound is on the methods, and not on the `impl`: only so does the compiler say what is wrong
// with a state.
impl<S> ProtectedRouter<S> {
    /// A router without any route, so that all requests are refused.
    pub fn new() -> Self
    where
        S: HasAuthority,
    {
        Self {
            authentication: None,
            responder: Responder::default(),
            routes: Vec::new(),
        }
    }

    /// Authenticates the callers of all routes that are not public, whenever they are added. A
    /// second call adds: a request has to pass both layers. Routes that come by
    /// [`nest`](Self::nest) or [`merge`](Self::merge) from a router with an authentication of its
    /// own keep that instead.
    pub fn authenticate<R: RateStore>(mut self, layer: AtiLayer<R>) -> Self {
        self.authentication = Some(match self.authentication {
            Some(outer) => outer.and(layer),
            None => layer.into(),
        });
        self
    }

    /// Answers the refusals of this router by another responder than
    /// [`ProblemDetails`](crate::ProblemDetails). A second call replaces it.
    ///
    /// The responder also answers where a handler or an extractor of this crate returns
    /// [`Refused`](crate::Refused), and, by [`Respond::respond_to_rejection`], where the extractor
    /// in an [`Authorized`](crate::Authorized) or an [`Extracted`](crate::Extracted) rejects the
    /// request. An extractor of axum that stands by itself sends its own response.
    pub fn respond_with(mut self, responder: impl Respond) -> Self {
        self.responder = Responder::new(responder);
        self
    }

    /// Adds a route: a path as axum has it, and its methods, each with what it requires. A path
    /// that is added twice has the methods of both.
    pub fn route(mut self, path: &str, methods: ProtectedMethodRouter<S>) -> Self {
        self.routes
            .extend(methods.into_iter().map(|method| Declared {
                path: path.to_owned(),
                authentication: None,
                method,
            }));
        self
    }

    /// Adds the routes of another router below `prefix`, with the authentication that it has, if it
    /// has one. Refusals are put to the caller as this router does it. Unlike in axum, handlers and
    /// targets see the whole path.
    pub fn nest(mut self, prefix: &str, router: Self) -> Self {
        let prefix = prefix.trim_end_matches('/');
        self.take_in(router, |path| match path {
            "/" if !prefix.is_empty() => prefix.to_owned(),
            path => format!("{prefix}{path}"),
        });
        self
    }

    /// Adds the routes of another router, as [`nest`](Self::nest) does.
    pub fn merge(mut self, router: Self) -> Self {
        self.take_in(router, str::to_owned);
        self
    }

    fn take_in(&mut self, router: Self, path: impl Fn(&str) -> String) {
        let authentication = router.authentication;
        self.routes
            .extend(router.routes.into_iter().map(|route| Declared {
                path: path(&route.path),
                authentication: route.authentication.or_else(|| authentication.clone()),
                method: route.method,
            }));
    }

    /// All routes and what they require. What is not in it is refused. `HEAD`, which axum answers
    /// by the handler of `GET`, is in it.
    #[must_use]
    pub fn table(&self) -> RouteTable {
        let heads = self.routes.iter().filter(|route| self.answers_head(route));
        let heads = heads.map(|route| Route::new("HEAD", &*route.path, &route.method.access));
        self.declared().chain(heads).collect()
    }

    /// The routes as they were declared.
    pub(crate) fn declared(&self) -> impl Iterator<Item = Route> {
        let routes = self.routes.iter();
        routes.map(|Declared { path, method, .. }| Route::new(method.name, path, &method.access))
    }

    /// Whether this is a `GET` that `HEAD` is answered by, because its path has no `HEAD` of its
    /// own.
    fn answers_head(&self, route: &Declared<S>) -> bool {
        let mut others = self.routes.iter();
        route.method.name == "GET"
            && !others.any(|other| other.method.name == "HEAD" && other.path == route.path)
    }

    /// Builds what can be served.
    ///
    /// # Panics
    ///
    /// As axum does: when a path is not well-formed, or two routes overlap.
    #[must_use]
    pub fn with_state(self, state: S) -> ProtectedApp
    where
        S: HasAuthority + Clone + Send + Sync + 'static,
    {
        let responder = self.responder;
        let mut router = Router::new();
        for route in self.routes {
            let authentication = route.authentication.or_else(|| self.authentication.clone());
            let guard = Guard::new(authentication.as_ref(), route.method.access);
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
        ProtectedApp::new(router.with_state(state))
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
