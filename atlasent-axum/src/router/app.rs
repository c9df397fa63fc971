//! A built router, which is served and takes no more routes.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use atlasent_tower::RouteTable;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::response::{IntoResponse, Response};
use axum::routing::IntoMakeService;
use axum::routing::future::RouteFuture;
use tower_layer::Layer;
use tower_service::Service;

/// A built [`ProtectedRouter`](crate::ProtectedRouter), to serve or to nest into another router as
/// a service.
///
/// It takes no more routes, so no unprotected route can be added to it.
#[derive(Clone)]
pub struct ProtectedApp {
    router: Router,
    table: Arc<RouteTable>,
}

impl ProtectedApp {
    pub(super) fn new(router: Router, table: RouteTable) -> Self {
        let table = Arc::new(table);
        Self { router, table }
    }

    /// Returns the [table](crate::ProtectedRouter::table) of all routes and what they require.
    #[must_use]
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// Adds a layer around all routes and refusals, for example for traces or limits. A second call
    /// adds a layer around the first.
    ///
    /// Add a CORS layer here. It answers the preflight requests of browsers, which have no token
    /// and which the router would refuse as undeclared `OPTIONS`.
    #[must_use]
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<axum::routing::Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        Self {
            router: self.router.layer(layer),
            table: self.table,
        }
    }

    /// Converts the app for `axum::serve`.
    #[must_use]
    pub fn into_make_service(self) -> IntoMakeService<Router> {
        self.router.into_make_service()
    }

    /// Converts the app for `axum::serve`, with `C`, such as a `SocketAddr`, as the information
    /// about each connection.
    #[must_use]
    pub fn into_make_service_with_connect_info<C>(
        self,
    ) -> IntoMakeServiceWithConnectInfo<Router, C> {
        self.router.into_make_service_with_connect_info()
    }
}

impl<B> Service<http::Request<B>> for ProtectedApp
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.router.call(request.map(Body::new))
    }
}

impl fmt::Debug for ProtectedApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedApp").finish_non_exhaustive()
    }
}
