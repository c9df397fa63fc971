//! Tests that a fault affects its own request only, not others of the same service and connection.

use atlasent::testing::{MockAuthority, Reply};
use atlasent_tests::cases::ACTION;
use atlasent_tests::quiet_panics;
use futures_util::poll;
use http::Version;

use crate::stage::{Stage, by_every_way};
use crate::wire::{Responding, Wire, soon};

fn panics() -> [MockAuthority; 2] {
    let script = MockAuthority::new;
    [
        script().on_evaluate(ACTION, Reply::Panic),
        script().on_verify(ACTION, Reply::Panic),
    ]
}

fn never_answers() -> MockAuthority {
    MockAuthority::new().on_verify(ACTION, Reply::Never)
}

/// Sends a request that waits for the authority.
async fn waiting(stage: &Stage, wire: &mut Wire) -> Responding {
    stage.authority.follow(never_answers());
    let response = wire.send(stage.request_on(wire));
    stage.authority.until_asked_for_good().await;
    response
}

async fn runs(stage: &Stage, wire: &mut Wire) {
    let before = stage.ran.count();
    stage.authority.follow(MockAuthority::new().allow(ACTION));
    let response = soon(wire.send(stage.request_on(wire))).await.unwrap();
    let found = (response.status().as_u16(), stage.ran.count());
    assert_eq!(found, (200, before + 1), "{}", stage.case);
}

#[tokio::test]
async fn an_authority_that_panics_breaks_one_request_and_no_other() {
    quiet_panics();
    by_every_way(async |stage| {
        let mut elsewhere = stage.connect().await;
        let mut other = waiting(stage, &mut elsewhere).await;
        let mut wire = stage.connect().await;
        for script in panics() {
            if stage.version == Version::HTTP_11 {
                // There the connection goes with its request.
                wire = stage.connect().await;
            }
            stage.authority.follow(script);
            let broken = soon(wire.send(stage.request_on(&wire))).await;
            assert!(broken.is_err(), "{}: {broken:?}", stage.case);
        }
        assert_eq!(stage.ran.count(), 0, "{}", stage.case);
        assert!(poll!(&mut other).is_pending(), "{}", stage.case);
        if stage.version == Version::HTTP_11 {
            wire = stage.connect().await;
        }
        runs(stage, &mut wire).await;
    })
    .await;
}

#[tokio::test]
async fn streams_of_one_connection_do_not_share_a_fault() {
    quiet_panics();
    by_every_way(async |stage| {
        if stage.version != Version::HTTP_2 {
            return;
        }
        let mut wire = stage.connect().await;
        let mut first = waiting(stage, &mut wire).await;
        for script in panics() {
            stage.authority.follow(script);
            assert!(soon(wire.send(stage.request_on(&wire))).await.is_err());
        }
        runs(stage, &mut wire).await;
        assert!(poll!(&mut first).is_pending(), "{}", stage.case);
        // If the client resets the stream, the call is dropped and the connection stays.
        drop(first);
        stage.authority.until_open(0).await;
        assert_eq!(stage.ran.count(), 1, "{}", stage.case);
        runs(stage, &mut wire).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_closes_its_connection_takes_its_questions_back() {
    by_every_way(async |stage| {
        for _ in 0..3 {
            let mut wire = stage.connect().await;
            let response = waiting(stage, &mut wire).await;
            drop((response, wire));
            stage.authority.until_open(0).await;
        }
        assert_eq!(stage.ran.count(), 0, "{}", stage.case);
        runs(stage, &mut stage.connect().await).await;
    })
    .await;
}
