//! Tests `ProtectedRouter`: declared routes require what they declare, and undeclared requests are
//! refused.

use std::sync::Arc;

use ati_client::{Claims, RateSpec, RateUnit};
use atlasent::testing::{Call, MockAuthority};
use atlasent_axum::{
    Access, ProtectLayer, ProtectedRouter, RequestTarget, TakePermit, by_signature, get, head, post,
};
use atlasent_tests::cases::{ACTION, AGENT};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, AUTHORIZATION, ORIGIN,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Request};
use tower::ServiceExt;
use tower_http::cors::CorsLayer;

use crate::agents::{SCOPE, ati, bad_tokens, good_token, token};
use crate::door::Door;
use crate::passing::allowing;
use crate::ways::{App, Deploy, from_query};

pub(crate) async fn count(State(app): State<App>) -> &'static str {
    app.ran.hit();
    "ran"
}

fn action() -> Access {
    Access::action(ACTION)
}

fn router() -> ProtectedRouter<App> {
    ProtectedRouter::new().authenticate(ati())
}

#[tokio::test]
async fn an_undeclared_method_is_refused_and_told_the_declared_ones() {
    let app = allowing();
    let door = router()
        .route("/a", get(action(), count).put(action(), count))
        // Two declarations of a path are one route.
        .route("/b", post(action(), count))
        .route("/b", get(Access::public(), count));
    let door = Door::with_router(&app, door).await;
    for (path, declared) in [
        ("/a", ["GET", "HEAD", "PUT"]),
        ("/b", ["GET", "HEAD", "POST"]),
    ] {
        for method in ["DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"] {
            for token in [None, Some(good_token())] {
                let answer = door.refuses(405, method, path, token).await;
                let allow = answer.header(ALLOW).unwrap();
                let mut allowed: Vec<_> = allow.split(',').map(str::trim).collect();
                allowed.sort_unstable();
                assert_eq!(allowed, declared, "{method} {path}");
            }
        }
    }
    assert_eq!(app.scripted.calls(), []);
}

#[tokio::test]
async fn a_path_that_nobody_declared_is_not_there() {
    let app = allowing();
    let door = router()
        .route("/a", get(action(), count))
        .route("/a/{id}/b", get(Access::public(), count));
    let door = Door::with_router(&app, door).await;
    for path in [
        "/", "/b", "/a/", "/a/7", "/a/7/b/", "/A", "/a/7/b/c", "//a", "/./a", "/x/../a",
    ] {
        for token in [None, Some(good_token())] {
            let answer = door.refuses(404, "GET", path, token).await;
            assert_eq!(answer.header(ALLOW), None, "{path}");
        }
    }
    assert_eq!(app.scripted.calls(), []);

    let nothing = Door::with_router(&app, ProtectedRouter::new()).await;
    nothing.refuses(404, "GET", "/", Some(good_token())).await;
}

#[tokio::test]
async fn every_method_is_guarded() {
    let app = App::new();
    let door = router().route(
        "/a",
        get(action(), count)
            .delete(action(), count)
            .head(action(), count)
            .options(action(), count)
            .patch(action(), count)
            .post(action(), count)
            .put(action(), count)
            .trace(action(), count),
    );
    let door = Door::with_router(&app, door).await;
    let methods = [
        "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ];
    for method in methods {
        door.refuses(401, method, "/a", None).await;
        door.refuses(403, method, "/a", Some(good_token())).await;
    }
    app.scripted.follow(MockAuthority::new().allow(ACTION));
    for method in methods {
        door.opens(method, "/a", Some(good_token())).await;
    }
}

#[tokio::test]
async fn a_public_route_needs_no_token_and_asks_nobody() {
    let app = App::new();
    let door = router()
        .route("/a", get(Access::public(), count).post(action(), count))
        .route("/b/{id}", get(Access::public(), count));
    let door = Door::with_router(&app, door).await;
    let bad = bad_tokens();
    let bad = bad.iter().map(|(_, token)| Some(&**token));
    for token in bad.chain([None, Some(good_token())]) {
        door.opens("GET", "/a", token).await;
        door.opens("HEAD", "/a", token).await;
        door.opens("GET", "/b/7", token).await;
    }
    assert_eq!(app.scripted.calls(), []);
    // The declaration is for one method, not for the path.
    door.refuses(401, "POST", "/a", None).await;
}

#[tokio::test]
async fn a_head_of_its_own_has_an_access_of_its_own() {
    let app = App::new();
    let door = router()
        .route("/a", get(action(), count).head(Access::public(), count))
        .route("/b", head(action(), count).get(Access::public(), count));
    let door = Door::with_router(&app, door).await;
    door.opens("HEAD", "/a", None).await;
    door.refuses(401, "GET", "/a", None).await;
    door.opens("GET", "/b", None).await;
    door.refuses(401, "HEAD", "/b", None).await;
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_refused() {
    let app = allowing();
    let door = router()
        .route("/patients/{id}", get(action(), count))
        .route("/files/{*rest}", get(action(), count));
    let door = Door::with_router(&app, door).await;
    for path in [
        "/patients/..",
        "/patients/.",
        "/patients/%37",
        "/patients/%2e%2e",
        "/patients/%2E",
        "/patients/7%2Fnotes",
        "/patients/7%5Cnotes",
        "/patients/7%00",
        "/patients/jos%c3%a9",
        "/patients/%",
        "/patients/%4",
        "/files/../admin",
        "/files/a/../../admin",
        "/files/a/./b",
        "/files/a//b",
        "/files//a",
        "/files/%2e%2e/admin",
        "/files/a/%2E%2E/admin",
        "/files/a/..",
        "/files/%66",
        "/files/a%0D%0Ab",
    ] {
        let answer = door.refuses(400, "GET", path, Some(good_token())).await;
        let problem = answer.problem(400, path);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("normal form"), "{path}: {detail}");
    }
    assert_eq!(app.scripted.calls(), []);
}

#[tokio::test]
async fn a_wildcard_is_guarded_for_all_that_it_matches() {
    async fn rest(State(app): State<App>, Path(rest): Path<String>) -> String {
        app.ran.hit();
        rest
    }
    let app = allowing();
    let target = RequestTarget::action(ACTION).path();
    let door = router().route("/files/{*rest}", get(Access::target(target), rest));
    let door = Door::with_router(&app, door).await;
    for path in ["/files/a", "/files/a/b/c", "/files/a/", "/files/a%20b/..c"] {
        door.refuses(401, "GET", path, None).await;
        door.opens("GET", path, Some(good_token())).await;
        // The decision was about the requested path.
        let calls = app.scripted.calls();
        let asked = calls.iter().rev().find_map(|call| match call {
            Call::Evaluate(request) => request.context.as_object().get("path").cloned(),
            _ => None,
        });
        assert_eq!(asked.unwrap(), path);
    }
    for path in ["/files", "/files/"] {
        door.refuses(404, "GET", path, Some(good_token())).await;
    }
}

async fn take(State(app): State<App>, TakePermit(permit): TakePermit) {
    app.run(&permit);
}

#[tokio::test]
async fn a_permit_of_an_outer_layer_is_not_to_be_had_inside_of_a_router() {
    async fn take_typed(State(app): State<App>, TakePermit(permit): TakePermit<Deploy>) {
        app.run(&permit);
    }
    let app = App::new();
    app.scripted
        .follow(MockAuthority::new().allow(ACTION).allow("outer"));
    let typed = RequestTarget::action_from(|_| Ok(Deploy::new("prod-1")));
    let router = router()
        .route("/public", get(Access::public(), take))
        .route("/in-handler", get(Access::in_handler(ACTION), take))
        .route("/scope", get(Access::public().scope(SCOPE), take))
        .route("/typed", get(Access::target(typed), take))
        .route("/other", get(action(), take_typed))
        .route("/own", get(action(), take));
    // Two layers, with an untyped and a typed action.
    let outer = |target| ProtectLayer::new(Arc::clone(&app.scripted), target);
    let any = outer(RequestTarget::action("outer"));
    let typed = RequestTarget::action_from(|_| Ok(Deploy::new("prod-2")));
    let typed = ProtectLayer::new(Arc::clone(&app.scripted), typed);
    let layers = (ati(), any, typed);
    let inner = router.with_state(app.clone());
    let nested = Router::new().nest_service("/nested", inner.clone());
    for (prefix, service) in [
        ("", inner.layer(layers.clone()).into_make_service()),
        ("/nested", nested.layer(layers).into_make_service()),
    ] {
        let door = Door::new(&app, service).await;
        for path in ["/public", "/in-handler", "/scope", "/typed", "/other"] {
            let path = format!("{prefix}{path}");
            door.refuses(500, "GET", &path, Some(good_token())).await;
        }
        let path = format!("{prefix}/own");
        door.opens("GET", &path, Some(good_token())).await;
    }
}

#[tokio::test]
async fn every_scope_of_a_route_is_required() {
    let app = allowing();
    let scopes = ["tool:deploy", "audit", "tool:x"];
    let all = token(Claims::builder(AGENT).scopes(scopes));
    let access = || action().scope("audit").scope("tool:x");
    let deploy = by_signature().scope("audit").scope("tool:x");
    let router = ProtectedRouter::new()
        .authenticate(ati().scope(SCOPE))
        .route("/a", get(access(), count).post(deploy, from_query))
        .nest(
            "/nested",
            ProtectedRouter::new().route("/a", get(access(), count)),
        );
    let door = Door::with_router(&app, router).await;
    let asked = [
        ("GET", "/a"),
        ("POST", "/a?cluster=prod-1"),
        ("GET", "/nested/a"),
    ];
    for (method, path) in asked {
        for missing in scopes {
            let rest = scopes.into_iter().filter(|scope| *scope != missing);
            let token = token(Claims::builder(AGENT).scopes(rest));
            door.refuses(403, method, path, Some(&token)).await;
        }
        door.opens(method, path, Some(&all)).await;
    }
}

#[tokio::test]
async fn every_rate_of_every_scope_of_a_route_is_counted() {
    for pattern in ["tool:deploy", "audit", "tool:x", "tool:*", "*"] {
        let app = allowing();
        let access = action().scope("audit").scope("tool:x");
        let router = ProtectedRouter::new()
            .authenticate(ati().scope(SCOPE))
            .route("/a", get(access, count));
        let door = Door::with_router(&app, router).await;
        // One call for each version of HTTP.
        let rate = RateSpec::new(2, RateUnit::Day);
        let token = token(Claims::builder(AGENT).scope("*").rate(pattern, rate));
        door.opens("GET", "/a", Some(&token)).await;
        door.refuses(429, "GET", "/a", Some(&token)).await;
    }
}

#[test]
#[should_panic = "Overlapping method route"]
fn a_method_that_is_declared_twice_does_not_build() {
    let methods = get(action(), count).get(Access::public(), count);
    drop(router().route("/a", methods).with_state(App::new()));
}

#[tokio::test]
async fn a_request_has_to_pass_every_layer_that_authenticates() {
    let app = allowing();
    let router = ProtectedRouter::new()
        .authenticate(ati().scope("tool:a"))
        .route("/a", get(action(), count))
        .authenticate(ati().scope("tool:b"));
    let door = Door::with_router(&app, router).await;
    for scopes in [&["tool:a"][..], &["tool:b"], &[]] {
        let token = token(Claims::builder(AGENT).scopes(scopes.iter().copied()));
        door.refuses(403, "GET", "/a", Some(&token)).await;
    }
    door.refuses(401, "GET", "/a", None).await;
    let both = token(Claims::builder(AGENT).scope("tool:a").scope("tool:b"));
    door.opens("GET", "/a", Some(&both)).await;
}

#[tokio::test]
async fn the_challenges_of_a_router_name_its_realm() {
    let app = allowing();
    let router = ProtectedRouter::new()
        .authenticate(ati().realm("clinic"))
        .route("/a", get(action().scope("tool:x"), count))
        .route("/b", get(Access::public(), count));
    let door = Door::with_router(&app, router).await;
    let answer = door.refuses(401, "GET", "/a", None).await;
    let challenge = answer.header(WWW_AUTHENTICATE);
    assert_eq!(challenge, Some(r#"Bearer realm="clinic""#));
    let answer = door.refuses(403, "GET", "/a", Some(good_token())).await;
    let challenge = answer.header(WWW_AUTHENTICATE);
    let expected = r#"Bearer realm="clinic", error="insufficient_scope", scope="tool:x""#;
    assert_eq!(challenge, Some(expected));
    door.opens("GET", "/b", None).await;
}

#[tokio::test]
async fn a_cors_layer_around_a_router_answers_preflights_and_opens_nothing() {
    let page = HeaderValue::from_static("https://page.example");
    let cors = CorsLayer::new()
        .allow_origin(page.clone())
        .allow_methods([Method::GET])
        .allow_headers([AUTHORIZATION]);
    let app = allowing();
    let protected = router().route("/a", get(action(), count));
    let service = protected.with_state(app.clone());
    let preflight = || {
        let request = Request::options("/a").header(ORIGIN, page.clone());
        let request = request.header(ACCESS_CONTROL_REQUEST_METHOD, "GET");
        request.body(Body::empty()).unwrap()
    };
    let bare = service.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(bare.status(), 405);
    let service = service.layer(cors);
    let answer = service.clone().oneshot(preflight()).await.unwrap();
    assert_eq!((answer.status().as_u16(), app.ran.count()), (200, 0));
    assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], page);
    assert_eq!(app.scripted.calls(), []);

    let door = Door::new(&app, service.into_make_service()).await;
    door.refuses(401, "GET", "/a", None).await;
    door.opens("GET", "/a", Some(good_token())).await;
}
