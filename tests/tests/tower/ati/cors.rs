//! Tests a CORS layer with `AtiLayer`: a preflight of a browser has no token.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent_tests::cases::ACTION;
use atlasent_tower::{AtiLayer, ProtectLayer, RequestTarget};
use http::header::{
    ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, ORIGIN,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Request};
use tower::Layer;
use tower_http::cors::CorsLayer;

use crate::agents::{any_token, bearing, request, verifier};
use crate::answer::send;
use crate::inner::{Body, Inner};
use crate::ways::PATH;

const PAGE: &str = "https://page.example";

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(PAGE))
        .allow_methods([Method::POST])
        .allow_headers([AUTHORIZATION])
        .expose_headers([WWW_AUTHENTICATE])
}

/// Creates the preflight of a browser.
fn preflight() -> Request<Body> {
    let mut request = from_page(request(PATH));
    *request.method_mut() = Method::OPTIONS;
    let headers = request.headers_mut();
    headers.insert(
        ACCESS_CONTROL_REQUEST_METHOD,
        HeaderValue::from_static("POST"),
    );
    let authorization = HeaderValue::from_static("authorization");
    headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, authorization);
    request
}

fn from_page(mut request: Request<Body>) -> Request<Body> {
    let origin = HeaderValue::from_static(PAGE);
    request.headers_mut().insert(ORIGIN, origin);
    request
}

#[test]
fn a_cors_layer_outside_answers_preflights_and_lets_pages_read_refusals() {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let protect = ProtectLayer::new(Arc::clone(&authority), RequestTarget::action(ACTION));
    let inner = Inner::new();
    let service = (cors(), AtiLayer::new(verifier()), protect).layer(inner.clone());

    let answer = send(service.clone(), preflight());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), Some(PAGE));
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_METHODS), Some("POST"));
    assert_eq!((inner.count(), authority.calls().len()), (0, 0));

    let answer = send(service.clone(), from_page(request(PATH)));
    answer.expect_refusal(401, "has no token", "from a page");
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), Some(PAGE));
    let exposed = answer.header(ACCESS_CONTROL_EXPOSE_HEADERS);
    assert_eq!(exposed, Some("www-authenticate"));
    assert_eq!((inner.count(), authority.calls().len()), (0, 0));

    let answer = send(service, from_page(bearing(PATH, any_token())));
    assert_eq!((answer.status.as_u16(), inner.count()), (200, 1));
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), Some(PAGE));
}

#[test]
fn a_cors_layer_inside_never_sees_a_preflight() {
    let inner = Inner::new();
    let service = (AtiLayer::new(verifier()), cors()).layer(inner.clone());
    let answer = send(service.clone(), preflight());
    answer.expect_refusal(401, "has no token", "a preflight");
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), None);
    // A page cannot read the reason of the refusal, either.
    let answer = send(service.clone(), from_page(request(PATH)));
    answer.expect_refusal(401, "has no token", "from a page");
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), None);
    assert_eq!(inner.count(), 0);
    let answer = send(service, from_page(bearing(PATH, any_token())));
    assert_eq!((answer.status.as_u16(), inner.count()), (200, 1));
}
