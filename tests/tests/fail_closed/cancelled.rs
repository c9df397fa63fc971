//! Tests that a call that is dropped at any await point runs no body, and that a dropped body is
//! logged.

use std::pin::Pin;
use std::sync::Arc;

use atlasent::authority::DynAuthority;
use atlasent::{Authority, AuthorityExt, Error, protect};
use atlasent_tests::cases::AGENT;
use atlasent_tests::{Driven, Ran, Slow, capture, drive, logged_outcomes, yields};

use crate::paths::{AsyncPath, Boxed, action, async_paths};

fn check_every_await_point<P: Authority>(authority: &P, yields: usize) {
    for (path, ask) in async_paths::<P>() {
        for polls in 0..=2 * yields {
            let ran = Ran::new();
            let (happened, seen) = capture(|| drive(ask(authority, &ran), polls));
            assert!(
                matches!(happened, Driven::Pending),
                "{path} after {polls} polls"
            );
            assert_eq!(ran.count(), 0, "{path} after {polls} polls");
            assert!(
                logged_outcomes(&seen).is_empty(),
                "{path} after {polls} polls"
            );
        }
        let ran = Ran::new();
        let happened = drive(ask(authority, &ran), 2 * yields + 1);
        assert!(matches!(happened, Driven::Done(Ok(()))), "{path}");
        assert_eq!(ran.count(), 1, "{path}");
    }
}

#[test]
fn a_call_dropped_before_its_last_answer_runs_nothing() {
    for yields in 1..6 {
        check_every_await_point(&Slow { yields }, yields);
        let pointer: Arc<dyn DynAuthority> = Arc::new(Slow { yields });
        check_every_await_point(&pointer, yields);
    }
}

const BODY_YIELDS: usize = 3;

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority)]
async fn long<P: Authority>(authority: &P, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    yields(BODY_YIELDS).await;
    ran.hit();
    Ok(())
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority)]
fn long_boxed<'a, P: Authority>(
    authority: &'a P,
    ran: &'a Ran,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
    Box::pin(async move {
        ran.hit();
        yields(BODY_YIELDS).await;
        ran.hit();
        Ok(())
    })
}

fn long_with_permit<'a, P: Authority>(authority: &'a P, ran: &'a Ran) -> Boxed<'a> {
    Box::pin(authority.with_permit(AGENT, action(), async |_permit| {
        ran.hit();
        yields(BODY_YIELDS).await;
        ran.hit();
        Ok(())
    }))
}

#[test]
fn a_body_dropped_on_its_way_closes_as_cancelled_once() {
    let slow = Slow { yields: 2 };
    let paths: [AsyncPath<Slow>; 3] = [
        |p, ran| Box::pin(long(p, ran)),
        long_boxed,
        long_with_permit,
    ];
    for ask in paths {
        // Polls 1 to 4 end in the answers, 5 to 7 inside the body, and 8 completes the call.
        for polls in 0..=8 {
            let ran = Ran::new();
            let (happened, seen) = capture(|| drive(ask(&slow, &ran), polls));
            let (halves, outcomes): (usize, &[&str]) = match polls {
                0..=4 => (0, &[]),
                5..=7 => (1, &["cancelled"]),
                _ => (2, &["completed"]),
            };
            assert_eq!(ran.count(), halves, "after {polls} polls");
            assert_eq!(logged_outcomes(&seen), outcomes, "after {polls} polls");
            assert_eq!(matches!(happened, Driven::Done(Ok(()))), polls == 8);
        }
    }
}
