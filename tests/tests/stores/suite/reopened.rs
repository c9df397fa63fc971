//! A store that is opened again has every acknowledged change.

use atlasent::Authority;
use atlasent_authority::store::{Changeset, PermitState, Store};
use atlasent_authority::trail::EventFilter;

use super::replays::{ALICE, ask, named};
use crate::media::Medium;
use crate::support::{Time, at, intact, issue, numbers, question, record, state, token};

pub(crate) async fn everything_is_found_again(medium: impl Medium) {
    let store = medium.open().await;
    for number in 0..20 {
        issue(&store, &number.to_string(), at(number))
            .await
            .unwrap();
    }
    let drop_some = |changeset: &mut Changeset<'_>| changeset.drop_events(5);
    store.commit(at(20), Vec::new(), drop_some).await.unwrap();
    let before = store.status().await.unwrap();
    drop(store);

    let store = medium.open().await;
    assert_eq!(store.status().await.unwrap(), before);
    assert_eq!(intact(&store).await, 15);
    assert_eq!(numbers(&store, 0, 1, EventFilter::default()).await, [6]);
    for number in 0..20 {
        assert_eq!(
            state(&store, &number.to_string()).await,
            Some(PermitState::Issued)
        );
    }
    // The chain's time continues where it was.
    let next = record(&store, "policy.loaded", None, at(0)).await;
    assert_eq!(next.sequence, 21);
    assert_eq!(intact(&store).await, 16);
}

pub(crate) async fn an_answer_can_be_had_again(medium: impl Medium) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let request = named("deploy", "1");
    let (first, _) = ask(&authority, ALICE, &request).await.unwrap();
    drop(authority);
    let authority = medium.authority(&time).await;
    assert_eq!(
        ask(&authority, ALICE, &request).await.unwrap(),
        (first, true)
    );
}

pub(crate) async fn a_permit_that_was_used_stays_used(medium: impl Medium) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let (used, other) = (token(&authority).await, token(&authority).await);
    assert!(authority.verify(&question(&used)).await.unwrap().valid);
    drop(authority);
    let authority = medium.authority(&time).await;
    assert!(!authority.verify(&question(&used)).await.unwrap().valid);
    assert!(authority.verify(&question(&other)).await.unwrap().valid);
    intact(authority.store()).await;
}
