//! All ways in axum around a handler that receives the request unchanged.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent_axum::{Access, ProtectLayer, ProtectedRouter, RequestTarget, get};
use atlasent_tests::cases::ACTION;
use axum::handler::Handler;
use axum::{Router, routing};

use crate::agents::ati;
use crate::serving::Serve;
use crate::ways::App;

/// The path of the handler, for `GET` and `POST`.
pub(crate) const PATH: &str = "/api/thing";

/// Serves a handler that runs with a permit for the action of the cases.
pub(crate) fn guarded<H, T>(app: &App, handler: H) -> Vec<(&'static str, Serve)>
where
    H: Handler<T, App>,
    T: 'static,
{
    let layers = || {
        let protect = ProtectLayer::new(Arc::clone(&app.scripted), RequestTarget::action(ACTION));
        let methods = routing::get(handler.clone()).post(handler.clone());
        let router = Router::new().route(PATH, methods).layer((ati(), protect));
        router.with_state(app.clone()).into_make_service()
    };
    let protected = |path: &str| {
        let methods = get(Access::action(ACTION), handler.clone());
        let methods = methods.post(Access::action(ACTION), handler.clone());
        let router = ProtectedRouter::new().route(path, methods);
        router.authenticate(ati()).with_state(app.clone())
    };
    let nested = Router::new().nest_service("/api", protected("/thing"));
    vec![
        ("layers", layers()),
        ("a router", protected(PATH).into_make_service()),
        (
            "a router as a service of an open one",
            nested.into_make_service(),
        ),
    ]
}

/// Does the same, and adds a public route.
pub(crate) fn all<H, T>(app: &App, handler: H) -> Vec<(&'static str, Serve)>
where
    H: Handler<T, App>,
    T: 'static,
{
    let public = get(Access::public(), handler.clone()).post(Access::public(), handler.clone());
    let router = ProtectedRouter::new().route(PATH, public);
    let mut apps = guarded(app, handler);
    apps.push((
        "a public route",
        router.with_state(app.clone()).into_make_service(),
    ));
    apps
}

/// Returns a state whose authority allows the action.
pub(crate) fn allowing() -> App {
    let app = App::new();
    app.scripted.follow(MockAuthority::new().allow(ACTION));
    app
}
