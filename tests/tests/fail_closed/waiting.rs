//! Tests sync code that waits for an answer that does not come.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use atlasent::authority::DynAuthority;
use atlasent::error::{Code, Failure};
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{Authority, Error};
use atlasent_tests::Ran;
use atlasent_tests::cases::TOKEN;

use crate::paths::sync_paths;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Evaluate,
    Verify,
}

/// The first event that the test receives.
#[derive(Debug, PartialEq)]
enum News {
    Asked,
    Returned,
}

/// An authority that stalls at one of the two steps until it is released, and then fails there.
struct Silent {
    at: Step,
    news: Mutex<Sender<News>>,
    state: Mutex<(bool, Option<Waker>)>,
}

impl Silent {
    fn new(at: Step) -> (Arc<Self>, Receiver<News>) {
        let (sender, news) = channel();
        let silent = Self {
            at,
            news: Mutex::new(sender),
            state: Mutex::default(),
        };
        (Arc::new(silent), news)
    }

    fn tell(&self, news: News) {
        // The receiver is gone once the test has received its event.
        let _ = self.news.lock().unwrap().send(news);
    }

    fn release(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    async fn silence(&self, step: Step) -> Result<(), Error> {
        if step != self.at {
            return Ok(());
        }
        std::future::poll_fn(|context| {
            let mut state = self.state.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            if state.1.replace(context.waker().clone()).is_none() {
                self.tell(News::Asked);
            }
            Poll::Pending
        })
        .await;
        Err(Failure::new(Code::Timeout, "nobody there").into())
    }
}

impl Authority for Silent {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.silence(Step::Evaluate).await?;
        Ok(Evaluation::allow(PermitToken::new(TOKEN)?))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        self.silence(Step::Verify).await?;
        Ok(Verification::valid())
    }
}

#[test]
fn a_sync_body_waits_for_both_answers_and_does_not_run_without() {
    for at in [Step::Evaluate, Step::Verify] {
        for (path, ask) in sync_paths::<Arc<dyn DynAuthority>>() {
            let (silent, news) = Silent::new(at);
            let ran = Arc::new(Ran::new());
            let pointer: Arc<dyn DynAuthority> = Arc::<Silent>::clone(&silent);
            let caller = thread::spawn({
                let (silent, ran) = (Arc::clone(&silent), Arc::clone(&ran));
                move || {
                    let result = ask(&pointer, &ran);
                    silent.tell(News::Returned);
                    result
                }
            });
            // The limit ends a failing test, which would never end without it.
            let first = news.recv_timeout(Duration::from_secs(60));
            assert_eq!(first, Ok(News::Asked), "{path} {at:?}");
            assert_eq!(ran.count(), 0, "{path} {at:?}");
            silent.release();
            let error = caller.join().unwrap().unwrap_err();
            assert_eq!(error.code(), Some(Code::Timeout), "{path} {at:?}");
            assert_eq!(ran.count(), 0, "{path} {at:?}");
        }
    }
}
