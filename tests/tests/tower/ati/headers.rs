//! Tests that an ambiguous header `Authorization` is refused.

use atlasent_tower::AtiLayer;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use tower::Layer;

use crate::agents::{agent, any_token, authorized, bearing, request, token, verifier};
use crate::answer::send;
use crate::inner::{Body, Inner};
use crate::ways::PATH;

/// Creates a request with these headers, in this order.
fn with_headers(values: &[&str]) -> Request<Body> {
    let mut request = request(PATH);
    for value in values {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().append(AUTHORIZATION, value);
    }
    request
}

fn status_of(request: Request<Body>) -> u16 {
    let inner = Inner::new();
    let answer = send(AtiLayer::new(verifier()).layer(inner.clone()), request);
    assert_eq!(inner.count() == 1, answer.status == 200);
    if answer.status != 200 {
        answer.expect_refusal(401, "`Authorization`", "a header");
    }
    answer.status.as_u16()
}

#[test]
fn the_scheme_is_read_in_any_case() {
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        for space in [" ", "   "] {
            let value = format!("{scheme}{space}{}", any_token());
            assert_eq!(
                status_of(authorized(PATH, value.as_bytes())),
                200,
                "{value}"
            );
        }
    }
}

#[test]
fn another_scheme_holds_no_token() {
    for scheme in [
        "Basic", "Digest", "DPoP", "Token", "Bearer:", "XBearer", "Beare",
    ] {
        let value = format!("{scheme} {}", any_token());
        assert_eq!(
            status_of(authorized(PATH, value.as_bytes())),
            401,
            "{value}"
        );
    }
    // A token without a scheme is refused, too.
    assert_eq!(status_of(authorized(PATH, any_token().as_bytes())), 401);
}

#[test]
fn two_headers_are_refused_whatever_is_in_them() {
    let good = format!("Bearer {}", any_token());
    let other = format!("Bearer {}", token(agent().scope("help")));
    for values in [
        [&*good, &*good],
        [&good, &other],
        [&good, "Bearer x"],
        ["Bearer x", &good],
        [&good, "Basic YTpi"],
        ["Basic YTpi", &good],
        [&good, ""],
        ["", &good],
    ] {
        assert_eq!(status_of(with_headers(&values)), 401, "{values:?}");
    }
}

#[test]
fn headers_that_a_proxy_has_joined_are_refused() {
    let good = any_token();
    for value in [
        format!("Bearer {good}, Bearer {good}"),
        format!("Bearer {good},{good}"),
        format!("Bearer {good},"),
        format!("Basic YTpi, Bearer {good}"),
        format!("Bearer , Bearer {good}"),
        format!(", Bearer {good}"),
    ] {
        assert_eq!(
            status_of(authorized(PATH, value.as_bytes())),
            401,
            "{value}"
        );
    }
}

#[test]
fn white_space_in_a_token_is_refused() {
    let (head, tail) = any_token().split_at(20);
    for value in [
        format!("Bearer {head} {tail}"),
        format!("Bearer {head}\t{tail}"),
        format!("Bearer \t{head}{tail}"),
        format!("Bearer {head}{tail}\t"),
        format!("Bearer\t{head}{tail}"),
        format!(" Bearer {head}{tail}"),
    ] {
        assert_eq!(
            status_of(authorized(PATH, value.as_bytes())),
            401,
            "{value}"
        );
    }
}

#[test]
fn what_is_not_ascii_is_refused() {
    for tail in [&b"\xc3\xa9"[..], b"\xff", b"\xe2\x80\x8b"] {
        let value = [b"Bearer ", any_token().as_bytes(), tail].concat();
        assert_eq!(status_of(authorized(PATH, &value)), 401, "{tail:?}");
    }
}

#[test]
fn a_token_anywhere_else_is_ignored() {
    let mut elsewhere = request(&format!("{PATH}?access_token={}", any_token()));
    let value = HeaderValue::from_str(&format!("Bearer {}", any_token())).unwrap();
    for name in ["proxy-authorization", "x-authorization", "cookie"] {
        elsewhere.headers_mut().insert(name, value.clone());
    }
    let answer = send(AtiLayer::new(verifier()).layer(Inner::new()), elsewhere);
    answer.expect_refusal(401, "has no token", "elsewhere");
    assert_eq!(status_of(bearing(PATH, any_token())), 200);
}
