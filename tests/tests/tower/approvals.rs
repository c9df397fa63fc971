//! Tests that a request waits for approvers exactly as long as its caller prefers and the service
//! allows.

use std::sync::Arc;
use std::time::Duration;

use atlasent::Decision;
use atlasent::testing::{Call, MockAuthority, Reply, ScriptedApproval};
use atlasent::wire::Evaluation;
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{
    Access, AppliedWait, AtiLayer, Authentication, MaxWait, ProblemDetails, ProtectLayer,
    ProtectedMethods, Respond, RouteGuard, obtain_permit,
};
use http::header::RETRY_AFTER;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

use crate::agents::{agent, any_token, bearing, verifier};
use crate::answer::send;
use crate::inner::{Body, Broken, Inner};
use crate::ways::{Boxed, PATH, boxed, fixed};

type Around = fn(Arc<MockAuthority>, Inner, Option<Duration>) -> Boxed;

/// The ways with a maximum. The last element says whether the way adds `Preference-Applied`.
const WAYS: [(&str, Around, bool); 4] = [
    ("a layer", by_layer, true),
    ("a gRPC method", by_method, true),
    ("a guard", by_guard, true),
    ("obtain_permit", by_obtain_permit, false),
];

fn by_layer(authority: Arc<MockAuthority>, inner: Inner, max: Option<Duration>) -> Boxed {
    let layer = ProtectLayer::new(authority, fixed());
    boxed(match max {
        Some(max) => layer.max_wait(max).layer(inner),
        None => layer.layer(inner),
    })
}

fn by_method(authority: Arc<MockAuthority>, inner: Inner, max: Option<Duration>) -> Boxed {
    let methods = ProtectedMethods::new(authority)
        .authenticate(AtiLayer::new(verifier()))
        .method(PATH, Access::action(ACTION));
    boxed(match max {
        Some(max) => methods.max_wait(max).layer(inner),
        None => methods.layer(inner),
    })
}

fn by_guard(authority: Arc<MockAuthority>, inner: Inner, max: Option<Duration>) -> Boxed {
    let authentication = Authentication::from(AtiLayer::new(verifier()));
    let guard = RouteGuard::new(Some(&authentication), Access::action(ACTION));
    let guard = guard.max_wait(max.unwrap_or_default());
    boxed(service_fn(move |request: Request<Body>| {
        let (authority, guard, inner) = (Arc::clone(&authority), guard.clone(), inner.clone());
        async move {
            let (mut parts, body) = request.into_parts();
            // The maximum of an outer service is not that of this route.
            parts
                .extensions
                .insert(MaxWait::new(Duration::from_secs(900)));
            let passed = guard.authorize(&*authority, &mut parts).await;
            let wait = AppliedWait::of_request(&parts);
            let mut response = match passed {
                Ok(_) => inner.oneshot(Request::from_parts(parts, body)).await?,
                Err(refusal) => refused(&refusal, &parts),
            };
            wait.add_to(&mut response);
            Ok::<_, Broken>(response)
        }
    }))
}

fn by_obtain_permit(authority: Arc<MockAuthority>, inner: Inner, max: Option<Duration>) -> Boxed {
    boxed(service_fn(move |request: Request<Body>| {
        let (authority, inner) = (Arc::clone(&authority), inner.clone());
        async move {
            let (mut parts, body) = request.into_parts();
            if let Some(max) = max {
                parts.extensions.insert(MaxWait::new(max));
            }
            match obtain_permit(&authority, &fixed(), &mut parts).await {
                Ok(_) => inner.oneshot(Request::from_parts(parts, body)).await,
                Err(refusal) => Ok(refused(&refusal, &parts)),
            }
        }
    }))
}

fn refused(refusal: &atlasent_tower::Refusal, parts: &Parts) -> Response<Body> {
    ProblemDetails.respond(refusal, parts).map(Body::new)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn asking(prefer: Option<&str>) -> Request<Body> {
    let mut request = bearing(PATH, any_token());
    if let Some(prefer) = prefer {
        let prefer = HeaderValue::from_str(prefer).unwrap();
        request.headers_mut().insert("prefer", prefer);
    }
    request
}

/// Returns the times of the waits that the authority was called for.
fn waits(authority: &MockAuthority) -> Vec<Duration> {
    let calls = authority.calls().into_iter();
    calls
        .filter_map(|call| match call {
            Call::Wait { at_most, .. } => Some(at_most),
            _ => None,
        })
        .collect()
}

fn held(approval: ScriptedApproval) -> Arc<MockAuthority> {
    Arc::new(MockAuthority::new().hold_for_approval(ACTION, "two people", approval))
}

#[test]
fn a_held_request_waits_as_its_caller_prefers_up_to_the_maximum() {
    for (name, around, adds_header) in WAYS {
        for (prefer, max, waited) in [
            (Some("wait=30"), Some(s(60)), Some(30)),
            (
                Some("respond-async, WAIT=\"600\"; x"),
                Some(s(60)),
                Some(60),
            ),
            (Some("wait=600"), None, None),
            (Some("wait=600"), Some(s(0)), None),
            (Some("wait=600"), Some(Duration::from_millis(999)), None),
            (Some("wait=0"), Some(s(60)), None),
            (Some("wait=soon"), Some(s(60)), None),
            (Some("respond-async"), Some(s(60)), None),
            (None, Some(s(60)), None),
        ] {
            let (authority, inner) = (held(ScriptedApproval::approve()), Inner::new());
            let service = around(Arc::clone(&authority), inner.clone(), max);
            let answer = send(service, asking(prefer));
            let about = format!("{name}, {prefer:?}, {max:?}: {answer:?}");
            let expected: Vec<_> = waited.into_iter().map(s).collect();
            assert_eq!(waits(&authority), expected, "{about}");
            assert_eq!(inner.count(), usize::from(waited.is_some()), "{about}");
            let applied = waited.filter(|_| adds_header);
            let applied = applied.map(|seconds| format!("wait={seconds}"));
            assert_eq!(
                answer.header("preference-applied"),
                applied.as_deref(),
                "{about}"
            );
            match waited {
                Some(_) => assert_eq!(answer.status, 200, "{about}"),
                None => answer.expect_refusal(403, "two people", &about),
            }
        }
    }
}

#[test]
fn a_token_that_expires_while_people_decide_is_refused() {
    let ways: [Around; 2] = [by_layer, by_obtain_permit];
    for around in ways {
        for (expires_at, status, ran) in [(2_000, 403, 0), (u64::MAX, 200, 1)] {
            let (authority, inner) = (held(ScriptedApproval::approve()), Inner::new());
            let service = around(Arc::clone(&authority), inner.clone(), Some(s(60)));
            let claims = agent().issued_at(1_000).expires_at(expires_at);
            let mut request = asking(Some("wait=30"));
            // The claims as an outer layer verified them, when the request arrived.
            request.extensions_mut().insert(claims.build().unwrap());
            let answer = send(service, request);
            assert_eq!((answer.status.as_u16(), inner.count()), (status, ran));
            if ran == 0 {
                assert_eq!(answer.problem()["code"], "TOKEN_EXPIRED");
            }
            let calls = authority.calls();
            let used = calls.iter().filter(|call| matches!(call, Call::Verify(_)));
            assert_eq!(used.count(), ran, "{calls:?}");
        }
    }
}

#[test]
fn a_request_that_is_not_approved_in_time_says_what_it_waits_for_and_when_to_come_back() {
    for (name, around, adds_header) in WAYS {
        let inner = Inner::new();
        let authority = held(ScriptedApproval::pending());
        let answer = send(
            around(authority, inner.clone(), Some(s(60))),
            asking(Some("wait=5")),
        );
        answer.expect_refusal(403, "two people", name);
        let problem = answer.problem();
        assert_eq!(problem["decision"], "hold", "{name}");
        assert_eq!(problem["escalation_id"], "esc_mock_00000000", "{name}");
        assert_eq!(problem.get("approval_url"), None, "{name}");
        assert_eq!(answer.header(RETRY_AFTER), Some("30"), "{name}");
        let applied = adds_header.then_some("wait=5");
        assert_eq!(answer.header("preference-applied"), applied, "{name}");
        assert_eq!(inner.count(), 0, "{name}");
    }
}

#[test]
fn a_hold_names_the_page_to_approve_it_on_and_its_own_time_to_come_back() {
    let mut hold = Evaluation::refuse(Decision::Hold, "two people");
    hold.escalation_id = Some("esc_1".to_owned());
    hold.approval_url = Some("https://console.example/esc_1".to_owned());
    hold.retry_after = Some(s(7));
    let authority = Arc::new(MockAuthority::new().on_evaluate(ACTION, Reply::Answer(hold)));
    for (name, around, _) in WAYS {
        let answer = send(
            around(Arc::clone(&authority), Inner::new(), None),
            asking(None),
        );
        let problem = answer.problem();
        assert_eq!(problem["escalation_id"], "esc_1", "{name}");
        assert_eq!(
            problem["approval_url"], "https://console.example/esc_1",
            "{name}"
        );
        assert_eq!(answer.header(RETRY_AFTER), Some("7"), "{name}");

        let mut call = asking(None);
        let grpc = HeaderValue::from_static("application/grpc");
        call.headers_mut().insert("content-type", grpc);
        *call.method_mut() = http::Method::POST;
        let layer = ProtectedMethods::new(Arc::clone(&authority))
            .authenticate(AtiLayer::new(verifier()))
            .method(PATH, Access::action(ACTION));
        let answer = send(layer.layer(Inner::new()), call);
        assert_eq!(answer.header("grpc-status"), Some("7"));
        assert_eq!(answer.header("atlasent-escalation-id"), Some("esc_1"));
        let url = answer.header("atlasent-approval-url");
        assert_eq!(url, Some("https://console.example/esc_1"));
        assert_eq!(answer.header("grpc-retry-pushback-ms"), Some("7000"));
    }
}

#[test]
fn a_request_whose_escalation_ended_without_an_approval_is_refused_for_good() {
    for approval in [ScriptedApproval::reject(), ScriptedApproval::time_out()] {
        for (name, around, _) in WAYS {
            let inner = Inner::new();
            let service = around(held(approval.clone()), inner.clone(), Some(s(60)));
            let answer = send(service, asking(Some("wait=5")));
            answer.expect_refusal(403, "esc_mock_00000000", name);
            assert_eq!(answer.problem()["decision"], "deny", "{name}");
            assert_eq!(answer.header(RETRY_AFTER), None, "{name}");
            assert_eq!(inner.count(), 0, "{name}");
        }
    }
}

#[test]
fn the_maximum_of_a_layer_is_not_that_of_the_service_in_it() {
    let (outer, inner_authority) = (
        held(ScriptedApproval::approve()),
        held(ScriptedApproval::approve()),
    );
    let inner = Inner::new();
    let nested = by_layer(Arc::clone(&inner_authority), inner.clone(), None);
    let service = ProtectLayer::new(outer, fixed())
        .max_wait(s(60))
        .layer(nested);
    let answer = send(service, asking(Some("wait=5")));
    answer.expect_refusal(403, "two people", AGENT);
    assert_eq!((waits(&inner_authority).len(), inner.count()), (0, 0));
}

#[test]
fn a_preference_is_kept_by_the_inner_service_beside_its_own() {
    let inner = service_fn(async |_: Request<Body>| {
        let mut response = Response::new(Body::default());
        let own = HeaderValue::from_static("respond-async");
        response.headers_mut().insert("preference-applied", own);
        Ok::<_, Broken>(response)
    });
    let layer = ProtectLayer::new(held(ScriptedApproval::approve()), fixed()).max_wait(s(60));
    let answer = send(layer.layer(inner), asking(Some("wait=5")));
    let applied: Vec<_> = answer
        .headers
        .get_all("preference-applied")
        .iter()
        .collect();
    assert_eq!(applied, ["respond-async", "wait=5"]);
}

#[test]
fn a_denial_names_no_escalation() {
    let authority = Arc::new(MockAuthority::new().deny(ACTION, "no"));
    let answer = send(
        by_layer(authority, Inner::new(), Some(s(60))),
        asking(Some("wait=5")),
    );
    let problem: Value = answer.problem();
    assert!(problem.get("escalation_id").is_none() && problem.get("approval_url").is_none());
    assert_eq!(answer.header(RETRY_AFTER), None);
}
