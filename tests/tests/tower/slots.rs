//! Tests what an admitted request and its response carry: permit slots, records and headers.

use std::sync::Arc;

use atlasent::permit::PermitRecord;
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{Evaluation, PermitToken, Verification};
use atlasent::{Action, AnyAction, Permit};
use atlasent_tests::cases::{ACTION, AGENT, TOKEN};
use atlasent_tower::{PermitSlot, ProtectLayer, RequestTarget};
use http::{HeaderValue, Request, Response, StatusCode};
use tower::Layer;

use crate::agents::request;
use crate::answer::{Answer, ask, send};
use crate::inner::{Body, Broken, Inner};
use crate::ways::{Deploy, PATH, fixed, typed};

fn allowing() -> MockAuthority {
    MockAuthority::new().allow(ACTION)
}

/// An authority that allows, with this token and audit hash.
fn allowing_with(token: &str, audit_hash: &str) -> MockAuthority {
    let mut evaluation = Evaluation::allow(PermitToken::new(token).unwrap());
    evaluation.audit_hash = Some(audit_hash.into());
    let mut verification = Verification::valid();
    verification.permit_hash = Some("f0".into());
    MockAuthority::new()
        .on_evaluate(ACTION, Reply::Answer(evaluation))
        .on_verify(ACTION, Reply::Answer(verification))
}

fn slot<A: Send + Sync + 'static>(request: &Request<Body>) -> Option<&PermitSlot<A>> {
    request.extensions().get::<PermitSlot<A>>()
}

#[test]
fn a_permit_can_be_taken_once() {
    let inner = Inner::answering(|request| {
        let slot = slot::<AnyAction>(&request).unwrap();
        let clone = slot.clone();
        let permit: Permit = clone.take().unwrap();
        assert_eq!(
            (permit.action().name(), permit.agent().as_str()),
            (ACTION, AGENT)
        );
        assert!(slot.take().is_none() && clone.take().is_none());
        // Cloning the extensions with the request does not bring the permit back.
        assert!(
            request
                .extensions()
                .clone()
                .get::<PermitSlot>()
                .unwrap()
                .take()
                .is_none()
        );
        Ok(Response::new("ran".into()))
    });
    let answer = send(
        ProtectLayer::new(allowing(), fixed()).layer(inner.clone()),
        request(PATH),
    );
    assert_eq!((answer.status.as_u16(), inner.count()), (200, 1));
}

#[test]
fn a_typed_permit_waits_in_a_slot_of_its_type() {
    let inner = Inner::answering(|request| {
        assert!(slot::<AnyAction>(&request).is_none());
        let permit = slot::<Deploy>(&request).unwrap().take().unwrap();
        assert_eq!(permit.cluster, "prod-1");
        assert_eq!(permit.into_action().cluster, "prod-1");
        Ok(Response::new("ran".into()))
    });
    send(
        ProtectLayer::new(allowing(), typed()).layer(inner.clone()),
        request(PATH),
    );
    assert_eq!(inner.count(), 1);
}

#[test]
fn of_two_layers_the_permit_of_the_inner_one_is_there() {
    let inner = Inner::answering(|request| {
        let permit = slot::<AnyAction>(&request).unwrap().take().unwrap();
        assert_eq!(permit.action().name(), "inner");
        assert!(slot::<Deploy>(&request).unwrap().take().is_some());
        Ok(Response::new("ran".into()))
    });
    let authority = Arc::new(allowing().allow("inner").allow("outer"));
    let layer = |name: &'static str| {
        ProtectLayer::new(
            Arc::clone(&authority),
            RequestTarget::action(name).agent(AGENT),
        )
    };
    let typed = ProtectLayer::new(Arc::clone(&authority), typed());
    send(
        (layer("outer"), typed, layer("inner")).layer(inner.clone()),
        request(PATH),
    );
    assert_eq!((inner.count(), authority.calls().len()), (1, 6));
}

#[test]
fn a_slot_prints_no_secret() {
    let inner = Inner::answering(|request| {
        let slot = slot::<AnyAction>(&request).unwrap();
        let printed = format!("{slot:?} {:?}", request.extensions());
        assert!(!printed.contains(TOKEN), "{printed}");
        drop(slot.take());
        assert_eq!(format!("{slot:?}"), "PermitSlot(None)");
        Ok(Response::new("ran".into()))
    });
    let layer = ProtectLayer::new(allowing_with(TOKEN, "a0"), fixed());
    send(layer.layer(inner.clone()), request(PATH));
    assert_eq!(inner.count(), 1);
}

#[test]
fn a_response_has_the_record_of_its_permit() {
    let layer = ProtectLayer::new(allowing_with(TOKEN, "a0"), typed());
    let answer = send(layer.layer(Inner::new()), request(PATH));
    let record = answer.extensions.get::<PermitRecord>().unwrap();
    assert_eq!(
        (&*record.id, &*record.action, record.agent.as_str()),
        (TOKEN, ACTION, AGENT)
    );
    assert_eq!(record.resource.as_deref(), Some("prod-1"));
    assert_eq!(
        (record.hash.as_deref(), record.audit_hash.as_deref()),
        (Some("f0"), Some("a0"))
    );
    // Without `permit_headers`, the response has no headers about the permit.
    assert!(
        !answer
            .headers
            .iter()
            .any(|(name, _)| name.as_str().starts_with("x-atlasent"))
    );
}

#[test]
fn a_record_says_nothing_of_a_permit_that_was_not_obtained() {
    let authority = MockAuthority::new().deny(ACTION, "no");
    let layer = ProtectLayer::new(authority, fixed()).permit_headers();
    let answer = send(layer.layer(Inner::new()), request(PATH));
    assert_eq!(answer.status, 403);
    assert!(answer.extensions.get::<PermitRecord>().is_none());
    assert_eq!(permit_headers(&answer), (None, None));
}

fn permit_headers(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (
        answer.header("x-atlasent-permit-id"),
        answer.header("x-atlasent-audit-hash"),
    )
}

#[test]
fn permit_headers_name_the_permit_whatever_the_inner_service_wrote_there() {
    let inner = Inner::answering(|_| {
        let mut response = Response::new("ran".into());
        for value in ["forged", "forged again"] {
            let value = HeaderValue::from_static(value);
            response.headers_mut().append("x-atlasent-permit-id", value);
        }
        Ok(response)
    });
    let layer = ProtectLayer::new(allowing_with(TOKEN, "a0"), fixed()).permit_headers();
    let answer = send(layer.clone().layer(inner), request(PATH));
    assert_eq!(permit_headers(&answer), (Some(TOKEN), Some("a0")));
    // Failures of the inner service have the headers, too, since the permit is used up.
    let broken = Inner::with_status(StatusCode::BAD_GATEWAY);
    let answer = send(layer.layer(broken), request(PATH));
    assert_eq!(permit_headers(&answer), (Some(TOKEN), Some("a0")));
}

#[test]
fn what_no_header_can_hold_is_left_out_of_the_headers_and_not_of_the_record() {
    let token = "permit\r\nx-injected: 1";
    let layer = ProtectLayer::new(allowing_with(token, "a\u{0}b"), fixed()).permit_headers();
    let answer = send(layer.layer(Inner::new()), request(PATH));
    assert_eq!(
        (answer.status.as_u16(), permit_headers(&answer)),
        (200, (None, None))
    );
    assert!(!answer.headers.contains_key("x-injected"));
    let record = answer.extensions.get::<PermitRecord>().unwrap();
    assert_eq!(
        (&*record.id, record.audit_hash.as_deref()),
        (token, Some("a\u{0}b"))
    );
}

#[test]
fn a_failure_of_the_inner_service_is_passed_on_as_it_is() {
    let service = ProtectLayer::new(allowing(), fixed()).layer(Inner::answering(|_| Err(Broken)));
    let result = futures_executor::block_on(ask(service, request(PATH)));
    assert_eq!(result.unwrap_err(), Broken);
    for status in [204, 301, 404, 429, 500, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        let service = ProtectLayer::new(allowing(), fixed()).layer(Inner::with_status(status));
        let answer = send(service, request(PATH));
        assert_eq!((answer.status, answer.body.len()), (status, 0));
        assert!(answer.extensions.get::<PermitRecord>().is_some());
    }
}

#[test]
fn a_permit_that_nobody_takes_goes_with_its_request() {
    let authority = Arc::new(allowing());
    let service = ProtectLayer::new(Arc::clone(&authority), fixed()).layer(Inner::new());
    for calls in [2, 4, 6] {
        // Each request needs its own permit.
        assert_eq!(send(service.clone(), request(PATH)).status, 200);
        assert_eq!(authority.calls().len(), calls);
    }
}
