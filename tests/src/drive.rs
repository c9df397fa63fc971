//! Drives futures by hand, and counts the protected bodies that run.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::pin::pin;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

/// Counts how often a protected body ran.
#[derive(Debug, Default)]
pub struct Ran(AtomicUsize);

impl Ran {
    /// Creates a count of zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a run of the body.
    pub fn hit(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often the body ran.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// The result of a future that was polled a few times and then dropped.
#[derive(Debug)]
pub enum Driven<T> {
    /// The future ended.
    Done(T),
    /// The future panicked.
    Panicked,
    /// The future was pending when it was dropped.
    Pending,
}

/// Polls a future at most `polls` times, whether it was woken or not, and drops it.
pub fn drive<F: Future>(future: F, polls: usize) -> Driven<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(output)) => return Driven::Done(output),
            Ok(Poll::Pending) => {}
            Err(_) => return Driven::Panicked,
        }
    }
    Driven::Pending
}

/// Is pending for `times` polls.
pub async fn yields(times: usize) {
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Hides panics with the message `scripted` from the output of the test. Other panics are printed.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some("scripted") {
                print(info);
            }
        }));
    });
}
