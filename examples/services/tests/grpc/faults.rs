//! A record is reached after two genuine answers of the authority only: every answer, by every
//! method, on real sockets.

use std::sync::Arc;
use std::time::Duration;

use atlasent::error::Code;
use atlasent::testing::{MockAuthority, Reply};
use atlasent::text::Escaped;
use atlasent_tests::cases::{Case, Says, evaluations, verifications};
use atlasent_tests::quiet_panics;
use tokio::time::timeout;
use tonic::Status;

use crate::methods::{METHODS, Method, allowing, evaluating, framed, verifying};
use crate::raw::{anonymous_call, send};
use crate::stage::{AGENT, Stage, soon, token};

/// The time that a caller waits for an authority that never answers.
const PATIENCE: Duration = Duration::from_millis(20);

/// Whether the status fits the authority's answer.
fn agrees(status: &Status, says: &Says) -> bool {
    let code = i32::from(status.code());
    match says {
        Says::No(refusal) => {
            let decision = status.metadata().get("atlasent-decision");
            code == 7
                && decision.is_some_and(|word| word == refusal.decision.as_str())
                && status
                    .message()
                    .contains(&Escaped::new(&refusal.reason).to_string())
        }
        Says::Fails(Code::InvalidApiKey | Code::Forbidden | Code::BadRequest) => code == 13,
        Says::Fails(_) => code == 14,
        // The stream is reset. Clients report that under different names.
        Says::Panics => code != 0,
        Says::Yes | Says::Never => false,
    }
}

async fn check(authority: MockAuthority, says: &Says, name: &str) {
    let authority = Arc::new(authority);
    for method in METHODS {
        let name = format!("{name}, {method:?}");
        let stage = Stage::counted(authority.clone()).await;
        let token = token(AGENT);
        let call = method.call(stage.channel(), &token);
        match says {
            Says::Never => assert!(timeout(PATIENCE, call).await.is_err(), "{name}"),
            _ => {
                let status = soon(call).await.unwrap_err();
                assert!(agrees(&status, says), "{name}: {says:?}, {status:?}");
            }
        }
        if method.is_permitted_by_layer() {
            assert_eq!(stage.passed.count(), 0, "{name}");
        }
        assert_eq!(stage.accesses(), 0, "{name}");

        // Later calls are served whatever happened before.
        let health = send(
            stage.address,
            anonymous_call("/grpc.health.v1.Health/Check"),
            framed(&()),
        )
        .await;
        assert_eq!(health.code(), 0, "{name}");
        assert_eq!(stage.accesses(), 0, "{name}");
    }
}

/// The answers that permit nothing.
fn faults<T>(cases: Vec<Case<T>>) -> impl Iterator<Item = Case<T>> {
    let faults = cases.into_iter();
    faults.filter(|case| !matches!(case.says, Says::Yes))
}

#[tokio::test]
async fn no_method_reaches_a_record_after_an_evaluation_that_is_no_allow() {
    quiet_panics();
    let mut driven = 0;
    for case in faults(evaluations()) {
        check(evaluating(&case.reply), &case.says, &case.name).await;
        driven += METHODS.len();
    }
    assert!(driven >= 120, "the matrix shrank to {driven} calls");
}

#[tokio::test]
async fn no_method_reaches_a_record_after_a_verification_that_is_not_genuine() {
    quiet_panics();
    let mut driven = 0;
    for case in faults(verifications()) {
        check(verifying(&case.reply), &case.says, &case.name).await;
        driven += METHODS.len();
    }
    assert!(driven >= 400, "the matrix shrank to {driven} calls");
}

#[tokio::test]
async fn an_action_that_nobody_knows_of_is_refused() {
    let says = evaluations().into_iter().find_map(|case| match case.says {
        Says::No(mut refusal) => {
            refusal.reason = "not scripted".into();
            Some(Says::No(refusal))
        }
        _ => None,
    });
    check(MockAuthority::new(), &says.unwrap(), "not scripted").await;
}

#[tokio::test]
async fn two_genuine_answers_reach_a_record_once() {
    for method in METHODS {
        let stage = Stage::counted(Arc::new(allowing())).await;
        for calls in 1..=3 {
            assert!(
                soon(method.call(stage.channel(), &token(AGENT)))
                    .await
                    .is_ok()
            );
            assert_eq!((stage.passed.count(), stage.accesses()), (calls, calls));
        }
    }
}

#[tokio::test]
async fn a_panic_ends_its_own_call_and_no_other_of_the_connection() {
    quiet_panics();
    let authority = evaluating(&Reply::Panic).allow(Method::Modify.action());
    let stage = Stage::counted(Arc::new(authority)).await;
    let channel = stage.channel();
    for _ in 0..3 {
        let read = soon(Method::Read.call(channel.clone(), &token(AGENT))).await;
        let modify = soon(Method::Modify.call(channel.clone(), &token(AGENT))).await;
        assert!(read.is_err() && modify.is_ok());
    }
    assert_eq!((stage.passed.count(), stage.accesses()), (3, 3));
}
