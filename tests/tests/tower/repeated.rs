//! Retries: one permit is for one call of the inner service.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use atlasent::testing::{Call, MockAuthority};
use atlasent_tests::cases::ACTION;
use atlasent_tower::{
    Access, AtiLayer, PermitSlot, ProtectLayer, ProtectedMethods, TakePermitLayer,
};
use http::{Request, Response};
use tower::retry::{Policy, RetryLayer};
use tower::timeout::TimeoutLayer;
use tower::util::{BoxCloneService, MapErrLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::agents::{any_token, bearing, verifier};
use crate::answer::{Answer, send};
use crate::inner::{Body, Broken, Inner};
use crate::ways::{Deploy, PATH, fixed, typed};

/// How often a request is retried.
const AGAIN: usize = 2;

/// A retry policy that repeats a request, optionally with its extensions.
#[derive(Clone)]
struct RepeatPolicy {
    left: usize,
    extensions: bool,
}

fn again(extensions: bool) -> RetryLayer<RepeatPolicy> {
    RetryLayer::new(RepeatPolicy {
        left: AGAIN,
        extensions,
    })
}

impl<R, E> Policy<Request<Body>, Response<R>, E> for RepeatPolicy {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        let failed = !matches!(result, Ok(response) if response.status().is_success());
        self.left = self.left.checked_sub(usize::from(failed))?;
        failed.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if self.extensions {
            return Some(request.clone());
        }
        let mut clone = Request::new(request.body().clone());
        *clone.method_mut() = request.method().clone();
        *clone.uri_mut() = request.uri().clone();
        *clone.headers_mut() = request.headers().clone();
        Some(clone)
    }
}

/// An inner service that always fails.
fn failing() -> Inner {
    Inner::answering(|_| Err(Broken))
}

/// An inner service that takes the permit, and always fails.
fn taking() -> Inner {
    Inner::answering(|request: Request<Body>| {
        let slot = request.extensions().get::<PermitSlot>();
        match slot.and_then(PermitSlot::take) {
            Some(_) => Err(Broken),
            None => Ok(Response::builder()
                .status(500)
                .body("no permit".into())
                .unwrap()),
        }
    })
}

fn allowing() -> Arc<MockAuthority> {
    Arc::new(MockAuthority::new().allow(ACTION))
}

fn permits(authority: &MockAuthority) -> usize {
    let calls = authority.calls();
    let verified = calls.iter().filter(|call| matches!(call, Call::Verify(_)));
    verified.count()
}

fn protect(
    authority: &Arc<MockAuthority>,
) -> ProtectLayer<Arc<MockAuthority>, atlasent_tower::RequestTarget> {
    ProtectLayer::new(Arc::clone(authority), fixed())
}

fn refused(answer: &Answer, inner: &Inner, authority: &MockAuthority) {
    answer.expect_refusal(500, "cannot authorize requests", "a retry inside");
    assert_eq!((inner.count(), permits(authority)), (0, 0));
}

#[test]
fn a_retry_outside_gets_a_permit_for_each_attempt() {
    for extensions in [true, false] {
        for inner in [failing(), taking()] {
            let authority = allowing();
            let service = (again(extensions), protect(&authority)).layer(inner.clone());
            let result = futures_executor::block_on(service.oneshot(bearing(PATH, any_token())));
            assert_eq!(result.map(|_| ()), Err(Broken));
            assert_eq!((inner.count(), permits(&authority)), (AGAIN + 1, AGAIN + 1));
        }
    }
}

#[test]
fn a_retry_directly_inside_is_refused_before_anything_is_asked() {
    for extensions in [true, false] {
        let (authority, inner) = (allowing(), failing());
        let service = (protect(&authority), again(extensions)).layer(inner.clone());
        refused(
            &send(service.clone(), bearing(PATH, any_token())),
            &inner,
            &authority,
        );
        // Also below other layers of `tower`.
        let service = ServiceBuilder::new()
            .layer(protect(&authority))
            .layer(MapErrLayer::new(|_: tower::BoxError| Broken))
            .layer(TimeoutLayer::new(Duration::from_secs(600)))
            .layer(again(extensions))
            .service(inner.clone());
        refused(
            &send(service, bearing(PATH, any_token())),
            &inner,
            &authority,
        );
        let service = (AtiLayer::new(verifier()), again(extensions));
        let service = (protect(&authority), service).layer(inner.clone());
        refused(
            &send(service, bearing(PATH, any_token())),
            &inner,
            &authority,
        );

        let methods = ProtectedMethods::new(Arc::clone(&authority));
        let methods = methods.method(PATH, Access::target(fixed()));
        let service = (methods, again(extensions)).layer(inner.clone());
        refused(
            &send(service, bearing(PATH, any_token())),
            &inner,
            &authority,
        );
        let service = (
            protect(&authority),
            TakePermitLayer::new(),
            again(extensions),
        );
        let service = service.layer(inner.clone());
        let answer = send(service, bearing(PATH, any_token()));
        answer.expect_refusal(500, "cannot authorize requests", "below the one that takes");
        assert_eq!(inner.count(), 0);
    }
}

/// Hides the type of the service.
fn boxed<R: 'static>(
    service: impl tower::Service<Request<Body>, Response = Response<R>, Error = Broken, Future: Send>
    + Clone
    + Send
    + 'static,
) -> BoxCloneService<Request<Body>, Response<R>, Broken> {
    service.boxed_clone()
}

#[test]
fn a_service_that_takes_its_permit_runs_once_whatever_repeats_the_call() {
    for extensions in [true, false] {
        let (authority, inner) = (allowing(), taking());
        let repeated = boxed(again(extensions).layer(inner.clone()));
        let answer = send(
            protect(&authority).layer(repeated),
            bearing(PATH, any_token()),
        );
        // The second call finds no permit.
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (500, b"no permit".as_slice())
        );
        assert_eq!((inner.count(), permits(&authority)), (AGAIN + 1, 1));
    }
}

#[test]
fn behind_the_layer_that_takes_the_permit_a_service_is_called_once() {
    for extensions in [true, false] {
        let (authority, inner) = (allowing(), failing());
        let repeated = (again(extensions), TakePermitLayer::new()).layer(inner.clone());
        let service = protect(&authority).layer(boxed(repeated));
        let answer = send(service.clone(), bearing(PATH, any_token()));
        answer.expect_refusal(500, "cannot authorize requests", "the second call");
        assert_eq!((inner.count(), permits(&authority)), (1, 1));
        // Another request gets its own permit.
        send(service, bearing(PATH, any_token()));
        assert_eq!((inner.count(), permits(&authority)), (2, 2));

        let methods = ProtectedMethods::new(Arc::clone(&authority));
        let methods = methods.method(PATH, Access::target(typed()));
        let taking = TakePermitLayer::<Deploy>::typed();
        let repeated = (again(extensions), taking).layer(inner.clone());
        let answer = send(methods.layer(boxed(repeated)), bearing(PATH, any_token()));
        answer.expect_refusal(
            500,
            "cannot authorize requests",
            "the second call of a method",
        );
        assert_eq!((inner.count(), permits(&authority)), (3, 3));
    }
}

#[test]
fn the_layer_that_takes_the_permit_passes_it_on_and_lets_nothing_through_without() {
    let inner = Inner::answering(|request: Request<Body>| {
        let slot = request.extensions().get::<PermitSlot>().unwrap();
        assert!(slot.take().is_some() && slot.take().is_none());
        Ok(Response::new("ran".into()))
    });
    let authority = allowing();
    let both = (protect(&authority), TakePermitLayer::new());
    let answer = send(both.layer(inner.clone()), bearing(PATH, any_token()));
    assert_eq!((answer.status.as_u16(), inner.count()), (200, 1));

    // No outer layer has obtained a permit, or only one for another type of action.
    let alone = TakePermitLayer::new().layer(inner.clone());
    let answer = send(alone, bearing(PATH, any_token()));
    answer.expect_refusal(500, "cannot authorize requests", "no layer outside");
    let other = (protect(&authority), TakePermitLayer::<Deploy>::typed());
    let answer = send(other.layer(inner.clone()), bearing(PATH, any_token()));
    answer.expect_refusal(500, "cannot authorize requests", "of another action");
    assert_eq!(inner.count(), 1);
}
