//! Tests back-pressure: a service is ready when its inner service is, and reservations for a
//! request are released with it.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use ati_client::{RateSpec, RateUnit};
use atlasent::testing::{MockAuthority, Reply};
use atlasent_tests::cases::ACTION;
use atlasent_tower::{Access, AtiLayer, ProtectLayer, ProtectedMethods, RequestTarget};
use futures_util::FutureExt;
use futures_util::future::{join, poll_immediate};
use http::{Request, Response};
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimit;
use tower::load_shed::{LoadShed, error::Overloaded};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_test::mock::{self, Mock};

use crate::agents::{agent, any_token, bearing, request, token, verifier};
use crate::answer::ask;
use crate::inner::{Body, Inner};
use crate::ways::{PATH, fixed};

fn allowing() -> Arc<MockAuthority> {
    Arc::new(MockAuthority::new().allow(ACTION))
}

fn protect() -> ProtectLayer<Arc<MockAuthority>, RequestTarget> {
    ProtectLayer::new(allowing(), fixed())
}

fn methods() -> ProtectedMethods {
    ProtectedMethods::new(allowing())
        .authenticate(AtiLayer::new(verifier()))
        .method(PATH, Access::action(ACTION))
}

fn good() -> Request<Body> {
    bearing(PATH, any_token())
}

/// A request that every layer refuses.
fn bad() -> Request<Body> {
    bearing(&format!("{PATH}/../x"), "not.a.token")
}

/// Returns the output of a future that must be ready at the first poll. A pending future panics, so
/// that the test does not hang.
#[track_caller]
fn at_once<F: Future>(future: F) -> F::Output {
    future.now_or_never().unwrap()
}

fn passes_readiness_on<L>(layer: L)
where
    L: Layer<Mock<Request<Body>, Response<Body>>>,
    L::Service: Service<Request<Body>, Error = BoxError>,
    <L::Service as Service<Request<Body>>>::Response: Debug,
{
    let (mut service, mut handle) = mock::spawn_layer(layer);
    handle.allow(0);
    assert!(service.poll_ready().is_pending());
    assert!(!service.is_woken());
    handle.allow(1);
    assert!(service.is_woken());
    assert!(service.poll_ready().is_ready());

    // A refused request does not reach the inner service, and the next request does.
    let refused = at_once(service.call(bad()));
    assert!(refused.is_ok() && handle.poll_request().is_pending());
    assert!(service.poll_ready().is_ready());
    let mut answered = pin!(service.call(good()));
    assert!(at_once(poll_immediate(&mut answered)).is_none());
    let (_, respond) = at_once(handle.next_request()).unwrap();
    respond.send_response(Response::new(Body::default()));
    at_once(answered).unwrap();

    handle.send_error("out of order");
    let Poll::Ready(Err(error)) = service.poll_ready() else {
        panic!("the inner service failed, and this one is ready");
    };
    assert_eq!(error.to_string(), "out of order");
}

#[test]
fn a_service_is_as_ready_as_the_inner_one() {
    passes_readiness_on(AtiLayer::new(verifier()));
    passes_readiness_on(AtiLayer::new(verifier()).scope("tool:deploy"));
    passes_readiness_on(protect());
    passes_readiness_on((AtiLayer::new(verifier()), protect()));
    passes_readiness_on(methods());
}

/// Whether a clone of the service is ready now.
async fn has_room<S: Service<Request<Body>> + Clone>(service: &S) -> bool {
    poll_immediate(service.clone().ready()).await.is_some()
}

/// Asserts that each kind of request releases its place in an inner limit of one.
async fn gives_its_place_back<L>(layer: L, good: fn() -> Request<Body>, bad: fn() -> Request<Body>)
where
    L: Layer<ConcurrencyLimit<Inner>>,
    L::Service: Service<Request<Body>> + Clone,
    <L::Service as Service<Request<Body>>>::Error: Debug,
{
    let inner = Inner::new();
    let mut service = layer.layer(ConcurrencyLimit::new(inner.clone(), 1));

    // A request that is admitted and waits to be polled.
    let on_its_way = service.ready().await.unwrap().call(good());
    assert!(!has_room(&service).await, "two at a time");
    on_its_way.await.unwrap();
    assert!(has_room(&service).await, "after an answer");

    // A request that is dropped.
    drop(service.ready().await.unwrap().call(good()));
    assert!(has_room(&service).await, "after a client that went away");

    // A refused request, whose connection may stay open.
    let before = inner.count();
    service.ready().await.unwrap().call(bad()).await.unwrap();
    assert_eq!(inner.count(), before);
    assert!(has_room(&service).await, "after a refusal");
}

#[test]
fn a_permit_layer_gives_its_place_back() {
    at_once(gives_its_place_back(protect(), good, bad));
}

#[test]
fn protected_methods_give_their_place_back() {
    at_once(gives_its_place_back(methods(), good, bad));
}

#[test]
fn a_token_layer_gives_its_place_back() {
    at_once(gives_its_place_back(AtiLayer::new(verifier()), good, bad));
}

#[test]
fn a_token_layer_that_counts_gives_its_place_back() {
    fn with_rate(calls: u64) -> Request<Body> {
        let rate = RateSpec::new(calls, RateUnit::Day);
        bearing(PATH, &token(agent().rate("*", rate)))
    }
    let layer = AtiLayer::new(verifier());
    let (good, bad) = (|| with_rate(1_000), || with_rate(0));
    at_once(gives_its_place_back(layer, good, bad));
}

#[test]
fn a_limit_outside_counts_requests_until_they_are_answered() {
    at_once(async {
        let inner = Inner::new();
        let layers = (AtiLayer::new(verifier()), protect()).layer(inner.clone());
        let mut service = ConcurrencyLimit::new(layers, 1);
        for (request, count) in [(good(), 1), (bad(), 1), (good(), 2)] {
            let on_its_way = service.ready().await.unwrap().call(request);
            assert!(!has_room(&service).await);
            on_its_way.await.unwrap();
            assert!(has_room(&service).await);
            assert_eq!(inner.count(), count);
        }
        drop(service.ready().await.unwrap().call(good()));
        assert!(has_room(&service).await);
    });
}

#[tokio::test]
async fn a_buffer_inside_and_one_outside_take_turns() {
    let inner = Inner::new();
    let inside = (AtiLayer::new(verifier()), protect()).layer(Buffer::new(inner.clone(), 1));
    let outside = Buffer::new(inside, 1);
    for round in 1..=5 {
        let answer = ask(outside.clone(), bad()).await.unwrap();
        assert_eq!(answer.status, 401);
        let both = join(ask(outside.clone(), good()), ask(outside.clone(), good()));
        let (first, second) = both.await;
        assert!(first.unwrap().status == 200 && second.unwrap().status == 200);
        assert_eq!(inner.count(), 2 * round);
    }
}

#[tokio::test]
async fn a_full_buffer_is_full_for_those_outside() {
    // The worker of the buffer does not run, so the buffer stays full.
    let (buffer, _worker) = Buffer::pair(Inner::new(), 1);
    let mut service = protect().layer(buffer);
    let refused = at_once(service.ready().await.unwrap().call(bad()));
    assert_eq!(refused.unwrap().status(), 400);
    assert!(has_room(&service).await, "after a refusal");
    let mut on_its_way = service.ready().await.unwrap().call(good());
    assert!(poll_immediate(&mut on_its_way).await.is_none());
    assert!(!has_room(&service).await);
}

#[test]
fn a_request_that_is_shed_outside_does_not_reach_the_authority() {
    at_once(async {
        let authority = allowing();
        let layer = ProtectLayer::new(Arc::clone(&authority), fixed());
        let limited = layer.layer(ConcurrencyLimit::new(Inner::new(), 1));
        let mut shedding = LoadShed::new(limited);
        let on_its_way = shedding.ready().await.unwrap().call(request(PATH));
        let mut other = shedding.clone();
        let error = other.ready().await.unwrap().call(request(PATH)).await;
        assert!(error.unwrap_err().is::<Overloaded>());
        assert_eq!(authority.calls().len(), 0);
        on_its_way.await.unwrap();
        assert_eq!(authority.calls().len(), 2);
    });
}

#[test]
fn an_authority_that_never_answers_holds_one_place_for_each_request() {
    at_once(async {
        let authority = MockAuthority::new().on_evaluate(ACTION, Reply::Never);
        let layer = ProtectLayer::new(authority, fixed());
        let mut service = layer.layer(ConcurrencyLimit::new(Inner::new(), 2));
        let mut first = service.ready().await.unwrap().call(request(PATH));
        assert!(poll_immediate(&mut first).await.is_none());
        assert!(has_room(&service).await);
        let second = service.ready().await.unwrap().call(request(PATH));
        assert!(!has_room(&service).await);
        drop(first);
        assert!(has_room(&service).await);
        drop(second);
    });
}
