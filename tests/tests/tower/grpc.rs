//! Tests gRPC statuses: `ProtectedMethods` and layers with `GrpcStatus` send them, and only to gRPC
//! calls.

use atlasent::testing::MockAuthority;
use atlasent_tests::cases::ACTION;
use atlasent_tower::{AtiLayer, GrpcStatus, ProtectLayer, ProtectedMethods, RequestTarget};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request};
use tower::Layer;

use crate::agents::{any_token, bearing, request, verifier};
use crate::answer::send;
use crate::inner::{Body, Inner};
use crate::ways::{PATH, fixed, ways};

const CALLS: [&str; 6] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
    "APPLICATION/GRPC+Proto",
    "application/grpc; charset=utf-8",
    "application/grpc;a=\"b\"",
];

const OTHERS: [&str; 9] = [
    "application/grpcEVIL",
    "application/grpc+evil",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc, application/grpc",
    "application/grpc/x",
    "text/html; application/grpc",
    "application/json",
];

fn with_content_type(
    method: Method,
    content_type: &str,
    mut request: Request<Body>,
) -> Request<Body> {
    *request.method_mut() = method;
    let content_type = HeaderValue::from_str(content_type).unwrap();
    request.headers_mut().insert(CONTENT_TYPE, content_type);
    request
}

#[test]
fn a_layer_answers_whatever_the_caller_calls_it_with_a_status_of_http() {
    let ati = AtiLayer::new(verifier());
    let protect = ProtectLayer::new(MockAuthority::new(), fixed());
    for content_type in CALLS.into_iter().chain(OTHERS) {
        for method in [Method::POST, Method::GET, Method::PUT] {
            let inner = Inner::new();
            let asking = with_content_type(method.clone(), content_type, request(PATH));
            let answer = send(ati.layer(inner.clone()), asking.clone());
            answer.expect_refusal(401, "has no token", content_type);
            let answer = send(protect.clone().layer(inner.clone()), asking);
            answer.expect_refusal(403, "is denied", content_type);
            assert!(!answer.headers.contains_key("grpc-status"));
            assert_eq!(inner.count(), 0);
        }
    }
}

#[test]
fn no_way_answers_with_a_success_what_is_no_call_of_grpc() {
    for way in ways::<MockAuthority>() {
        for content_type in OTHERS {
            let inner = Inner::new();
            let service = (way.around)(std::sync::Arc::default(), inner.clone());
            let answer = send(
                service,
                with_content_type(Method::POST, content_type, (way.request)()),
            );
            answer.expect_refusal(403, "", way.name);
            assert_eq!(inner.count(), 0, "{}", way.name);
        }
    }
}

#[test]
fn methods_and_layers_that_are_told_to_answer_calls_of_grpc_with_its_status() {
    let methods = ProtectedMethods::new(MockAuthority::new());
    let ati = AtiLayer::new(verifier()).respond_with(GrpcStatus);
    let protect = ProtectLayer::new(MockAuthority::new(), RequestTarget::action(ACTION));
    let protect = (AtiLayer::new(verifier()), protect.respond_with(GrpcStatus));
    for content_type in CALLS {
        let call = |request| with_content_type(Method::POST, content_type, request);
        let inner = Inner::new();
        for (answer, status) in [
            (
                send(methods.layer(inner.clone()), call(request(PATH))),
                "12",
            ),
            (send(ati.layer(inner.clone()), call(request(PATH))), "16"),
            (
                send(
                    protect.layer(inner.clone()),
                    call(bearing(PATH, any_token())),
                ),
                "7",
            ),
        ] {
            assert_eq!(answer.status, 200, "{content_type}");
            assert_eq!(answer.header(CONTENT_TYPE), Some("application/grpc"));
            assert_eq!(answer.header("grpc-status"), Some(status), "{content_type}");
            assert!(answer.body.is_empty());
        }
        assert_eq!(inner.count(), 0);
    }
}

#[test]
fn methods_and_layers_that_are_told_to_answer_anything_else_with_a_problem() {
    let methods = ProtectedMethods::new(MockAuthority::new());
    let ati = AtiLayer::new(verifier()).respond_with(GrpcStatus);
    let posts = OTHERS.map(|content_type| (Method::POST, content_type));
    let gets = CALLS.map(|content_type| (Method::GET, content_type));
    for (method, content_type) in posts.into_iter().chain(gets) {
        let asking = with_content_type(method, content_type, request(PATH));
        let answer = send(methods.layer(Inner::new()), asking.clone());
        answer.expect_refusal(404, "no such route", content_type);
        let answer = send(ati.layer(Inner::new()), asking);
        answer.expect_refusal(401, "has no token", content_type);
    }
    let mut twice = with_content_type(Method::POST, CALLS[0], request(PATH));
    let second = HeaderValue::from_static("text/html");
    twice.headers_mut().append(CONTENT_TYPE, second);
    let answer = send(methods.layer(Inner::new()), twice);
    answer.expect_refusal(404, "no such route", "two content types");
}
