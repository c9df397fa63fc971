//! Tests when a refusal says that a retry may help, end to end.

use std::time::Duration;

use atlasent::{AnyAction, Authority, AuthorityExt, Decision, Denied};
use atlasent_authority::{LocalAuthority, Policies};

use crate::support::{AGENT, Time, action, now, permit_all, refusal, request};

const POLICIES: &str = r#"
    permit (principal, action == Action::"deploy", resource);

    @decision("hold") @reason("the change window opens soon") @retry_after("120")
    forbid (principal, action == Action::"deploy", resource) when { context.environment == "production" };

    @decision("hold") @retry_after("120")
    forbid (principal, action == Action::"drop", resource) when { context.missing };
"#;

fn denied(authority: &LocalAuthority, action: AnyAction) -> Denied {
    let error = refusal(authority.protect(AGENT, action));
    error.denied().unwrap().clone()
}

#[test]
fn a_policy_says_when_to_come_back() {
    let authority = LocalAuthority::in_memory(Policies::parse(POLICIES).unwrap()).unwrap();
    let wait = Some(Duration::from_secs(120));
    let evaluation = now(authority.evaluate(&request()));
    assert_eq!(
        (evaluation.decision, evaluation.retry_after),
        (Decision::Hold, wait)
    );
    let denied = denied(&authority, action());
    assert_eq!(
        (denied.decision(), denied.retry_after()),
        (Decision::Hold, wait)
    );
}

#[test]
fn what_no_policy_words_says_nothing_of_waiting() {
    let authority = LocalAuthority::in_memory(Policies::parse(POLICIES).unwrap()).unwrap();
    for (name, code) in [
        ("read", "UNKNOWN_ACTION"),
        ("drop", "POLICY_EVALUATION_ERROR"),
    ] {
        let denied = denied(&authority, AnyAction::new(name).unwrap());
        assert_eq!(
            (denied.code(), denied.retry_after()),
            (Some(code), None),
            "{name}"
        );
    }
}

#[test]
fn neither_an_allow_nor_a_permit_that_failed_says_anything_of_waiting() {
    let authority = now(LocalAuthority::builder(permit_all())
        .permit_ttl(Duration::ZERO)
        .clock(Time::default().stepping(1))
        .build());
    assert_eq!(now(authority.evaluate(&request())).retry_after, None);
    let denied = denied(&authority, action());
    assert!(denied.is_expired());
    assert_eq!(denied.retry_after(), None);
}
