//! Tests `RequestTarget`: what the authority receives, and which requests are refused before it is
//! asked.

mod agents;
mod hears;
mod paths;

use std::sync::Arc;

use atlasent::Action;
use atlasent::testing::{Call, MockAuthority};
use atlasent::wire::EvaluateRequest;
use atlasent_tests::cases::ACTION;
use atlasent_tower::{AtiLayer, ProtectLayer, RequestTarget};
use http::Request;
use tower::Layer;

use crate::agents::verifier;
use crate::answer::{Answer, send};
use crate::inner::{Body, Inner};

/// An authority that allows the actions of these tests.
fn authority() -> Arc<MockAuthority> {
    let authority = MockAuthority::new()
        .allow(ACTION)
        .allow("read_patient_record");
    Arc::new(authority.allow("clinic.v1.Patients/Read"))
}

/// Sends a request through a layer with this target, and returns what the authority was asked.
fn ask<A: Action>(
    target: RequestTarget<A>,
    request: Request<Body>,
) -> (Answer, Option<EvaluateRequest>) {
    let (authority, inner) = (authority(), Inner::new());
    let layer = ProtectLayer::new(Arc::clone(&authority), target);
    let answer = send(layer.layer(inner.clone()), request);
    (answer, heard(&authority, &inner))
}

/// Does the same behind an `AtiLayer`.
fn ask_with_token<A: Action>(
    target: RequestTarget<A>,
    request: Request<Body>,
) -> (Answer, Option<EvaluateRequest>) {
    let (authority, inner) = (authority(), Inner::new());
    let layers = (
        AtiLayer::new(verifier()).optional(),
        ProtectLayer::new(Arc::clone(&authority), target),
    );
    let answer = send(layers.layer(inner.clone()), request);
    (answer, heard(&authority, &inner))
}

fn heard(authority: &MockAuthority, inner: &Inner) -> Option<EvaluateRequest> {
    match &authority.calls()[..] {
        [] => {
            assert_eq!(inner.count(), 0);
            None
        }
        [Call::Evaluate(request)] => {
            assert_eq!(inner.count(), 0);
            Some(request.clone())
        }
        [Call::Evaluate(request), Call::Verify(_)] => Some(request.clone()),
        calls => panic!("{calls:?}"),
    }
}

/// Asserts a refusal before the authority is asked.
fn expect_refusal(
    (answer, heard): &(Answer, Option<EvaluateRequest>),
    status: u16,
    detail: &str,
    case: &str,
) {
    answer.expect_refusal(status, detail, case);
    assert!(heard.is_none(), "{case}: {heard:?}");
}
