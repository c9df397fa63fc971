//! The limits of an organization hold in every store, whatever shares it.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use atlasent::wire::{EvaluateRequest, VerifyRequest};
use atlasent::{Agent, Authority};
use atlasent_authority::store::{OrgId, Organizations, Store};
use atlasent_authority::{LocalAuthority, StorageLimit};

use crate::media::Medium;
use crate::support::{Time, at, intact, permit_all, permits_of_a_crowd, request};

const LIMIT: NonZeroU64 = NonZeroU64::new(7).unwrap();

fn request_by(number: usize) -> EvaluateRequest {
    let mut request = request();
    request.actor_id = Agent::new(format!("bot-{number}")).unwrap();
    request
}

pub(crate) async fn many_at_once_get_no_more_permits_than_the_organization_may_have(
    medium: impl Medium,
) {
    let (time, store) = (Time::default(), medium.open().await);
    let org: OrgId = store.status().await.unwrap().head.org_id.parse().unwrap();
    let mut authorities = Vec::new();
    for _ in 0..2 {
        let authority = LocalAuthority::builder(permit_all())
            .store(store.organization(&org))
            .clock(time.clone().clock())
            .permit_ttl(Duration::from_secs(60))
            .max_permits(LIMIT)
            .build();
        authorities.push(Arc::new(authority.await.unwrap()));
    }
    let ask_all = || permits_of_a_crowd(&authorities, request_by, "ORGANIZATION_PERMIT_LIMIT");
    let tokens = ask_all().await;
    assert_eq!(tokens.len(), 7);
    assert_eq!(ask_all().await.len(), 0);
    // Each permit leaves room for one, at whichever authority it is used or revoked.
    for (number, token) in &tokens[..3] {
        let question = VerifyRequest::restating(&request_by(*number), token.clone());
        let verified = authorities[1].verify(&question).await.unwrap();
        assert!(verified.valid, "{verified:?}");
    }
    let (_, token) = &tokens[3];
    assert!(authorities[0].revoke(token, "why").await.unwrap().revoked);
    assert_eq!(ask_all().await.len(), 4);
    // So do permits that expire.
    time.set(62);
    assert_eq!(ask_all().await.len(), 7);
    intact(&store).await;
}

pub(crate) async fn archived_events_do_not_count_towards_the_limit_of_events(medium: impl Medium) {
    let (time, store) = (Time::default(), medium.open().await);
    let dropped = store.status().await.unwrap().head.sequence;
    let authority = LocalAuthority::builder(permit_all())
        .store(store)
        .clock(time.clone().clock())
        .max_events(LIMIT)
        .build();
    let authority = authority.await.unwrap();
    let keys = atlasent_authority::signing::KeyRing::in_memory().unwrap();
    let ask = || async {
        match authority.evaluate(&request()).await {
            Ok(answer) => answer.decision.is_allow(),
            Err(error) => {
                let source = std::error::Error::source(&error);
                assert!(source.unwrap().is::<StorageLimit>(), "{error:?}");
                false
            }
        }
    };
    assert_eq!(dropped, 0);
    for round in 1..4 {
        time.set(10 * round);
        let mut allowed = 0;
        while ask().await {
            allowed += 1;
        }
        // The start in the first round, and the event of the archiving in later ones.
        assert_eq!(allowed, 6);
        assert!(!ask().await);
        let archived = authority.archive(at(10 * round + 1), &keys, |_, _, _| Ok(()));
        let archived = archived.await.unwrap().unwrap();
        assert_eq!(archived.last - archived.first + 1, 7);
        assert_eq!(intact(authority.store()).await, 1);
    }
}
