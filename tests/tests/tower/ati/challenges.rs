//! Tests challenges: what `WWW-Authenticate` tells a refused caller to send (RFC 6750 §3, RFC 9728
//! §5.1).

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent_tests::cases::ACTION;
use atlasent_tower::{
    Access, AtiLayer, ProblemDetails, ProtectLayer, ProtectedMethods, Refusal, RequestTarget,
    Respond,
};
use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use tower::Layer;

use crate::agents::{agent, any_token, authorized, bearing, request, token, verifier};
use crate::answer::{Answer, send};
use crate::inner::{Body, Inner};
use crate::ways::PATH;

const METADATA: &str = "https://api.example.com/.well-known/oauth-protected-resource";

fn ati() -> AtiLayer {
    AtiLayer::new(verifier())
}

fn named() -> AtiLayer {
    ati().realm("clinic").resource_metadata(METADATA)
}

fn refused(
    layer: impl Layer<Inner, Service: AskOnce>,
    request: Request<Body>,
    status: u16,
) -> Answer {
    let inner = Inner::new();
    let answer = layer.layer(inner.clone()).ask(request);
    answer.expect_refusal(status, "", "a challenge");
    assert_eq!(inner.count(), 0);
    answer
}

/// A service of any type that requests can be sent to.
trait AskOnce {
    fn ask(self, request: Request<Body>) -> Answer;
}

impl<S, R> AskOnce for S
where
    S: tower::Service<Request<Body>, Response = Response<R>, Error = crate::inner::Broken>,
    R: http_body_util::BodyExt<Data = Bytes, Error = std::convert::Infallible>,
{
    fn ask(self, request: Request<Body>) -> Answer {
        send(self, request)
    }
}

#[test]
fn a_request_without_a_token_is_told_of_no_error() {
    for other in [
        request(PATH),
        authorized(PATH, b"Basic YTpi"),
        authorized(PATH, b"DPoP x.y.z"),
    ] {
        let answer = refused(ati(), other.clone(), 401);
        assert_eq!(answer.header(WWW_AUTHENTICATE), Some("Bearer"));
        let answer = refused(ati().realm("clinic"), other.clone(), 401);
        let challenge = r#"Bearer realm="clinic""#;
        assert_eq!(answer.header(WWW_AUTHENTICATE), Some(challenge));
        let answer = refused(ati().resource_metadata(METADATA), other, 401);
        let challenge = format!(r#"Bearer resource_metadata="{METADATA}""#);
        assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*challenge));
    }
}

#[test]
fn a_token_that_is_not_accepted_is_told_so_and_where_to_get_another() {
    for bad in [
        bearing(PATH, "x"),
        authorized(PATH, b"Bearer"),
        authorized(PATH, b"Bearer a.b.c, Bearer a.b.c"),
        bearing(PATH, &token(agent().audience("somebody-else"))),
    ] {
        let answer = refused(named(), bad, 401);
        let challenge = format!(
            r#"Bearer realm="clinic", error="invalid_token", resource_metadata="{METADATA}""#
        );
        assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*challenge));
    }
    let answer = refused(named().scope("tool:x"), bearing(PATH, &token(agent())), 403);
    let challenge = format!(
        r#"Bearer realm="clinic", error="insufficient_scope", scope="tool:x", resource_metadata="{METADATA}""#
    );
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*challenge));
}

#[test]
fn a_realm_is_quoted_and_escaped() {
    for (realm, quoted) in [
        (r#"the "inner" door"#, r#""the \"inner\" door""#),
        (r"back\slash", r#""back\\slash""#),
        (r#"", error="none"#, r#""\", error=\"none""#),
        ("", r#""""#),
        ("a, b=c; d", r#""a, b=c; d""#),
    ] {
        let answer = refused(ati().realm(realm), request(PATH), 401);
        let challenge = format!("Bearer realm={quoted}");
        assert_eq!(
            answer.header(WWW_AUTHENTICATE),
            Some(&*challenge),
            "{realm}"
        );
    }
}

#[test]
fn a_challenge_that_no_header_can_hold_is_a_misconfiguration_and_opens_nothing() {
    let layers = [
        ati().realm("a\r\nset-cookie: b"),
        ati().realm("Klinik Z\u{fc}rich"),
        ati().realm("\0"),
        ati().resource_metadata("/.well-known/oauth-protected-resource"),
        ati().resource_metadata("https://user:password@example.com/"),
        ati().resource_metadata("https://example.com/\r\n"),
        ati().optional().realm("\n"),
    ];
    for layer in layers {
        for request in [request(PATH), bearing(PATH, any_token())] {
            let answer = refused(layer.clone(), request, 500);
            assert_eq!(answer.header(WWW_AUTHENTICATE), None);
        }
        // A second call replaces the first value.
        let mended = layer.realm("a").resource_metadata(METADATA);
        let answer = send(mended.layer(Inner::new()), bearing(PATH, any_token()));
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn the_realm_is_that_of_the_layer_around_whatever_refuses() {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let protect = ProtectLayer::new(Arc::clone(&authority), RequestTarget::action(ACTION));
    let challenge = format!(r#"Bearer realm="clinic", resource_metadata="{METADATA}""#);
    let anonymous = (named().optional(), protect.clone());
    let answer = refused(anonymous, request(PATH), 401);
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*challenge));

    // Of two layers, the one nearest to the refusal.
    let nested = (ati().realm("outer"), ati().realm("inner").scope("tool:x"));
    let answer = refused(nested.clone(), bearing(PATH, &token(agent())), 403);
    let inner = r#"Bearer realm="inner", error="insufficient_scope", scope="tool:x""#;
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some(inner));
    let answer = refused(nested, request(PATH), 401);
    let outer = r#"Bearer realm="outer""#;
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some(outer));

    let methods = ProtectedMethods::new(authority)
        .authenticate(named())
        .method(PATH, Access::action(ACTION));
    let answer = refused(methods, request(PATH), 401);
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some(&*challenge));
}

/// A responder that writes its own challenge.
struct Own;

impl Respond for Own {
    fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
        let mut response = ProblemDetails.respond(refusal, request);
        let own = HeaderValue::from_static("DPoP");
        response.headers_mut().insert(WWW_AUTHENTICATE, own);
        response
    }
}

#[test]
fn a_challenge_of_a_responders_own_stays_as_it_is() {
    let answer = refused(named().respond_with(Own), request(PATH), 401);
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some("DPoP"));
    // The same holds for a challenge of the inner service.
    let inner = Inner::answering(|_| {
        let mut response = Response::new(Body::default());
        let own = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, own);
        Ok(response)
    });
    let answer = send(named().layer(inner), bearing(PATH, any_token()));
    assert_eq!(answer.header(WWW_AUTHENTICATE), Some("Bearer"));
}

#[test]
fn a_call_that_is_counted_is_challenged_alike() {
    let once = "5/hour".parse().unwrap();
    let token = token(agent().rate("*", once));
    let protect = ProtectLayer::new(
        MockAuthority::new(),
        RequestTarget::action(ACTION).agent_from(|_| -> Result<String, Refusal> {
            Err(Refusal::MissingScope { scope: "a".into() })
        }),
    );
    let answer = refused((named(), protect), bearing(PATH, &token), 403);
    let challenge = answer.header(WWW_AUTHENTICATE).unwrap();
    assert!(
        challenge.starts_with(r#"Bearer realm="clinic""#),
        "{challenge}"
    );
}
