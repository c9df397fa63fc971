//! Tests that an outdated decision opens no body.

use atlasent::wire::StopScope;
use atlasent::{AuthorityExt, Error};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use futures_executor::block_on;

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
