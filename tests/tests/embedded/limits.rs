//! Tests that no body runs beyond a limit of the organization.

use std::error::Error as _;
use std::num::NonZeroU64;

use atlasent::{Agent, Authority, Error};
use atlasent_authority::{LocalAuthority, StorageLimit};
use atlasent_tests::Ran;

use crate::support::{Meddled, deploy, deploy_sync, now, permit_all, refusal, request};

const LIMIT: NonZeroU64 = NonZeroU64::new(5).unwrap();

/// Issues a permit to another agent than the one of the bodies.
fn occupy(authority: &LocalAuthority, number: u64) -> Option<atlasent::wire::PermitToken> {
    let mut request = request();
    request.actor_id = Agent::new(format!("bot-{number}")).unwrap();
    now(authority.evaluate(&request)).permit_token
}

/// Calls both bodies, and returns how many ran.
fn bodies(authority: &impl Authority) -> (u64, Vec<Error>) {
    let ran = Ran::new();
    let results = [
        futures_executor::block_on(deploy(authority, &ran)),
        deploy_sync(authority, &ran),
    ];
    let errors = results.into_iter().filter_map(Result::err).collect();
    (ran.count() as u64, errors)
}

#[test]
fn no_body_runs_while_the_organization_has_as_many_unused_permits_as_it_may_have() {
    let authority = now(LocalAuthority::builder(permit_all())
        .max_permits(LIMIT)
        .build());
    let tokens: Vec<_> = (0..LIMIT.get())
        .map(|number| {
            // A body uses its permit up, so it leaves the room that it took.
            assert_eq!(bodies(&authority).0, 2);
            occupy(&authority, number).unwrap()
        })
        .collect();
    let (ran, errors) = bodies(&authority);
    assert_eq!((ran, errors.len()), (0, 2));
    for error in errors {
        let code = error.denied().unwrap().code();
        assert_eq!(code, Some("ORGANIZATION_PERMIT_LIMIT"), "{error}");
    }
    assert_eq!(occupy(&authority, 99), None);
    assert!(now(authority.revoke(&tokens[0], "unused")).revoked);
    assert_eq!(bodies(&authority).0, 2);
    assert!(now(authority.trail()).verify().is_intact());
}

#[test]
fn no_body_runs_beyond_the_limit_of_events() {
    for limit in 1..12 {
        let limit = NonZeroU64::new(limit).unwrap();
        let authority = now(LocalAuthority::builder(permit_all())
            .max_events(limit)
            .build());
        let calls: Vec<_> = (0..4).map(|_| bodies(&authority)).collect();
        let ran: u64 = calls.iter().map(|(ran, _)| ran).sum();
        // The start is one event, and each body three.
        assert_eq!(ran, ((limit.get() + 1) / 3).min(8));
        let errors: Vec<_> = calls.into_iter().flat_map(|(_, errors)| errors).collect();
        assert_eq!(errors.len() as u64, 8 - ran);
        for error in errors {
            assert!(matches!(error, Error::Failed(_)), "{error:?}");
            assert!(error.source().unwrap().is::<StorageLimit>(), "{error:?}");
        }
        assert_eq!(now(authority.trail()).events.len() as u64, 1 + 3 * ran);
    }
}

#[test]
fn a_permit_that_was_granted_before_the_trail_was_full_still_opens_its_body() {
    let authority = now(LocalAuthority::builder(permit_all())
        .max_events(LIMIT)
        .build());
    let meddled = Meddled {
        authority,
        evaluate: |_: &mut _| {},
        // Other requests fill the trail between the answers.
        verify: |authority: &LocalAuthority, _: &mut _| {
            while futures_executor::block_on(authority.evaluate(&request())).is_ok() {}
        },
    };
    let ran = Ran::new();
    now(deploy(&meddled, &ran));
    assert_eq!(ran.count(), 1);
    refusal(deploy(&meddled, &ran));
    assert_eq!(ran.count(), 1);
}
