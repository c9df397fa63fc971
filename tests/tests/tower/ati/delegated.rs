//! Tests that the authority hears who acts for an agent by a delegated token.

use std::sync::Arc;

use ati_client::{Claims, RateSpec, RateUnit, delegate, issue};
use atlasent::testing::{Call, MockAuthority};
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{Access, AtiLayer, ProtectLayer, ProtectedMethods, RequestTarget};
use http::StatusCode;
use tower::Layer;

use crate::agents::{agent, bearing, key, verifier};
use crate::answer::send;
use crate::inner::Inner;
use crate::ways::{PATH, boxed};

/// The token of a crawler that acts for a helper of the agent.
fn token(parent: &Claims) -> String {
    let helper = delegate(parent, "helper").scope("tool:*").build().unwrap();
    let crawler = delegate(&helper, "crawler").scope("tool:deploy");
    issue(&crawler.build().unwrap(), &key()).unwrap()
}

/// Returns the actors of the request that the authority got.
fn actors(authority: &MockAuthority) -> Vec<String> {
    let calls = authority.calls();
    let Some(Call::Evaluate(request)) = calls.first() else {
        panic!("the authority was not asked: {calls:?}");
    };
    let actors = request.actors.iter();
    actors.map(|actor| actor.as_str().to_owned()).collect()
}

#[test]
fn the_authority_hears_the_actors_of_the_token_on_every_way() {
    let token = token(&agent().scope("*").build().unwrap());
    let layers = |target: fn() -> RequestTarget| {
        let authority = Arc::new(MockAuthority::new().allow(ACTION));
        let inner = Inner::new();
        let protect = ProtectLayer::new(Arc::clone(&authority), target());
        let service = (AtiLayer::new(verifier()), protect).layer(inner.clone());
        let answer = send(boxed(service), bearing(PATH, &token));
        assert_eq!((answer.status, inner.seen().len()), (StatusCode::OK, 1));
        actors(&authority)
    };
    assert_eq!(
        layers(|| RequestTarget::action(ACTION)),
        ["crawler", "helper"]
    );
    assert_eq!(
        layers(|| RequestTarget::action(ACTION).agent(AGENT)),
        ["crawler", "helper"]
    );
    // The token says nothing of another agent.
    assert_eq!(
        layers(|| RequestTarget::action(ACTION).agent("service")),
        [""; 0]
    );

    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let methods = ProtectedMethods::new(Arc::clone(&authority))
        .authenticate(AtiLayer::new(verifier()))
        .method(PATH, Access::action(ACTION));
    let _ = send(boxed(methods.layer(Inner::new())), bearing(PATH, &token));
    assert_eq!(actors(&authority), ["crawler", "helper"]);
}

#[test]
fn a_delegate_s_calls_use_up_the_rate_of_its_agent() {
    let once = RateSpec::new(1, RateUnit::Day);
    let parent = agent()
        .scope("tool:*")
        .rate("tool:*", once)
        .build()
        .unwrap();
    let inner = Inner::new();
    let layer = AtiLayer::new(verifier()).scope("tool:deploy");
    let service = layer.layer(inner.clone());
    let own = issue(&parent, &key()).unwrap();
    for (token, status) in [
        (&token(&parent), StatusCode::OK),
        (&own, StatusCode::TOO_MANY_REQUESTS),
        (&token(&parent), StatusCode::TOO_MANY_REQUESTS),
    ] {
        assert_eq!(send(service.clone(), bearing(PATH, token)).status, status);
    }
    assert_eq!(inner.seen().len(), 1);
}
