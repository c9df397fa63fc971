//! Tests every fault of the authority, by every way to a handler, over sockets: no handler runs,
//! and the next request succeeds.

use std::time::Duration;

use atlasent::error::Code;
use atlasent::testing::MockAuthority;
use atlasent_tests::cases::{ACTION, Refusal, Says, evaluations, verifications};
use atlasent_tests::{Ran, quiet_panics};
use tokio::time::timeout;

use crate::agents::good_token;
use crate::asking::Answer;
use crate::stage::{Stage, by_every_way};

/// A script, and its meaning by the contract.
struct Fault {
    name: String,
    script: MockAuthority,
    says: Says,
}

/// Returns scripts with each answer to one call, and a good answer to the other. The tests of the
/// crates have all pairs, without sockets.
fn scripts() -> Vec<Fault> {
    let script = MockAuthority::new;
    let first = evaluations().into_iter().map(|case| Fault {
        name: case.name,
        script: script().on_evaluate(ACTION, case.reply),
        says: case.says,
    });
    let second = verifications().into_iter().map(|case| Fault {
        name: format!("allow, then {}", case.name),
        script: script().on_verify(ACTION, case.reply),
        says: case.says,
    });
    first.chain(second).collect()
}

fn expect_denied(answer: &Answer, refusal: &Refusal, case: &str) {
    let problem = answer.problem(403, case);
    assert_eq!(problem["decision"], refusal.decision.as_str(), "{case}");
    let reason = problem["reason"].as_str().unwrap();
    assert!(reason.starts_with(&refusal.reason), "{case}: {reason}");
    assert_eq!(problem["code"].as_str(), refusal.code.as_deref(), "{case}");
}

/// Returns the status for a failure: 503 if a retry may help, otherwise 500.
fn status_of(code: Code) -> u16 {
    match code {
        Code::InvalidApiKey | Code::Forbidden | Code::BadRequest => 500,
        _ => 503,
    }
}

/// Sends a request, and compares the result with the meaning of the script.
async fn check(stage: &Stage, fault: Fault, case: &str) {
    let before = stage.ran.count();
    stage.authority.follow(fault.script);
    let token = Some(good_token());
    match &fault.says {
        Says::Yes => {
            assert_eq!(stage.ask(token).await.body, "ran", "{case}");
            assert_eq!(stage.ran.count(), before + 1, "{case}");
            return;
        }
        Says::No(refusal) => expect_denied(&stage.ask(token).await, refusal, case),
        Says::Fails(code) => {
            stage.ask(token).await.problem(status_of(*code), case);
        }
        Says::Panics => {
            let broken = stage.try_ask(token).await;
            assert!(broken.is_err(), "{case}: {broken:?}");
        }
        Says::Never => {
            {
                // The waiting client disconnects once the call is in progress.
                let asking = stage.try_ask(token);
                tokio::select! {
                    answer = asking => panic!("{case}: {answer:?}"),
                    () = stage.authority.until_asked_for_good() => {}
                }
            }
            stage.authority.until_open(0).await;
        }
    }
    assert_eq!(stage.ran.count(), before, "{case}");
}

#[tokio::test]
async fn a_handler_runs_only_on_two_genuine_answers() {
    quiet_panics();
    let asked = Ran::new();
    by_every_way(async |stage| {
        for fault in scripts() {
            let case = format!("{}, {}", stage.case, fault.name);
            let checked = timeout(Duration::from_secs(60), check(stage, fault, &case));
            assert!(checked.await.is_ok(), "{case}: this never ends");
            asked.hit();
        }
    })
    .await;
    println!("{} requests", asked.count());
    assert!(
        asked.count() > 5_000,
        "the matrix shrank to {} requests",
        asked.count()
    );
}
