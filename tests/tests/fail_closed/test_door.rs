//! Tests that the features of a build open nothing: this package enables all of them.

use atlasent::authority::WithIssuer;
use atlasent::testing::{self, MockAuthority};
use atlasent::{Action, AuthorityExt, Error, Guarded, Permit, blocking, protect};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, AGENT};
use futures_executor::block_on;

#[derive(Action)]
#[action("deploy.production")]
struct Deploy;

/// Returns the authority of the service, which denies.
fn production() -> LocalAuthority {
    LocalAuthority::in_memory(Policies::parse("forbid (principal, action, resource);").unwrap())
        .unwrap()
}

#[test]
fn no_permit_that_testing_makes_opens_what_another_authority_guards() {
    let (production, ran) = (production(), Ran::new());
    let mock = MockAuthority::new().allow(ACTION);
    let permits: Vec<Permit<Deploy>> = vec![
        testing::permit(Deploy).unwrap(),
        block_on(mock.protect(AGENT, Deploy)).unwrap(),
        block_on(protect(&mock, AGENT, Deploy)).unwrap(),
        block_on(mock.gate(AGENT, Deploy)).unwrap().permit,
        block_on(mock.ask(AGENT, Deploy).protect()).unwrap(),
        block_on(mock.with_permit(AGENT, Deploy, async |permit| Ok::<_, Error>(permit))).unwrap(),
        blocking::protect(&mock, AGENT, Deploy).unwrap(),
        block_on(WithIssuer::new(&mock).protect(AGENT, Deploy)).unwrap(),
    ];
    let guarded = Guarded::granted_by(&production, &ran).unwrap();
    let by_default = Guarded::new(&ran);
    for permit in permits {
        assert!(permit.require_granted_by(&production).is_err());
        assert!(guarded.with(permit, |ran| ran.hit()).is_err());
        let permit = testing::permit(Deploy).unwrap();
        assert!(by_default.with(permit, |ran| ran.hit()).is_err());
    }
    assert_eq!(ran.count(), 0);
}

#[test]
fn a_mock_opens_what_a_test_locked_with_it() {
    let (mock, ran) = (MockAuthority::new().allow(ACTION), Ran::new());
    let guarded = Guarded::granted_by(&mock, &ran).unwrap();
    let permit = block_on(mock.protect(AGENT, Deploy)).unwrap();
    guarded.with(permit, |ran| ran.hit()).unwrap();
    assert_eq!(ran.count(), 1);
}
