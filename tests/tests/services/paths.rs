//! Tests apps nested in an open router of axum, where they see only the rest of the path: the whole
//! path must be in normal form.

use std::sync::Arc;

use atlasent_axum::{
    Access, Authorized, ProtectLayer, ProtectedRouter, RequestTarget, TargetExt, get,
};
use atlasent_tests::cases::ACTION;
use axum::extract::{Path, State};
use axum::{Router, routing};

use crate::agents::{ati, good_token};
use crate::door::Door;
use crate::passing::allowing;
use crate::router::count;
use crate::ways::{App, Deploy};

const PREFIX: &str = "/{tenant}/deep";

/// Paths that axum routes as `/acme/deep/prod-1`, or similar ones.
const TWO_WAYS: [&str; 5] = [
    "/%61cme/deep/prod-1",
    "/../deep/prod-1",
    "/%2e%2e/deep/prod-1",
    "/a%2Fb/deep/prod-1",
    "/a%00/deep/prod-1",
];

async fn refuses_all_but_the_normal_one(app: &App, outer: Router) {
    let door = Door::new(app, outer.into_make_service()).await;
    door.opens("GET", "/acme/deep/prod-1", Some(good_token()))
        .await;
    let asked = app.scripted.calls().len();
    for path in TWO_WAYS {
        door.refuses(400, "GET", path, Some(good_token())).await;
    }
    assert_eq!(app.scripted.calls().len(), asked);
}

#[tokio::test]
async fn a_protected_app_refuses_a_path_whose_beginning_can_be_read_in_two_ways() {
    let app = allowing();
    let inner = ProtectedRouter::new().route("/{cluster}", get(Access::action(ACTION), count));
    let inner = inner.authenticate(ati()).with_state(app.clone());
    let outer = Router::new().nest_service(PREFIX, inner);
    refuses_all_but_the_normal_one(&app, outer.clone()).await;
    // For a nested service, axum strips both slashes.
    let door = Door::new(&app, outer.into_make_service()).await;
    door.refuses(400, "GET", "/acme/deep//prod-1", Some(good_token()))
        .await;
}

#[tokio::test]
async fn an_extractor_refuses_a_path_whose_beginning_can_be_read_in_two_ways() {
    async fn deploy(State(app): State<App>, Authorized(permit): Authorized<Path<Deploy>>) {
        app.run(&permit);
    }
    let app = allowing();
    let inner = Router::new().route("/{cluster}", routing::get(deploy));
    let inner = inner.layer(ati()).with_state(app.clone());
    refuses_all_but_the_normal_one(&app, Router::new().nest(PREFIX, inner)).await;
}

#[tokio::test]
async fn a_decision_about_the_whole_path_is_about_one_in_normal_form() {
    let app = allowing();
    let target = RequestTarget::action(ACTION).original_path();
    let protect = ProtectLayer::new(Arc::clone(&app.scripted), target);
    let inner = Router::new().route("/{cluster}", routing::get(count));
    let inner = inner.layer((ati(), protect)).with_state(app.clone());
    refuses_all_but_the_normal_one(&app, Router::new().nest(PREFIX, inner)).await;
}
