//! Tests invalid permits end to end: the body does not run.

use std::time::Duration;

use atlasent::error::{Code, PermitOutcome};
use atlasent::wire::{EvaluateRequest, PermitToken, VerifyRequest};
use atlasent::{Agent, Authority, AuthorityExt, Decision, Error};
use atlasent_authority::{LocalAuthority, MemoryStore};
use atlasent_tests::{Driven, Ran, drive};

use crate::support::{
    AGENT, Meddled, Time, TwoSteps, action, deploy, deploy_sync, now, permit_all, refusal, request,
};

fn authority() -> LocalAuthority {
    LocalAuthority::in_memory(permit_all()).unwrap()
}

/// Calls the async and the sync body, and returns why they did not run.
fn refused_twice(authority: &impl Authority) -> [Error; 2] {
    let ran = Ran::new();
    let errors = [
        refusal(deploy(authority, &ran)),
        deploy_sync(authority, &ran).unwrap_err(),
    ];
    assert_eq!(ran.count(), 0);
    errors
}

#[test]
fn a_permit_of_its_own_opens_each_body_once() {
    let authority = authority();
    let ran = Ran::new();
    for expected in 1..=10 {
        now(deploy(&authority, &ran));
        deploy_sync(&authority, &ran).unwrap();
        assert_eq!(ran.count(), 2 * expected);
    }
}

#[test]
fn a_permit_that_expires_between_the_answers_opens_nothing() {
    // The clock advances by `step` seconds between the answers, and permits live for 60 seconds.
    for (step, runs) in [(59, true), (60, false), (61, false), (86_400, false)] {
        let authority = now(LocalAuthority::builder(permit_all())
            .permit_ttl(Duration::from_secs(60))
            .clock(Time::default().stepping(step))
            .build());
        let authority = TwoSteps(authority);
        if runs {
            let ran = Ran::new();
            now(deploy(&authority, &ran));
            assert_eq!(ran.count(), 1);
        } else {
            for error in refused_twice(&authority) {
                assert!(error.denied().unwrap().is_expired(), "{error}");
            }
        }
    }
}

#[test]
fn a_permit_without_a_life_opens_nothing() {
    let authority = now(LocalAuthority::builder(permit_all())
        .permit_ttl(Duration::ZERO)
        .build());
    for error in refused_twice(&authority) {
        assert!(error.denied().unwrap().is_expired(), "{error}");
    }
}

#[test]
fn a_clock_that_is_set_back_revives_no_permit() {
    let time = Time::default();
    time.set(1_000);
    let authority = now(LocalAuthority::builder(permit_all())
        .permit_ttl(Duration::from_secs(60))
        .clock(time.stepping(0))
        .build());
    let token = now(authority.evaluate(&request())).permit_token.unwrap();
    let question = VerifyRequest::restating(&request(), token);
    time.set(1_060);
    let expired = now(authority.verify(&question)).permit_outcome();
    assert_eq!(expired, Some(PermitOutcome::Expired));
    time.set(1_000);
    let still = now(authority.verify(&question)).permit_outcome();
    assert_eq!(still, Some(PermitOutcome::Expired));
}

#[test]
fn a_permit_that_is_revoked_between_the_answers_opens_nothing() {
    let meddled = Meddled {
        authority: authority(),
        evaluate: |_: &mut _| {},
        verify: |authority: &LocalAuthority, question: &mut VerifyRequest| {
            let revocation = now(authority.revoke(&question.permit_token, "too fast"));
            assert!(revocation.revoked);
        },
    };
    for error in refused_twice(&meddled) {
        assert!(error.denied().unwrap().is_revoked(), "{error}");
    }
}

#[test]
fn a_permit_that_was_verified_before_opens_nothing() {
    let meddled = Meddled {
        authority: authority(),
        evaluate: |_: &mut _| {},
        verify: |authority: &LocalAuthority, question: &mut VerifyRequest| {
            assert!(now(authority.verify(question)).valid);
        },
    };
    for error in refused_twice(&meddled) {
        assert!(error.denied().unwrap().is_consumed(), "{error}");
    }
}

#[test]
fn a_token_that_was_never_issued_opens_nothing() {
    for token in [
        "permit_ffff".to_owned(),
        format!("permit_{}", "0".repeat(64)),
        "x".repeat(8 * 1024),
    ] {
        let meddled = Meddled {
            authority: authority(),
            evaluate: |_: &mut _| {},
            verify: move |_: &LocalAuthority, question: &mut VerifyRequest| {
                question.permit_token = PermitToken::new(token.clone()).unwrap();
            },
        };
        for error in refused_twice(&meddled) {
            assert!(error.denied().unwrap().is_not_found(), "{error}");
        }
    }
}

#[test]
fn a_token_is_taken_whole_and_exactly() {
    let changes: [fn(&str) -> String; 5] = [
        |token| token.to_uppercase(),
        |token| token.chars().skip(1).collect(),
        |token| format!("{token}0"),
        |token| format!(" {token}"),
        |token| format!("{token}\n"),
    ];
    for change in changes {
        let authority = authority();
        let token = now(authority.evaluate(&request())).permit_token.unwrap();
        let near = PermitToken::new(change(token.expose())).unwrap();
        let answer = now(authority.verify(&VerifyRequest::restating(&request(), near)));
        assert_eq!(answer.permit_outcome(), Some(PermitOutcome::NotFound));
        // A wrong guess does not use up the permit.
        assert!(now(authority.verify(&VerifyRequest::restating(&request(), token))).valid);
    }
}

#[test]
fn an_empty_token_opens_nothing() {
    let question = VerifyRequest::restating(&request(), PermitToken::new("").unwrap());
    let answer = now(authority().verify(&question));
    assert!(!answer.valid);
    assert_eq!(answer.verify_error_code.as_deref(), Some("MISSING_PERMIT"));
}

#[test]
fn a_permit_that_was_issued_for_something_else_opens_nothing() {
    type Change = fn(&mut EvaluateRequest);
    let cases: [(Change, &str); 4] = [
        (
            |r| r.actor_id = Agent::new("intern").unwrap(),
            "ACTOR_MISMATCH",
        ),
        (
            |r| r.action_type = "deploy.preview".into(),
            "ACTION_TYPE_MISMATCH",
        ),
        (
            |r| r.context.insert("commit", "4f2a").unwrap(),
            "EXECUTION_HASH_MISMATCH",
        ),
        (
            |r| r.context.insert("environment", "staging").unwrap(),
            "EXECUTION_HASH_MISMATCH",
        ),
    ];
    for (change, code) in cases {
        let meddled = Meddled {
            authority: authority(),
            evaluate: change,
            verify: |_: &LocalAuthority, _: &mut VerifyRequest| {},
        };
        for error in refused_twice(&meddled) {
            let denied = error.denied().unwrap();
            assert_eq!(denied.code(), Some(code), "{error}");
            assert_eq!(denied.decision(), Decision::Deny);
        }
    }
}

#[test]
fn a_permit_that_is_presented_for_something_else_is_burnt() {
    type Change = fn(&mut VerifyRequest);
    let cases: [(Change, &str); 5] = [
        (|q| q.actor_id = Agent::new("intern").ok(), "ACTOR_MISMATCH"),
        (
            |q| q.action_type = Some("deploy.preview".into()),
            "ACTION_TYPE_MISMATCH",
        ),
        (
            |q| q.execution_hash = Some("0".repeat(64).into()),
            "EXECUTION_HASH_MISMATCH",
        ),
        (
            |q| q.environment = Some("staging".into()),
            "ENVIRONMENT_MISMATCH",
        ),
        (
            |q| q.require_approval = Some(true),
            "APPROVAL_LINKAGE_MISSING",
        ),
    ];
    for (change, code) in cases {
        let meddled = Meddled {
            authority: authority(),
            evaluate: |_: &mut _| {},
            verify: move |_: &LocalAuthority, question: &mut VerifyRequest| change(question),
        };
        for error in refused_twice(&meddled) {
            assert_eq!(error.denied().unwrap().code(), Some(code), "{error}");
        }

        let token = now(meddled.authority.evaluate(&request())).permit_token;
        let good = VerifyRequest::restating(&request(), token.unwrap());
        let mut bad = good.clone();
        change(&mut bad);
        assert!(!now(meddled.authority.verify(&bad)).valid);
        let answer = now(meddled.authority.verify(&good));
        assert_eq!(answer.permit_outcome(), Some(PermitOutcome::Consumed));
    }
}

#[test]
fn a_shadow_evaluation_mints_nothing() {
    let shadow = request().shadow(true);
    let evaluation = now(authority().evaluate(&shadow));
    assert_eq!(evaluation.decision, Decision::Allow);
    assert_eq!(
        (evaluation.permit_token, evaluation.expires_at),
        (None, None)
    );

    let meddled = Meddled {
        authority: authority(),
        evaluate: |request: &mut EvaluateRequest| request.shadow = Some(true),
        verify: |_: &LocalAuthority, _: &mut VerifyRequest| panic!("there is nothing to verify"),
    };
    for error in refused_twice(&meddled) {
        assert_eq!(error.code(), Some(Code::BadResponse), "{error}");
    }
}

#[test]
fn a_request_for_an_approval_waits_for_somebody_who_can_give_one() {
    let authority = authority();
    let ran = Ran::new();
    let call = authority
        .ask(AGENT, action())
        .options(|options| options.require_approval(true))
        .with_permit(async |_permit| {
            ran.hit();
            Ok::<_, Error>(())
        });
    let error = refusal(call);
    let denied = error.denied().unwrap();
    assert_eq!(denied.decision(), Decision::Hold);
    assert_eq!(denied.code(), Some("APPROVAL_REQUIRED"));
    assert_eq!(ran.count(), 0);
}

#[test]
fn a_full_ledger_opens_nothing_until_a_permit_expires() {
    let time = Time::default();
    let authority = now(LocalAuthority::builder(permit_all())
        .permit_ttl(Duration::from_secs(60))
        .clock(time.stepping(0))
        .store(MemoryStore::with_limits(2, 100))
        .build());
    now(authority.evaluate(&request()));
    now(authority.evaluate(&request()));
    for error in refused_twice(&authority) {
        assert_eq!(error.code(), Some(Code::ServerError), "{error}");
    }
    let trail = now(authority.trail());
    assert!(trail.verify().is_intact());
    assert_eq!(trail.events.len(), 3, "what was not kept is not on record");

    time.set(60);
    let ran = Ran::new();
    assert!(matches!(
        drive(deploy(&authority, &ran), 1),
        Driven::Done(Ok(()))
    ));
    assert_eq!(ran.count(), 1);
}
