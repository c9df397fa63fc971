//! Tests that a request to an axum app waits for approvers as its caller prefers, up to the maximum
//! of the router, whatever obtains the permit.

use std::sync::Arc;
use std::time::Duration;

use atlasent::testing::{Call, MockAuthority, ScriptedApproval};
use atlasent_axum::{
    Access, Authorized, MaxWait, ProtectedApp, ProtectedRouter, SharedAuthority, TakePermit,
    by_signature, post,
};
use atlasent_tests::cases::ACTION;
use axum::body::Body;
use axum::extract::Query;
use axum::{Extension, Router, routing};
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::agents::{agent, ati, good_token};
use crate::ways::Deploy;

async fn by_guard(TakePermit(_): TakePermit) -> &'static str {
    "ran"
}

async fn by_extractor(Authorized(_): Authorized<Query<Deploy>>) -> &'static str {
    "ran"
}

async fn served(app: ProtectedApp) -> Router {
    app.into_make_service().oneshot(()).await.unwrap()
}

/// The apps, each with the maximum or without one.
async fn apps(
    authority: &Arc<MockAuthority>,
    max: Option<Duration>,
) -> [(&'static str, Router, bool); 3] {
    let state = || SharedAuthority::new(Arc::clone(authority));
    let router = || {
        let router = ProtectedRouter::new().authenticate(ati());
        match max {
            Some(max) => router.max_wait(max),
            None => router,
        }
    };
    let guarded = router().route("/", post(Access::action(ACTION), by_guard));
    let extracting = router().route("/", post(by_signature(), by_extractor));
    let mut plain = Router::new()
        .route("/", routing::post(by_extractor))
        .layer(ati())
        .with_state(state());
    if let Some(max) = max {
        plain = plain.layer(Extension(MaxWait::new(max)));
    }
    [
        ("a guard", served(guarded.with_state(state())).await, true),
        (
            "an extractor",
            served(extracting.with_state(state())).await,
            true,
        ),
        ("an extractor in a plain router", plain, false),
    ]
}

async fn ask(app: Router, prefer: &str) -> http::Response<Body> {
    let request = Request::post("/?cluster=prod-1")
        .header(AUTHORIZATION, format!("Bearer {}", good_token()))
        .header("prefer", prefer);
    app.oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

fn waits(authority: &MockAuthority) -> Vec<Duration> {
    let calls = authority.calls().into_iter();
    calls
        .filter_map(|call| match call {
            Call::Wait { at_most, .. } => Some(at_most),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_token_that_expires_while_people_decide_is_refused_by_extractors() {
    for (expires_at, status) in [(2_000, StatusCode::FORBIDDEN), (u64::MAX, StatusCode::OK)] {
        let approval = ScriptedApproval::approve();
        let authority = MockAuthority::new().hold_for_approval(ACTION, "two people", approval);
        let claims = agent().issued_at(1_000).expires_at(expires_at);
        let app = Router::new()
            .route("/", routing::post(by_extractor))
            // The claims as a layer verified them, when the request arrived.
            .layer(Extension(claims.build().unwrap()))
            .layer(Extension(MaxWait::new(Duration::from_secs(60))))
            .with_state(SharedAuthority::new(Arc::new(authority)));
        let response = ask(app, "wait=30").await;
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn a_held_request_waits_as_its_caller_prefers_up_to_the_maximum_of_the_router() {
    for (max, prefer, waited) in [
        (Some(60), "wait=5", Some(5)),
        (Some(60), "wait=600", Some(60)),
        (Some(60), "respond-async", None),
        (None, "wait=600", None),
    ] {
        for way in 0..3 {
            let approval = ScriptedApproval::approve();
            let authority = MockAuthority::new().hold_for_approval(ACTION, "two people", approval);
            let authority = Arc::new(authority);
            let apps = apps(&authority, max.map(Duration::from_secs)).await;
            let (name, app, adds_header) = apps.into_iter().nth(way).unwrap();
            let response = ask(app, prefer).await;
            let about = format!("{name}, {max:?}, {prefer}: {response:?}");
            let expected: Vec<_> = waited.into_iter().map(Duration::from_secs).collect();
            assert_eq!(waits(&authority), expected, "{about}");
            let applied = response.headers().get("preference-applied");
            let applied = applied.map(|value| value.to_str().unwrap().to_owned());
            let told = waited.filter(|_| adds_header);
            assert_eq!(applied, told.map(|s| format!("wait={s}")), "{about}");
            if waited.is_some() {
                assert_eq!(response.status(), StatusCode::OK, "{about}");
                continue;
            }
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{about}");
            assert_eq!(response.headers()[RETRY_AFTER], "30", "{about}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["escalation_id"], "esc_mock_00000000", "{about}");
        }
    }
}
