//! Each way that a body can end, and what its receipt says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};

use atlasent::testing::{Call, MockAuthority};
use atlasent::wire::{Receipt, ReceiptOutcome};
use atlasent::{Authority, AuthorityExt, Error, Permit, blocking, protect};
use atlasent_tests::{Driven, drive, quiet_panics};
use futures_executor::block_on;

use crate::{AGENT, action};

/// How a body is to end.
#[derive(Clone, Copy, Debug)]
enum End {
    Returns,
    Fails,
    Panics,
    Hangs,
}

#[derive(Debug)]
enum Broken {
    Declined,
    Refused(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

async fn body(end: End) -> Result<u8, Broken> {
    match end {
        End::Returns => Ok(7),
        End::Fails => Err(Broken::Declined),
        End::Panics => panic!("scripted"),
        End::Hangs => std::future::pending().await,
    }
}

fn body_now(end: End) -> Result<u8, Broken> {
    block_on(body(end))
}

#[protect(action = "deploy", agent = "deploy-bot", authority = authority)]
async fn with_attribute(authority: &impl Authority, end: End) -> Result<u8, Broken> {
    body(end).await
}

#[protect(action = "deploy", agent = "deploy-bot", authority = authority)]
async fn with_parameter(
    authority: &impl Authority,
    end: End,
    permit: Permit,
) -> Result<u8, Broken> {
    drop(permit.into_action());
    body(end).await
}

#[protect(action = "deploy", agent = "deploy-bot", authority = authority)]
fn not_async(authority: &impl Authority, end: End) -> Result<u8, Broken> {
    body_now(end)
}

type Way = fn(&MockAuthority, End) -> Driven<Result<u8, Broken>>;

/// The ways to run a body that is async.
fn ways() -> [(&'static str, Way); 4] {
    [
        ("#[protect]", |authority, end| {
            drive(with_attribute(authority, end), 2)
        }),
        ("#[protect] with a permit", |authority, end| {
            drive(with_parameter(authority, end), 2)
        }),
        ("with_permit", |authority, end| {
            drive(
                authority.with_permit(AGENT, action(), async |_| body(end).await),
                2,
            )
        }),
        ("execution", |authority, end| {
            let call = async {
                let permit = authority.protect(AGENT, action()).await?;
                let execution = permit.execution();
                let result = body(end).await;
                let _ = execution.finish(result.is_err());
                result
            };
            drive(call, 2)
        }),
    ]
}

/// The ways to run a body that is not async.
fn blocking_ways() -> [(&'static str, Way); 2] {
    fn done(call: impl FnOnce() -> Result<u8, Broken>) -> Driven<Result<u8, Broken>> {
        catch_unwind(AssertUnwindSafe(call)).map_or(Driven::Panicked, Driven::Done)
    }
    [
        ("#[protect] fn", |authority, end| {
            done(|| not_async(authority, end))
        }),
        ("blocking::with_permit", |authority, end| {
            done(|| blocking::with_permit(authority, AGENT, action(), |_| body_now(end)))
        }),
    ]
}

/// Returns the one receipt that the authority got, after checking that it fits the permit.
fn receipt(authority: &MockAuthority, case: &str) -> Receipt {
    let mut receipts = authority.receipts();
    assert_eq!(receipts.len(), 1, "{case}");
    let calls = authority.calls();
    let Some(Call::Verify(verified)) = calls.last() else {
        panic!("{case}: nothing was verified");
    };
    let receipt = receipts.remove(0);
    assert_eq!(receipt.permit_token, verified.permit_token, "{case}");
    receipt
}

#[test]
fn each_body_that_ends_sends_one_receipt_of_how() {
    quiet_panics();
    let all = ways().into_iter().chain(blocking_ways());
    for (way, run) in all {
        for (end, outcome, error) in [
            (End::Returns, ReceiptOutcome::Completed, None),
            (End::Fails, ReceiptOutcome::Failed, None),
            (
                End::Panics,
                ReceiptOutcome::Failed,
                Some("the body panicked"),
            ),
        ] {
            let case = format!("{way}, {end:?}");
            let authority = MockAuthority::new().allow("deploy");
            let happened = run(&authority, end);
            match end {
                End::Returns => assert!(matches!(happened, Driven::Done(Ok(7))), "{case}"),
                End::Fails => assert!(
                    matches!(happened, Driven::Done(Err(Broken::Declined))),
                    "{case}"
                ),
                _ => assert!(matches!(happened, Driven::Panicked), "{case}"),
            }
            let receipt = receipt(&authority, &case);
            assert_eq!(receipt.outcome, outcome, "{case}");
            // The text of an error may hold values of a customer, so it is not sent.
            assert_eq!(receipt.error.as_deref(), error, "{case}");
            assert_eq!(receipt.result_hash, None, "{case}");
        }
    }
}

#[test]
fn a_dropped_future_sends_a_receipt_of_its_cancellation() {
    for (way, run) in ways() {
        let authority = MockAuthority::new().allow("deploy");
        assert!(matches!(run(&authority, End::Hangs), Driven::Pending));
        let receipt = receipt(&authority, way);
        assert_eq!(receipt.outcome, ReceiptOutcome::Cancelled, "{way}");
        assert_eq!(receipt.error, None, "{way}");
    }
}

#[test]
fn a_body_that_the_panic_of_another_drops_was_cancelled() {
    /// Polls a future that hangs, and drops it while the surrounding code panics.
    fn drop_by_a_panic(future: impl Future, polls: usize) {
        let unwound: std::thread::Result<()> = catch_unwind(AssertUnwindSafe(|| {
            let mut future = Box::pin(future);
            let mut context = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                assert!(future.as_mut().poll(&mut context).is_pending());
            }
            panic!("scripted");
        }));
        assert!(unwound.is_err());
    }

    quiet_panics();
    for polls in [1, 3] {
        let hangs = End::Hangs;
        for way in ["#[protect]", "#[protect] with a permit", "with_permit"] {
            let case = format!("{way}, {polls} polls");
            let authority = MockAuthority::new().allow("deploy");
            match way {
                "#[protect]" => drop_by_a_panic(with_attribute(&authority, hangs), polls),
                "with_permit" => drop_by_a_panic(
                    authority.with_permit(AGENT, action(), async |_| body(hangs).await),
                    polls,
                ),
                _ => drop_by_a_panic(with_parameter(&authority, hangs), polls),
            }
            let receipt = receipt(&authority, &case);
            assert_eq!(receipt.outcome, ReceiptOutcome::Cancelled, "{case}");
            assert_eq!(receipt.error, None, "{case}");
        }
    }
}

#[test]
fn a_body_that_did_not_run_sends_no_receipt() {
    let all = ways().into_iter().chain(blocking_ways());
    for (way, run) in all {
        let authority = MockAuthority::new().deny("deploy", "no");
        let Driven::Done(Err(Broken::Refused(error))) = run(&authority, End::Returns) else {
            panic!("{way} ran");
        };
        assert!(error.denied().is_some(), "{way}");
        assert!(authority.receipts().is_empty(), "{way}");
    }
}

#[test]
fn a_permit_without_an_execution_sends_no_receipt() {
    let authority = MockAuthority::new().allow("deploy");
    let permit = block_on(authority.protect(AGENT, action())).unwrap();
    drop(permit.into_action());
    assert!(authority.receipts().is_empty());
}

#[test]
fn of_two_executions_of_a_permit_the_first_sends_the_receipt() {
    let authority = MockAuthority::new().allow("deploy");
    let permit = block_on(authority.protect(AGENT, action())).unwrap();
    let (first, second) = (permit.execution(), permit.execution());
    let _ = second.finish(true);
    assert!(authority.receipts().is_empty());
    let _ = first.finish(false);
    drop(permit.execution());
    let receipt = receipt(&authority, "two");
    assert_eq!(receipt.outcome, ReceiptOutcome::Completed);
}

#[test]
fn a_receipt_goes_to_the_authority_that_granted_the_permit() {
    struct Wrapper<'a>(&'a MockAuthority);

    impl Authority for Wrapper<'_> {
        async fn evaluate(
            &self,
            request: &atlasent::wire::EvaluateRequest,
        ) -> Result<atlasent::wire::Evaluation, Error> {
            self.0.evaluate(request).await
        }

        async fn verify(
            &self,
            request: &atlasent::wire::VerifyRequest,
        ) -> Result<atlasent::wire::Verification, Error> {
            self.0.verify(request).await
        }
    }

    let authority = MockAuthority::new().allow("deploy");
    let ended = block_on(with_attribute(&Wrapper(&authority), End::Returns));
    assert!(matches!(ended, Ok(7)));
    receipt(&authority, "through a wrapper");
    let wrapped = atlasent::authority::WithIssuer::new(&authority);
    assert!(block_on(with_attribute(&wrapped, End::Returns)).is_ok());
    assert_eq!(authority.receipts().len(), 2);
}

#[test]
fn a_receipt_prints_no_token() {
    let authority = MockAuthority::new().allow("deploy");
    let permit = block_on(authority.protect(AGENT, action())).unwrap();
    let Some(Call::Verify(verified)) = authority.calls().into_iter().next_back() else {
        panic!("not verified");
    };
    let token = verified.permit_token.expose().to_owned();
    let execution = permit.execution().with_error(format!("{token} failed"));
    assert!(!format!("{execution:?} {permit:?}").contains(&token));
    let _ = execution.finish(true);
    let receipt = receipt(&authority, "token");
    assert!(!receipt.error.as_deref().unwrap().contains(&token));
    assert!(!format!("{receipt:?}").contains(&token));
}
