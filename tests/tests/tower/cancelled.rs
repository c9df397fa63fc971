//! Tests clients that disconnect: the inner service is not called before the last answer, nothing
//! leaks, and a running execution is logged as cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Error};
use atlasent_tests::cases::TOKEN;
use atlasent_tests::{Driven, Slow, capture, drive, logged_outcomes, quiet_panics, yields};
use http::{Response, StatusCode};

use crate::answer::{ask, send};
use crate::inner::{Body, Broken, Inner};
use crate::ways::{Boxed, Way, ways};

/// How often the inner service is pending.
const RUNS: usize = 3;

fn long() -> Inner {
    Inner::running(|_| {
        Box::pin(async {
            yields(RUNS).await;
            Ok(Response::new("ran".into()))
        })
    })
}

/// A service in one of the ways, and what could be left of a request.
struct Stage {
    authority: Arc<Slow>,
    inner: Inner,
    service: Boxed,
}

impl Stage {
    fn new(way: &Way<Slow>, yields: usize) -> Self {
        let (authority, inner) = (Arc::new(Slow { yields }), long());
        let service = (way.around)(Arc::clone(&authority), inner.clone());
        Self {
            authority,
            inner,
            service,
        }
    }

    /// How many hold on to the authority and to the inner service.
    fn held(&self) -> (usize, usize) {
        (Arc::strong_count(&self.authority), self.inner.clones())
    }
}

fn drop_at_every_poll(way: &Way<Slow>, yields: usize) {
    let asked = way.waits + 2 * yields;
    for polls in 0..=asked + RUNS + 1 {
        let case = format!("{}, {yields} yields, dropped after {polls} polls", way.name);
        let stage = Stage::new(way, yields);
        let held = stage.held();
        let request = ask(stage.service.clone(), (way.request)());
        let (happened, seen) = capture(|| drive(request, polls));

        let (calls, outcomes): (usize, &[&str]) = if polls <= asked {
            (0, &[])
        } else if polls <= asked + RUNS {
            (1, &["cancelled"])
        } else {
            (1, &["completed"])
        };
        assert_eq!(stage.inner.count(), calls, "{case}");
        assert_eq!(logged_outcomes(&seen), outcomes, "{case}");
        let done = matches!(happened, Driven::Done(Ok(_)));
        assert_eq!(done, polls == asked + RUNS + 1, "{case}");
        drop(happened);
        assert_eq!(stage.held(), held, "{case}: something is left");

        let answer = send(stage.service, (way.request)());
        assert_eq!(
            (answer.status.as_u16(), stage.inner.count()),
            (200, calls + 1),
            "{case}"
        );
    }
}

#[test]
fn a_request_that_is_dropped_calls_nothing_and_leaves_nothing() {
    for yields in 0..4 {
        for way in ways::<Slow>() {
            drop_at_every_poll(&way, yields);
        }
    }
}

/// An authority that panics at its first evaluation.
#[derive(Default)]
struct Stumbling(AtomicBool);

impl Authority for Stumbling {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        assert!(self.0.swap(true, Ordering::SeqCst), "scripted");
        Ok(Evaluation::allow(PermitToken::new(TOKEN)?))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        Ok(Verification::valid())
    }
}

#[test]
fn a_panic_of_the_authority_calls_nothing_and_leaves_a_service_that_works() {
    quiet_panics();
    for way in ways::<Stumbling>() {
        let inner = Inner::new();
        let service = (way.around)(Arc::default(), inner.clone());
        let clones = inner.clones();
        let happened = drive(ask(service.clone(), (way.request)()), 3);
        assert!(matches!(happened, Driven::Panicked), "{}", way.name);
        assert_eq!((inner.count(), inner.clones()), (0, clones), "{}", way.name);
        let answer = send(service, (way.request)());
        assert_eq!(
            (answer.status.as_u16(), inner.count()),
            (200, 1),
            "{}",
            way.name
        );
    }
}

#[test]
fn an_execution_that_ends_says_how_once() {
    type Ends = fn() -> Result<Response<Body>, Broken>;
    let server_error: Ends = || {
        let mut response = Response::new("ran".into());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        Ok(response)
    };
    for way in ways::<Slow>() {
        // These ways finish the execution in the test, which decides what failed.
        if ["a guard", "obtain_permit"].contains(&way.name) {
            continue;
        }
        for (ends, outcome) in [
            ((|| Ok(Response::new("ran".into()))) as Ends, "completed"),
            (server_error, "failed"),
            (|| Err(Broken), "failed"),
            (|| panic!("scripted"), "failed"),
        ] {
            quiet_panics();
            let inner = Inner::answering(move |_| ends());
            let service = (way.around)(Arc::new(Slow { yields: 0 }), inner.clone());
            let (_, seen) = capture(|| drive(ask(service, (way.request)()), 3));
            assert_eq!(
                (inner.count(), logged_outcomes(&seen)),
                (1, vec![outcome]),
                "{}",
                way.name
            );
        }
    }
}
