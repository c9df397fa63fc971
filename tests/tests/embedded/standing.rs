//! Tests that an outdated decision opens no body.

use std::time::Duration;

use atlasent::wire::StopScope;
use atlasent::{AuthorityExt, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use futures_executor::block_on;
use jiff::Timestamp;

use crate::support::{AGENT, Meddled, action, deploy, deploy_sync, now, permit_all, refusal};

type Between = fn(&LocalAuthority);

fn policies(authority: &LocalAuthority, text: &str) {
    now(authority.replace_policies(Policies::parse(text).unwrap()));
}

fn stop(authority: &LocalAuthority, scope: StopScope) {
    now(authority.stop(scope, "an alarm", None));
}

/// Changes between the two answers, and the code of the refusal.
const BETWEEN: [(Between, &str); 7] = [
    (
        |authority| policies(authority, "forbid (principal, action, resource);"),
        "POLICY_CHANGED",
    ),
    (
        |authority| {
            policies(
                authority,
                r#"@reason("another") permit (principal, action, resource);"#,
            );
        },
        "POLICY_CHANGED",
    ),
    (|authority| stop(authority, StopScope::all()), "STOPPED"),
    (
        |authority| stop(authority, StopScope::agent(AGENT).unwrap()),
        "STOPPED",
    ),
    (
        |authority| stop(authority, StopScope::action("deploy").unwrap()),
        "STOPPED",
    ),
    (
        |authority| {
            let stop = now(authority.stop(StopScope::all(), "an alarm", None));
            now(authority.lift_stop(&stop.id, "over"));
        },
        "STOPPED",
    ),
    (
        |authority| {
            now(authority.revoke_all(StopScope::all(), "a leak"));
        },
        "PERMIT_REVOKED",
    ),
];

/// Changes between the two answers that do not affect the permit.
const BESIDE: [Between; 4] = [
    |authority| {
        policies(
            authority,
            r#"permit (principal, action, resource);
            forbid (principal, action == Action::"drop", resource);"#,
        );
    },
    |authority| stop(authority, StopScope::agent("other-bot").unwrap()),
    |authority| stop(authority, StopScope::action("drop").unwrap()),
    |authority| {
        now(authority.revoke_issued_before(1, "long ago"));
    },
];

fn meddled(
    between: Between,
) -> Meddled<
    impl Fn(&mut atlasent::wire::EvaluateRequest) + Send + Sync,
    impl Fn(&LocalAuthority, &mut atlasent::wire::VerifyRequest) + Send + Sync,
> {
    Meddled {
        authority: LocalAuthority::in_memory(permit_all()).unwrap(),
        evaluate: |_: &mut atlasent::wire::EvaluateRequest| {},
        verify: move |authority: &LocalAuthority, _: &mut atlasent::wire::VerifyRequest| {
            between(authority);
        },
    }
}

fn code(error: &Error) -> Option<&str> {
    error.denied()?.code()
}

#[test]
fn what_changes_between_the_two_answers_keeps_the_body_shut() {
    for (place, (between, expected)) in BETWEEN.into_iter().enumerate() {
        let ran = Ran::default();
        let refused = [
            refusal(deploy(&meddled(between), &ran)),
            deploy_sync(&meddled(between), &ran).unwrap_err(),
            block_on(meddled(between).protect(AGENT, action())).unwrap_err(),
        ];
        for error in refused {
            assert_eq!(code(&error), Some(expected), "{place}: {error}");
        }
        assert_eq!(ran.count(), 0, "{place}");
    }
}

#[test]
fn what_does_not_concern_the_permit_does_not_shut_the_body() {
    for (place, between) in BESIDE.into_iter().enumerate() {
        let ran = Ran::default();
        now(deploy(&meddled(between), &ran));
        deploy_sync(&meddled(between), &ran).unwrap();
        assert_eq!(ran.count(), 2, "{place}");
    }
}

#[test]
fn a_stop_says_to_the_second_when_a_request_may_come_again() {
    let time = Timestamp::from_second(1_800_000_000).unwrap();
    let builder = LocalAuthority::builder(permit_all()).clock(move || time);
    let authority = now(builder.build());
    for (millis, seconds) in [(30_000, 30), (30_001, 31), (1, 1)] {
        let scope = StopScope::agent(AGENT).unwrap();
        let stop = now(authority.stop(
            scope,
            "an alarm",
            Some(time + Duration::from_millis(millis)),
        ));
        let refused = block_on(authority.protect(AGENT, action())).unwrap_err();
        let wait = refused.denied().unwrap().retry_after();
        assert_eq!(wait, Some(Duration::from_secs(seconds)), "{millis}");
        now(authority.lift_stop(&stop.id, "over"));
    }
}
