//! Permits that expired, or that another authority granted, on the way through layers and
//! extractors.

use std::sync::Arc;

use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{Evaluation, PermitToken, Verification};
use atlasent_axum::TakePermit;
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, TOKEN};
use atlasent_tower::{ProtectLayer, TakePermitLayer};
use axum::Router;
use axum::extract::State;
use axum::routing::any;
use http_body_util::BodyExt;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::agents::request;
use crate::answer::send;
use crate::inner::Inner;
use crate::ways::{PATH, fixed};

/// Grants permits that live for an hour, or that are over at once.
fn granting(active: bool) -> MockAuthority {
    let mut allow = Evaluation::allow(PermitToken::new(TOKEN).unwrap());
    let hour = if active { "01" } else { "00" };
    allow.expires_at = Some(format!("2026-01-01T{hour}:00:00Z"));
    let mut valid = Verification::valid();
    valid.timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    MockAuthority::new()
        .on_evaluate(ACTION, Reply::Answer(allow))
        .on_verify(ACTION, Reply::Answer(valid))
}

#[test]
fn the_layer_that_takes_permits_takes_no_expired_one() {
    for (active, status, ran) in [(true, 200, 1), (false, 403, 0)] {
        let inner = Inner::new();
        let layers = ServiceBuilder::new()
            .layer(ProtectLayer::new(granting(active), fixed()))
            .layer(TakePermitLayer::new());
        let answer = send(layers.service(inner.clone()), request(PATH));
        assert_eq!((answer.status.as_u16(), inner.count()), (status, ran));
        if !active {
            assert_eq!(answer.problem()["code"], "PERMIT_EXPIRED");
        }
    }
}

#[test]
fn the_extractor_takes_no_expired_permit() {
    for (active, status, ran) in [(true, 200, 1), (false, 403, 0)] {
        let count = Arc::new(Ran::new());
        let handler = async |State(ran): State<Arc<Ran>>, _: TakePermit| ran.hit();
        let app = Router::new()
            .route(PATH, any(handler))
            .route_layer(ProtectLayer::new(granting(active), fixed()))
            .with_state(Arc::clone(&count));
        let request =
            request(PATH).map(|body| axum::body::Body::new(body.map_err(|never| match never {})));
        let response = futures_executor::block_on(app.oneshot(request)).unwrap();
        assert_eq!((response.status().as_u16(), count.count()), (status, ran));
    }
}

#[test]
fn the_layer_that_takes_permits_can_name_their_authority() {
    let authority = Arc::new(MockAuthority::new().allow(ACTION));
    let another = MockAuthority::new().allow(ACTION);
    for (takes, status, ran) in [
        (Some(&*authority), 200, 1),
        (Some(&another), 403, 0),
        (None, 200, 1),
    ] {
        let take = TakePermitLayer::new();
        let take = match takes {
            Some(authority) => take.granted_by(authority).unwrap(),
            None => take,
        };
        let inner = Inner::new();
        let protect = ProtectLayer::new(Arc::clone(&authority), fixed());
        let answer = send(
            protect.layer(take.clone().layer(inner.clone())),
            request(PATH),
        );
        assert_eq!((answer.status.as_u16(), inner.count()), (status, ran));
    }
    // The last one counts.
    let inner = Inner::new();
    let take = TakePermitLayer::new().granted_by(&*authority).unwrap();
    let take = take.granted_by(&another).unwrap();
    let protect = ProtectLayer::new(authority, fixed());
    assert_eq!(
        send(protect.layer(take.layer(inner.clone())), request(PATH)).status,
        403
    );
    assert_eq!(inner.count(), 0);
}
