//! `ProtectedRouter`: what is declared needs what it says, and what is not declared is not there.

use atlasent::testing::Call;
use atlasent_axum::{Access, ProtectedRouter, RequestTarget, get, head, post};
use atlasent_tests::cases::ACTION;
use axum::extract::{Path, State};
use http::header::ALLOW;

use crate::agents::{ati, bad_tokens, good_token};
use crate::door::Door;
use crate::passing::allowing;
use crate::ways::App;

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
        // What is declared in two places is one route.
        .route("/b", post(action(), count))
        .route("/b", get(Access::public(), count));
    let door = Door::of(&app, door).await;
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
    let door = Door::of(&app, door).await;
    for path in [
        "/", "/b", "/a/", "/a/7", "/a/7/b/", "/A", "/a/7/b/c", "//a", "/./a", "/x/../a",
    ] {
        for token in [None, Some(good_token())] {
            let answer = door.refuses(404, "GET", path, token).await;
            assert_eq!(answer.header(ALLOW), None, "{path}");
        }
    }
    assert_eq!(app.scripted.calls(), []);

    let nothing = Door::of(&app, ProtectedRouter::new()).await;
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
    let door = Door::of(&app, door).await;
    let methods = [
        "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ];
    for method in methods {
        door.refuses(401, method, "/a", None).await;
        door.refuses(403, method, "/a", Some(good_token())).await;
    }
    app.scripted
        .follow(atlasent::testing::MockAuthority::new().allow(ACTION));
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
    let door = Door::of(&app, door).await;
    let bad = bad_tokens();
    let bad = bad.iter().map(|(_, token)| Some(&**token));
    for token in bad.chain([None, Some(good_token())]) {
        door.opens("GET", "/a", token).await;
        door.opens("HEAD", "/a", token).await;
        door.opens("GET", "/b/7", token).await;
    }
    assert_eq!(app.scripted.calls(), []);
    // And that is said of one method, not of the path.
    door.refuses(401, "POST", "/a", None).await;
}

#[tokio::test]
async fn a_head_of_its_own_has_an_access_of_its_own() {
    let app = App::new();
    let door = router()
        .route("/a", get(action(), count).head(Access::public(), count))
        .route("/b", head(action(), count).get(Access::public(), count));
    let door = Door::of(&app, door).await;
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
    let door = Door::of(&app, door).await;
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
    let door = Door::of(&app, door).await;
    for path in ["/files/a", "/files/a/b/c", "/files/a/", "/files/a%20b/..c"] {
        door.refuses(401, "GET", path, None).await;
        door.opens("GET", path, Some(good_token())).await;
        // The decision was about the very path that was asked for.
        let calls = app.scripted.calls();
        let asked = calls.iter().rev().find_map(|call| match call {
            Call::Evaluate(request) => request.context.as_object().get("path").cloned(),
            Call::Verify(_) => None,
        });
        assert_eq!(asked.unwrap(), path);
    }
    for path in ["/files", "/files/"] {
        door.refuses(404, "GET", path, Some(good_token())).await;
    }
}
