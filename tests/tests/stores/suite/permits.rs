//! A permit can be used once, by one of its holders.

use std::sync::Arc;

use atlasent::Authority;
use atlasent::error::PermitOutcome;
use atlasent_authority::store::{PermitState, Store};

use crate::media::Medium;
use crate::support::{CROWD, Time, at, crowd, intact, issue, one_passes, question, state, token};

pub(crate) async fn of_many_who_hold_one_permit_one_passes(medium: impl Medium) {
    let authority = Arc::new(medium.authority(&Time::default()).await);
    for _ in 0..4 {
        let token = token(&authority).await;
        one_passes(std::slice::from_ref(&authority), token).await;
    }
    assert_eq!(intact(authority.store()).await, 1 + 4 * (1 + CROWD as u64));
}

pub(crate) async fn a_permit_is_either_used_or_revoked(medium: impl Medium) {
    let authority = Arc::new(medium.authority(&Time::default()).await);
    for _ in 0..4 {
        let token = token(&authority).await;
        let won = crowd(|number| {
            let (authority, token) = (Arc::clone(&authority), token.clone());
            async move {
                if number % 2 == 0 {
                    authority.verify(&question(&token)).await.unwrap().valid
                } else {
                    authority.revoke(&token, "race").await.unwrap().revoked
                }
            }
        })
        .await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
    }
    intact(authority.store()).await;
}

pub(crate) async fn a_permit_is_known_as_expired_and_not_forgotten_before_its_time(
    medium: impl Medium,
) {
    let time = Time::default();
    let authority = medium.authority(&time).await;
    let (used, late) = (token(&authority).await, token(&authority).await);
    assert!(authority.verify(&question(&used)).await.unwrap().valid);
    // Half an hour after its expiry, and beside other permits.
    time.set(60 + 1_800);
    for _ in 0..50 {
        token(&authority).await;
    }
    let outcome = async |token| {
        authority
            .verify(&question(token))
            .await
            .unwrap()
            .permit_outcome()
    };
    assert_eq!(outcome(&used).await, Some(PermitOutcome::Consumed));
    assert_eq!(outcome(&late).await, Some(PermitOutcome::Expired));
    // With the count of the agent's permits, and the stops.
    assert_eq!(authority.store().status().await.unwrap().cells, 52 + 2);
}

pub(crate) async fn cells_whose_time_is_long_over_are_forgotten<M: Medium>(medium: M) {
    if !M::TIDIES {
        return;
    }
    let store = medium.open().await;
    for number in 0..100 {
        issue(&store, &number.to_string(), at(0)).await.unwrap();
    }
    // This permit was stored again, so it expires later than the others.
    issue(&store, "0", at(3_000)).await.unwrap();
    issue(&store, "at the hour", at(3_609)).await.unwrap();
    assert_eq!(store.status().await.unwrap().cells, 101);
    // A store may look for such cells now and then only.
    for number in 0..80 {
        issue(&store, &format!("late {number}"), at(3_611))
            .await
            .unwrap();
    }
    assert_eq!(store.status().await.unwrap().cells, 82);
    assert_eq!(state(&store, "0").await, Some(PermitState::Issued));
    assert_eq!(state(&store, "1").await, None);
}
