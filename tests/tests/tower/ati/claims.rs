//! Tests that a request carries only claims that this layer has verified.

use std::sync::Arc;

use ati_client::{Claims, SigningKey, Verifier, issue};
use atlasent::testing::MockAuthority;
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{AtiLayer, ProtectLayer, Refusal, RequestTarget, Respond};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use tower::Layer;

use crate::agents::{agent, any_token, bearing, key, request, token, verifier};
use crate::answer::send;
use crate::inner::{Body, Inner};
use crate::ways::PATH;

fn optional() -> AtiLayer {
    AtiLayer::new(verifier()).optional()
}

/// Adds claims that no layer has verified, as an outer service might.
fn foreign(mut request: Request<Body>) -> Request<Body> {
    let claims = Claims::builder("root").scope("*").build().unwrap();
    request.extensions_mut().insert(claims);
    request
}

#[test]
fn a_request_goes_on_with_the_claims_of_its_token() {
    let inner = Inner::new();
    let claims = agent().scope("tool:a").job_id("job-1").build().unwrap();
    let token = issue(&claims, &key()).unwrap();
    send(
        AtiLayer::new(verifier()).layer(inner.clone()),
        bearing(PATH, &token),
    );
    assert_eq!(inner.seen()[0].extensions.get::<Claims>(), Some(&claims));
}

#[test]
fn claims_from_outside_do_not_survive() {
    let inner = Inner::new();
    send(optional().layer(inner.clone()), foreign(request(PATH)));
    assert!(inner.seen()[0].extensions.get::<Claims>().is_none());

    send(
        optional().layer(inner.clone()),
        foreign(bearing(PATH, any_token())),
    );
    let seen = inner.seen();
    assert_eq!(seen[1].extensions.get::<Claims>().unwrap().sub(), AGENT);
}

#[test]
fn claims_from_outside_ask_nobody() {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let protect = ProtectLayer::new(Arc::clone(&authority), RequestTarget::action(ACTION));
    let inner = Inner::new();
    let service = (optional(), protect).layer(inner.clone());
    let answer = send(service, foreign(request(PATH)));
    answer.expect_refusal(401, "has no token", "foreign claims");
    assert_eq!((inner.count(), authority.calls().len()), (0, 0));
}

#[test]
fn what_another_layer_has_verified_by_its_rules_does_not_hold_by_those_of_this_one() {
    let other = SigningKey::from_hex(&"7f".repeat(32)).unwrap();
    let lenient = Verifier::builder(other.verifying_key()).build().unwrap();
    let theirs = issue(&agent().scope("*").build().unwrap(), &other).unwrap();
    let inner = Inner::new();
    let service = (AtiLayer::new(lenient), optional()).layer(inner.clone());
    let answer = send(service.clone(), bearing(PATH, &theirs));
    answer.expect_refusal(401, "signature", "theirs");
    let answer = send(service, bearing(PATH, any_token()));
    answer.expect_refusal(401, "signature", "ours");
    assert_eq!(inner.count(), 0);
}

#[test]
fn of_two_layers_the_inner_one_decides_whether_a_token_is_needed() {
    let inner = Inner::new();
    let required = AtiLayer::new(verifier());
    let service = (optional(), required).layer(inner.clone());
    let answer = send(service.clone(), request(PATH));
    answer.expect_refusal(401, "has no token", "required inside");
    assert_eq!(send(service, bearing(PATH, any_token())).status, 200);
    assert_eq!(inner.count(), 1);
}

/// A responder with its own status.
struct Teapot(u16);

impl Respond for Teapot {
    fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
        let text = format!("{} {}", refusal.status().as_u16(), request.uri.path());
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = StatusCode::from_u16(self.0).unwrap();
        response
    }
}

#[test]
fn refusals_can_be_put_in_another_way_and_still_are_refusals() {
    let limited = token(agent().scope("*").rate("*", "0/day".parse().unwrap()));
    let rated = bearing(PATH, &limited);
    for status in [418, 200] {
        let layer = AtiLayer::new(verifier()).respond_with(Teapot(status));
        for (layer, request, told) in [
            (layer.clone(), request(PATH), 401),
            (layer.clone(), bearing(PATH, "x"), 401),
            (
                layer.clone().scope("tool:a"),
                bearing(PATH, &token(agent())),
                403,
            ),
            (layer.clone().scope("tool:a"), rated.clone(), 429),
            (layer.clone().scope(""), bearing(PATH, any_token()), 500),
        ] {
            let inner = Inner::new();
            let answer = send(layer.layer(inner.clone()), request);
            assert_eq!((answer.status.as_u16(), inner.count()), (status, 0));
            assert_eq!(answer.body, format!("{told} {PATH}"));
        }
    }
}
