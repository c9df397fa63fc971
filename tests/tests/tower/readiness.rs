//! Tests that the inner service is called only when it is ready.

use std::sync::Arc;
use std::task::{Context, Poll};

use atlasent::testing::MockAuthority;
use atlasent_tests::cases::ACTION;
use atlasent_tower::{Access, AtiLayer, ProtectLayer, ProtectedMethods};
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};

use crate::agents::{any_token, bearing, request, verifier};
use crate::answer::send;
use crate::inner::{Answering, Body, Broken, Inner};
use crate::ways::{Boxed, PATH, boxed, fixed, ways};

type Around = fn(Inner) -> Boxed;

/// Every way, and two services that never ask the authority: an `AtiLayer` alone, and a public
/// method.
fn services(inner: &Inner) -> Vec<(&'static str, Boxed, Request<Body>)> {
    let mut services: Vec<_> = ways::<MockAuthority>()
        .into_iter()
        .map(|way| {
            let authority = Arc::new(MockAuthority::new().allow(ACTION));
            (
                way.name,
                (way.around)(authority, inner.clone()),
                (way.request)(),
            )
        })
        .collect();
    let others: [(&str, Around); 2] = [
        ("a token", |inner| {
            boxed(AtiLayer::new(verifier()).layer(inner))
        }),
        ("a public method", |inner| {
            let methods = ProtectedMethods::new(MockAuthority::new());
            boxed(methods.method(PATH, Access::public()).layer(inner))
        }),
    ];
    for (name, around) in others {
        services.push((name, around(inner.clone()), bearing(PATH, any_token())));
    }
    services
}

async fn ready_call<S: Service<Request<Body>>>(
    service: &mut S,
    request: Request<Body>,
) -> S::Future {
    let Ok(ready) = service.ready().await else {
        panic!("not ready");
    };
    ready.call(request)
}

#[test]
fn a_service_can_be_called_each_time_that_it_is_ready() {
    futures_executor::block_on(async {
        let inner = Inner::new();
        for (name, mut service, request) in services(&inner) {
            let before = inner.count();
            for call in 1..=3 {
                let response = ready_call(&mut service, request.clone()).await.await;
                assert_eq!(response.unwrap().status(), 200, "{name}");
                assert_eq!(inner.count(), before + call, "{name}");
            }
        }
    });
}

#[test]
fn calls_on_their_way_at_the_same_time_each_have_their_own_readiness() {
    futures_executor::block_on(async {
        let inner = Inner::new();
        for (name, mut service, request) in services(&inner) {
            let before = inner.count();
            let first = ready_call(&mut service, request.clone()).await;
            let second = ready_call(&mut service, request.clone()).await;
            let mut clone = service.clone();
            let third = ready_call(&mut clone, request).await;
            // In reverse order: no future depends on another.
            for future in [third, second, first] {
                assert_eq!(future.await.unwrap().status(), 200, "{name}");
            }
            assert_eq!(inner.count(), before + 3, "{name}");
        }
    });
}

#[test]
fn a_service_that_refused_lets_the_next_one_through() {
    futures_executor::block_on(async {
        let inner = Inner::new();
        for (name, mut service, good) in services(&inner) {
            let before = inner.count();
            let bad = bearing(&format!("{PATH}/../x"), "not.a.token");
            let refused = ready_call(&mut service, bad).await.await.unwrap();
            assert!(refused.status().is_client_error(), "{name}");
            let response = ready_call(&mut service, good).await.await.unwrap();
            assert_eq!(
                (response.status().as_u16(), inner.count()),
                (200, before + 1),
                "{name}"
            );
        }
    });
}

#[test]
#[should_panic(expected = "called before it was ready")]
fn a_call_without_readiness_is_noticed() {
    let mut service = AtiLayer::new(verifier()).optional().layer(Inner::new());
    drop(service.call(request(PATH)));
}

#[test]
#[should_panic(expected = "called before it was ready")]
fn a_call_without_readiness_is_noticed_behind_a_permit() {
    let authority = MockAuthority::new().allow(ACTION);
    let mut service = ProtectLayer::new(authority, fixed()).layer(Inner::new());
    let _ = futures_executor::block_on(service.call(request(PATH)));
}

/// A layer with a common mistake.
struct MistakenService {
    inner: Inner,
    mistake: Mistake,
}

#[derive(Clone, Copy)]
enum Mistake {
    CallsAFreshClone,
    IsAlwaysReady,
    CallsTwice,
}

impl Service<Request<Body>> for MistakenService {
    type Response = Response<Body>;
    type Error = Broken;
    type Future = Answering;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.mistake {
            Mistake::IsAlwaysReady => Poll::Ready(Ok(())),
            Mistake::CallsAFreshClone | Mistake::CallsTwice => self.inner.poll_ready(context),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let mut inner = match self.mistake {
            Mistake::CallsAFreshClone => self.inner.clone(),
            Mistake::IsAlwaysReady => return self.inner.call(request),
            Mistake::CallsTwice => {
                let clone = self.inner.clone();
                std::mem::replace(&mut self.inner, clone)
            }
        };
        Box::pin(async move {
            inner.call(request.clone()).await?;
            inner.call(request).await
        })
    }
}

/// Calls a service whose layer has this mistake.
fn call_mistaken(mistake: Mistake) {
    send(
        MistakenService {
            inner: Inner::new(),
            mistake,
        },
        request(PATH),
    );
}

#[test]
#[should_panic(expected = "called before it was ready")]
fn a_layer_that_calls_a_fresh_clone_is_noticed() {
    call_mistaken(Mistake::CallsAFreshClone);
}

#[test]
#[should_panic(expected = "called before it was ready")]
fn a_layer_that_is_always_ready_is_noticed() {
    call_mistaken(Mistake::IsAlwaysReady);
}

#[test]
#[should_panic(expected = "called before it was ready")]
fn a_layer_that_calls_twice_is_noticed() {
    call_mistaken(Mistake::CallsTwice);
}
