//! Tests that the authority hears who acts for an agent by a delegated token, whether a guard or an
//! extractor obtains the permit.

use std::sync::Arc;

use ati_client::{Claims, delegate, issue};
use atlasent::testing::{Call, MockAuthority};
use atlasent_axum::{
    Access, Authorized, ProtectedRouter, SharedAuthority, TakePermit, by_signature, post,
};
use atlasent_tests::cases::{ACTION, AGENT};
use axum::body::Body;
use axum::extract::Query;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use tower::ServiceExt;

use crate::agents::{ati, key};
use crate::ways::Deploy;

async fn by_guard(TakePermit(_): TakePermit) -> &'static str {
    "ran"
}

async fn by_extractor(Authorized(_): Authorized<Query<Deploy>>) -> &'static str {
    "ran"
}

fn guarded() -> ProtectedRouter<SharedAuthority> {
    ProtectedRouter::new().route("/", post(Access::action(ACTION), by_guard))
}

fn extracting() -> ProtectedRouter<SharedAuthority> {
    ProtectedRouter::new().route("/", post(by_signature(), by_extractor))
}

/// Sends one request with the token of these claims, and returns the status of the response.
async fn status(
    router: ProtectedRouter<SharedAuthority>,
    claims: &Claims,
    authority: &Arc<MockAuthority>,
) -> StatusCode {
    let state = SharedAuthority::new(Arc::clone(authority));
    let app = router.authenticate(ati()).with_state(state);
    let app = app.into_make_service().oneshot(()).await.unwrap();
    let token = issue(claims, &key()).unwrap();
    let request =
        Request::post("/?cluster=prod-1").header(AUTHORIZATION, format!("Bearer {token}"));
    let answer = app
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    answer.status()
}

/// Returns the actors that the authority heard of, from one request with the token of these claims.
async fn heard(router: ProtectedRouter<SharedAuthority>, claims: &Claims) -> Vec<String> {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    assert_eq!(status(router, claims, &authority).await, StatusCode::OK);
    let calls = authority.calls();
    let Some(Call::Evaluate(asked)) = calls.first() else {
        panic!("the authority was not asked: {calls:?}");
    };
    let actors = asked.actors.iter();
    actors.map(|actor| actor.as_str().to_owned()).collect()
}

#[tokio::test]
async fn guards_and_extractors_tell_who_acts() {
    let agent = Claims::builder(AGENT).scope("*").build().unwrap();
    let helper = delegate(&agent, "helper").scope("*").build().unwrap();
    let crawler = delegate(&helper, "crawler").scope("*").build().unwrap();
    let expected: [(&Claims, &[&str]); 3] = [
        (&agent, &[]),
        (&helper, &["helper"]),
        (&crawler, &["crawler", "helper"]),
    ];
    for (claims, actors) in expected {
        assert_eq!(heard(guarded(), claims).await, actors);
        assert_eq!(heard(extracting(), claims).await, actors);
    }
}

#[tokio::test]
async fn an_actor_that_names_no_agent_is_a_401_and_asks_nobody() {
    let agent = Claims::builder(AGENT).scope("*").build().unwrap();
    let unnamed = delegate(&agent, "x".repeat(257))
        .scope("*")
        .build()
        .unwrap();
    let helper = delegate(&unnamed, "helper").scope("*").build().unwrap();
    for claims in [unnamed, helper] {
        for router in [guarded(), extracting()] {
            let authority = Arc::new(MockAuthority::new().allow(ACTION));
            let status = status(router, &claims, &authority).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert!(authority.calls().is_empty());
        }
    }
}
