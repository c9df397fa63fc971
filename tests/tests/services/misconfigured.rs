//! Tests misconfigured services: each request gets 500 without details, never 401, and no handler
//! runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use atlasent::testing::Call;
use atlasent_axum::{
    Access, Ati, Authorized, ProtectLayer, ProtectedRouter, RequestTarget, TakePermit, TargetExt,
    get,
};
use atlasent_tests::cases::ACTION;
use axum::extract::{Path, State};
use axum::handler::Handler;
use axum::{Router, routing};
use http::Method;
use tokio::net::TcpListener;

use crate::agents::{SCOPE, ati, good_token};
use crate::asking::{asking, client, send};
use crate::door::Door;
use crate::passing::allowing;
use crate::router::count;
use crate::ways::{App, Deploy};

/// Asserts that requests with valid tokens get 500, and a detail that does not blame the caller.
async fn refuses_all(app: &App, router: Router) {
    let door = Door::new(app, router.into_make_service()).await;
    let answer = door
        .refuses(500, "GET", "/prod-1", Some(good_token()))
        .await;
    let problem = answer.problem(500, "");
    assert_eq!(problem.as_object().unwrap().len(), 3, "{problem}");
    let detail = "the service cannot authorize requests";
    assert_eq!(problem["detail"], detail);
}

fn routed<H: Handler<T, App>, T: 'static>(handler: H) -> Router<App> {
    Router::new().route("/{cluster}", routing::get(handler))
}

fn protect(app: &App) -> ProtectLayer<Arc<crate::scripted::Scripted>, RequestTarget> {
    ProtectLayer::new(Arc::clone(&app.scripted), RequestTarget::action(ACTION))
}

async fn by_path(State(app): State<App>, Authorized(permit): Authorized<Path<Deploy>>) {
    app.run(&permit);
}

async fn take(State(app): State<App>, TakePermit(permit): TakePermit) {
    app.run(&permit);
}

#[tokio::test]
async fn without_authentication_nothing_runs() {
    let app = allowing();
    refuses_all(
        &app,
        routed(take).layer(protect(&app)).with_state(app.clone()),
    )
    .await;
    refuses_all(&app, routed(by_path).with_state(app.clone())).await;
    let who = async |State(app): State<App>, Ati(_): Ati| app.ran.hit();
    refuses_all(&app, routed(who).with_state(app.clone())).await;
    // The authenticating layer is inside the layer that needs the agent.
    let inside_out = routed(take).layer((protect(&app), ati()));
    refuses_all(&app, inside_out.with_state(app.clone())).await;

    let accesses = [
        Access::action(ACTION),
        Access::action(ACTION).scope(SCOPE),
        Access::in_handler(ACTION).scope(SCOPE),
    ];
    for access in accesses {
        let router = ProtectedRouter::new().route("/{cluster}", get(access, count));
        let router = Router::new().fallback_service(router.with_state(app.clone()));
        refuses_all(&app, router).await;
    }
    assert_eq!(app.scripted.calls(), []);
}

#[tokio::test]
async fn a_handler_that_takes_a_permit_that_was_not_obtained_does_not_run() {
    let app = allowing();
    refuses_all(&app, routed(take).layer(ati()).with_state(app.clone())).await;

    // A permit for another type of action.
    let typed = async |State(app): State<App>, TakePermit(permit): TakePermit<Deploy>| {
        app.run(&permit);
    };
    let layered = routed(typed).layer((ati(), protect(&app)));
    refuses_all(&app, layered.with_state(app.clone())).await;

    // Two extractors of one permit.
    let twice = async |State(app): State<App>, _: TakePermit, _: TakePermit| app.ran.hit();
    let layered = routed(twice).layer((ati(), protect(&app)));
    refuses_all(&app, layered.with_state(app.clone())).await;

    // A route whose handler obtains the permit.
    let router = ProtectedRouter::new().authenticate(ati());
    let router = router.route("/{cluster}", get(Access::in_handler(ACTION), take));
    refuses_all(
        &app,
        Router::new().fallback_service(router.with_state(app.clone())),
    )
    .await;
}

#[tokio::test]
async fn an_action_without_a_name_is_a_misconfiguration() {
    let app = allowing();
    for name in [String::new(), "x".repeat(257)] {
        let access = Access::target(RequestTarget::action(name));
        let router = ProtectedRouter::new().authenticate(ati());
        let router = router
            .route("/{cluster}", get(access, count))
            .with_state(app.clone());
        refuses_all(&app, Router::new().fallback_service(router)).await;
    }
}

/// A target that needs the address of the client, which only some services know.
fn addressed(app: &App) -> atlasent_axum::ProtectedApp {
    let target = RequestTarget::action(ACTION).connected_address();
    let router = ProtectedRouter::new().authenticate(ati());
    let router = router.route("/{cluster}", get(Access::target(target), count));
    router.with_state(app.clone())
}

#[tokio::test]
async fn an_address_that_is_not_known_is_not_made_up() {
    let app = allowing();
    refuses_all(&app, Router::new().fallback_service(addressed(&app))).await;
    assert_eq!(app.scripted.calls(), []);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = addressed(&app).into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async { axum::serve(listener, service).await });
    let mut request = asking(Method::GET, "/prod-1", Some(good_token()));
    let elsewhere = "203.0.113.7".parse().unwrap();
    request.headers_mut().insert("x-forwarded-for", elsewhere);
    let answer = send(&client(http::Version::HTTP_11), address, request)
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), app.ran.count()), (200, 1));
    let Call::Evaluate(asked) = app.scripted.calls().remove(0) else {
        panic!("it was verified first");
    };
    assert_eq!(asked.context.as_object()["client_address"], "127.0.0.1");
    serving.abort();
}
