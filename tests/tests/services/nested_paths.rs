//! Tests paths inside `axum::Router::nest`: every way in checks the whole path, and refuses nested
//! what it refuses in a flat router.

use std::sync::Arc;

use ati_client::Claims;
use atlasent_axum::{
    Access, Ati, Authorized, ProtectLayer, ProtectedRouter, RequestTarget, TakePermit, get,
};
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{PermitSlot, ProtectedMethods, check_path, obtain_permit};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_request};
use axum::response::Response;
use axum::{Extension, Router, routing};
use http::{StatusCode, Uri, header};
use proptest::prelude::*;
use proptest::sample::select;
use tower::ServiceExt;

use crate::agents::{agent, ati, good_token};
use crate::passing::allowing;
use crate::router::count;
use crate::ways::{App, Deploy};

/// A router to nest, with a handler for `/{cluster}`.
type Way = (&'static str, fn(App) -> Router);

fn ways() -> Vec<Way> {
    vec![
        ("AtiLayer", |app| handled().layer(ati()).with_state(app)),
        ("AtiLayer by route_layer", |app| {
            let router = Router::new().route("/{cluster}", routing::get(count));
            router.route_layer(ati()).with_state(app)
        }),
        ("ProtectLayer", |app| {
            let target = RequestTarget::action(ACTION).agent(AGENT);
            let protect = ProtectLayer::new(Arc::clone(&app.scripted), target);
            handled().layer(protect).with_state(app)
        }),
        ("both layers", |app| {
            let target = RequestTarget::action(ACTION);
            let protect = ProtectLayer::new(Arc::clone(&app.scripted), target);
            handled().layer((ati(), protect)).with_state(app)
        }),
        ("Ati", |app| {
            let who = async |Ati(_): Ati, State(app): State<App>| app.ran.hit();
            let router = Router::new().route("/{cluster}", routing::get(who));
            router.layer(known()).with_state(app)
        }),
        ("Option<Ati>", |app| {
            let who = async |_: Option<Ati>, State(app): State<App>| app.ran.hit();
            let router = Router::new().route("/{cluster}", routing::get(who));
            router.layer(known()).with_state(app)
        }),
        ("Authorized", |app| {
            let deploy = async |State(app): State<App>, permit: Authorized<Path<Deploy>>| {
                app.run(&permit.0);
            };
            let router = Router::new().route("/{cluster}", routing::get(deploy));
            router.layer(known()).with_state(app)
        }),
        ("TakePermit", |app| {
            let take = async |State(app): State<App>, TakePermit(permit): TakePermit| {
                app.run(&permit);
            };
            let router = Router::new().route("/{cluster}", routing::get(take));
            let slotted = from_fn_with_state(app.clone(), slotted);
            router.layer(slotted).with_state(app)
        }),
        ("ProtectedMethods", |app| {
            let target = RequestTarget::action(ACTION).agent(AGENT);
            let methods = ProtectedMethods::new(Arc::clone(&app.scripted))
                .method("prod-1", Access::target(target))
                .method("public", Access::public());
            handled().layer(methods).with_state(app)
        }),
        ("ProtectedRouter", |app| {
            Router::new().route_service("/{cluster}", protected(app))
        }),
    ]
}

fn handled() -> Router<App> {
    Router::new().route("/{cluster}", routing::get(count))
}

fn protected(app: App) -> atlasent_axum::ProtectedApp {
    let router = ProtectedRouter::new()
        .authenticate(ati())
        .route("/public", get(Access::public(), count))
        .route("/{cluster}", get(Access::action(ACTION), count));
    router.with_state(app)
}

/// Adds claims without a layer, so that only the extractor checks the path.
fn known() -> Extension<Claims> {
    Extension(agent().build().unwrap())
}

/// Adds a permit of another request, so that only the extractor checks the path.
async fn slotted(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let target = RequestTarget::action(ACTION).agent(AGENT);
    let (mut other, ()) = http::Request::get("/").body(()).unwrap().into_parts();
    drop(
        obtain_permit(&app.scripted, &target, &mut other)
            .await
            .unwrap(),
    );
    let slot = other.extensions.remove::<PermitSlot>().unwrap();
    request.extensions_mut().insert(slot);
    next.run(request).await
}

/// A way in which axum nests a router below `/{tenant}/deep`.
type Nesting = (&'static str, fn(Router) -> Router);

fn nestings() -> Vec<Nesting> {
    vec![
        ("nest", |inner| Router::new().nest("/{tenant}/deep", inner)),
        ("nest_service", |inner| {
            Router::new().nest_service("/{tenant}/deep", inner)
        }),
        ("nested twice", |inner| {
            Router::new().nest("/{tenant}", Router::new().nest("/deep", inner))
        }),
        ("nested in a merged router", |inner| {
            Router::new().merge(Router::new().nest("/{tenant}/deep", inner))
        }),
        ("nested in a fallback", |inner| {
            let nested = Router::new().nest("/{tenant}/deep", inner);
            Router::new().fallback_service(nested)
        }),
        ("nested in a router as a service", |inner| {
            let nested = Router::new().nest_service("/deep", inner);
            Router::new().nest_service("/{tenant}", nested)
        }),
    ]
}

async fn ask(app: Router, uri: &Uri) -> StatusCode {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.clone();
    let token = format!("Bearer {}", good_token()).parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, token);
    app.oneshot(request).await.unwrap().status()
}

/// Paths that axum routes below `/{tenant}/deep`, and that other components may read as another
/// path.
const TWISTED: [&str; 15] = [
    "/%61cme/deep/prod-1",
    "/../deep/prod-1",
    "/%2e%2e/deep/prod-1",
    "/%2E/deep/prod-1",
    "/..%2F..%2Fetc/deep/prod-1",
    "/a%2fb/deep/prod-1",
    "/a%5Cb/deep/prod-1",
    "/a%00/deep/prod-1",
    "/jos%c3%a9/deep/prod-1",
    "/a%/deep/prod-1",
    "/acme/deep/%2e%2e",
    "/acme/deep/..",
    "/acme/deep/prod%2D1",
    "/acme/deep/x%2Fy",
    "http://elsewhere.example/%61cme/deep/prod-1",
];

#[tokio::test]
async fn every_way_in_checks_the_whole_path_however_it_is_nested() {
    for (way, inner) in ways() {
        for (nesting, nest) in nestings() {
            let app = allowing();
            let router = nest(inner(app.clone()));
            for path in TWISTED {
                let case = format!("{way}, {nesting}, {path}");
                let status = ask(router.clone(), &path.parse().unwrap()).await;
                assert_eq!((status.as_u16(), app.ran.count()), (400, 0), "{case}");
            }
            let status = ask(router, &"/acme/deep/prod-1".parse().unwrap()).await;
            assert_eq!(
                (status.as_u16(), app.ran.count()),
                (200, 1),
                "{way}, {nesting}"
            );
        }
    }
}

#[tokio::test]
async fn a_public_route_goes_by_one_path_too() {
    for (nesting, nest) in nestings() {
        let app = allowing();
        let router = nest(Router::new().route_service("/{cluster}", protected(app.clone())));
        for path in [
            "/%61cme/deep/public",
            "/../deep/public",
            "/a%2Fb/deep/public",
        ] {
            let status = ask(router.clone(), &path.parse().unwrap()).await;
            assert_eq!(
                (status.as_u16(), app.ran.count()),
                (400, 0),
                "{nesting}, {path}"
            );
        }
        let status = ask(router, &"/acme/deep/public".parse().unwrap()).await;
        assert_eq!((status.as_u16(), app.ran.count()), (200, 1), "{nesting}");
    }
}

#[tokio::test]
async fn a_fallback_is_guarded_as_a_route_is() {
    let layered = |app: &App| {
        let protect = ProtectLayer::new(Arc::clone(&app.scripted), RequestTarget::action(ACTION));
        let router = Router::new().fallback(count).layer((ati(), protect));
        router.with_state(app.clone())
    };
    let app = allowing();
    // axum accepts no capture in the prefix of a router with its own fallback.
    let nested = Router::new().nest("/acme/deep", layered(&app));
    let outermost = Router::new().nest("/acme/deep", handled().with_state(app.clone()));
    let outermost = outermost.fallback_service(layered(&app));
    for (name, router, prefix) in [
        ("nested", nested, "/acme/deep"),
        ("outermost", outermost, "/other"),
        ("alone", layered(&app), ""),
    ] {
        let before = app.ran.count();
        for path in [
            "/..",
            "/%2e%2e/x",
            "/x%2Fy",
            "//x",
            "/x//y",
            "/%61",
            "/x/./y",
            "/a%00",
        ] {
            let path = format!("{prefix}{path}");
            let status = ask(router.clone(), &path.parse().unwrap()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{name}, {path}");
        }
        assert_eq!(app.ran.count(), before, "{name}");
        let path = format!("{prefix}/x/y");
        assert_eq!(
            ask(router, &path.parse().unwrap()).await,
            StatusCode::OK,
            "{name}"
        );
        assert_eq!(app.ran.count(), before + 1, "{name}");
    }
}

#[tokio::test]
async fn an_empty_segment_is_refused_before_the_prefix_is_stripped() {
    for (way, inner) in ways() {
        let app = allowing();
        // For a nested service, axum strips both slashes.
        let router = Router::new().nest_service("/{tenant}/deep", inner(app.clone()));
        for path in ["/acme/deep//prod-1", "/acme/deep//"] {
            let status = ask(router.clone(), &path.parse().unwrap()).await;
            assert_ne!(status, StatusCode::OK, "{way}, {path}");
        }
        assert_eq!(app.ran.count(), 0, "{way}");
    }
}

#[tokio::test]
async fn a_path_that_is_rewritten_after_it_was_checked_is_checked_again() {
    async fn rewrite(mut request: Request) -> Request {
        *request.uri_mut() = "/..%2Fetc".parse().unwrap();
        request
    }
    for (way, inner) in ways() {
        let app = allowing();
        let rewritten = inner(app.clone()).layer(map_request(rewrite));
        // The outer layer checks the path before it is rewritten.
        let router = Router::new().fallback_service(rewritten).layer(ati());
        let status = ask(router, &"/prod-1".parse().unwrap()).await;
        assert_eq!((status.as_u16(), app.ran.count()), (400, 0), "{way}");
    }
}

#[tokio::test]
async fn a_path_is_checked_by_the_innermost_way_though_an_outer_one_saw_another() {
    async fn rewrite(mut request: Request, next: Next) -> Response {
        let checked = request.uri().clone();
        *request.uri_mut() = "/%61cme/deep/prod-1".parse().unwrap();
        // The original URI that axum recorded for the first path does not vouch for the second.
        assert_ne!(&checked, request.uri());
        next.run(request).await
    }
    for (way, inner) in ways() {
        let app = allowing();
        let nested = Router::new().nest("/{tenant}/deep", inner(app.clone()));
        let service = tower::ServiceBuilder::new()
            .layer(ati())
            .layer(from_fn(rewrite))
            .service(nested);
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "/acme/deep/prod-1".parse().unwrap();
        let token = format!("Bearer {}", good_token()).parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, token);
        let status = service.oneshot(request).await.unwrap().status();
        assert_eq!((status.as_u16(), app.ran.count()), (400, 0), "{way}");
    }
}

/// Pieces of segments, and of attacks on them.
fn segment() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a", "Z", "7", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "%5C", "%", "%4", "%41",
        "%61", "%20", "%25", "%252e", "%C3%A9", "%c3%a9", "%00", "%0A", "%7E", ";", "=", "@", ":",
        "~", "+", "*", "/", "//", "prod-1",
    ]);
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_flat_router_refuses_is_refused_nested(tenant in segment(), rest in segment(), plain in any::<bool>()) {
        let rest = if plain { "prod-1".to_owned() } else { rest };
        let path = format!("/{tenant}/deep/{rest}");
        let Ok(uri) = path.parse::<Uri>() else {
            return Ok(());
        };
        let normal = check_path(uri.path()).is_ok();
        for (way, inner) in ways() {
            for (nesting, nest) in nestings() {
                let app = allowing();
                let status = futures_executor::block_on(ask(nest(inner(app.clone())), &uri));
                if !normal {
                    prop_assert_eq!(app.ran.count(), 0, "{}, {}, {}", way, nesting, path);
                    let status = status.as_u16();
                    prop_assert!(status == 400 || status == 404, "{way}, {nesting}, {path}: {status}");
                }
                prop_assert!(status != StatusCode::OK || app.ran.count() == 1, "{way}, {path}");
            }
        }
    }
}
