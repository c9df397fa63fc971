//! Extends request targets by what axum knows of a request, such as its route.

use std::net::SocketAddr;

use atlasent::{AnyAction, Context};
use atlasent_tower::{Refusal, RequestTarget, whole_path};
use axum::extract::{ConnectInfo, MatchedPath};
use http::request::Parts;

/// Extends a [`RequestTarget`] by the route, the whole path and the client address of a request.
///
/// ```
/// use atlasent_axum::{RequestTarget, TargetExt};
///
/// let target = RequestTarget::matched_path().connected_address().original_path();
/// ```
pub trait TargetExt {
    /// Creates a target whose action is named after the route: the method and the declared path,
    /// such as `GET /patients/{id}`.
    fn matched_path() -> Self;

    /// Adds the declared path of the route to the context, as `route`. A second call changes
    /// nothing.
    #[must_use]
    fn route(self) -> Self;

    /// Adds the whole path of the request to the context, as `path`, also inside `Router::nest`. It
    /// replaces the path that [`RequestTarget::path`] adds.
    #[must_use]
    fn original_path(self) -> Self;

    /// Adds the address of the connected client to the context, as `client_address`. Serve the
    /// router by `into_make_service_with_connect_info::<SocketAddr>()`. A second call changes
    /// nothing.
    #[must_use]
    fn connected_address(self) -> Self;
}

impl TargetExt for RequestTarget {
    fn matched_path() -> Self {
        Self::action_from(|request| {
            let name = format!("{} {}", request.method, route(request)?);
            Ok(AnyAction::new(name)?)
        })
    }

    fn route(self) -> Self {
        self.context(|request| with_field("route", route(request)?))
    }

    fn original_path(self) -> Self {
        self.context(|request| with_field("path", whole_path(request)))
    }

    fn connected_address(self) -> Self {
        self.client_address(|request| {
            let info = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(info.0)
        })
    }
}

fn with_field(key: &str, value: &str) -> Result<Context, Refusal> {
    let mut context = Context::new();
    context.insert(key, value)?;
    Ok(context)
}

fn route(request: &Parts) -> Result<&str, Refusal> {
    let matched = request.extensions.get::<MatchedPath>();
    matched.map(MatchedPath::as_str).ok_or_else(|| {
        Refusal::misconfigured(
            "the request matched no route: add the layer to the router that declares the route, after the route, and not to a fallback",
        )
    })
}
