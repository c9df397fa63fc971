//! The bounded queue of receipts.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::Error;
use crate::blocking;
use crate::permit::PermitRecord;
use crate::trace;
use crate::wire::{PermitToken, Receipt};

/// The maximum number of receipts that wait or are being delivered.
const CAPACITY: u64 = 1_024;

/// The maximum number of receipts that are delivered at a time, unless they are tried at once.
const AT_A_TIME: usize = 16;

/// The time limit for a receipt, from the end of the body to its delivery.
const TIME_LIMIT: Duration = Duration::from_secs(60);

type Delivery = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Delivers the receipts of an authority in the background.
///
/// At most 1,024 receipts wait or are being delivered. A receipt beyond that is dropped, and so is
/// one that is not delivered within a minute; both are logged and [counted](Self::counts). When a
/// process ends, receipts that wait are lost: call [`flush`](Self::flush) first. Clones share the
/// queue.
///
/// An [`Authority`](crate::Authority) with an issuer of its own passes a queue to
/// [`Issuer::with_receipts`](crate::authority::Issuer::with_receipts); its permits then send their
/// receipts to the queue. `LocalAuthority` and `Client` have one.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use atlasent::receipts::ReceiptQueue;
///
/// let completed = Arc::new(AtomicU64::new(0));
/// let count = Arc::clone(&completed);
/// let queue = ReceiptQueue::new(move |receipt| {
///     let count = Arc::clone(&count);
///     async move {
///         println!("{} {}", receipt.permit_id, receipt.outcome);
///         count.fetch_add(1, Ordering::Relaxed);
///         Ok(())
///     }
/// });
/// # drop(queue);
/// ```
#[derive(Clone)]
pub struct ReceiptQueue {
    shared: Arc<Shared>,
}

struct Shared {
    deliver: Box<dyn Fn(Receipt) -> Delivery + Send + Sync>,
    tries_at_once: bool,
    turns: Semaphore,
    waiting: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Notified when no receipt waits.
    empty: Notify,
}

/// How many receipts a [`ReceiptQueue`] has delivered and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiptCounts {
    /// The receipts that wait or are being delivered.
    pub waiting: u64,
    /// The receipts that the authority has accepted.
    pub delivered: u64,
    /// The receipts that the authority refused, or that it did not accept within a minute.
    pub failed: u64,
    /// The receipts that were dropped because the queue was full.
    pub dropped: u64,
}

impl ReceiptQueue {
    /// Creates a queue that delivers each receipt with `deliver`.
    ///
    /// The futures run on the runtime of [`blocking`], at most 16 at a time, so that they do not
    /// depend on the runtime or the thread of the body. They must not block.
    pub fn new<F>(deliver: impl Fn(Receipt) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self::with(deliver, false)
    }

    /// Creates a queue that polls each future once on the thread of the body, before it goes to the
    /// runtime of [`blocking`].
    ///
    /// A delivery that is ready at once needs no other thread. The future must not depend on the
    /// runtime in which it is first polled: it may not open a socket or start a timer then.
    pub fn at_once<F>(deliver: impl Fn(Receipt) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self::with(deliver, true)
    }

    fn with<F>(deliver: impl Fn(Receipt) -> F + Send + Sync + 'static, tries_at_once: bool) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self {
            shared: Arc::new(Shared {
                deliver: Box::new(move |receipt| Box::pin(deliver(receipt))),
                tries_at_once,
                turns: Semaphore::new(AT_A_TIME),
                waiting: AtomicU64::new(0),
                delivered: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
                empty: Notify::new(),
            }),
        }
    }

    /// Waits until no receipt waits. Receipts that arrive meanwhile are waited for, too.
    ///
    /// The wait ends a minute after the last receipt arrived, at the latest. To wait for less, put
    /// the future into a timeout.
    pub async fn flush(&self) {
        let mut emptied = pin!(self.shared.empty.notified());
        while self.shared.waiting.load(Ordering::Acquire) > 0 {
            emptied.as_mut().enable();
            if self.shared.waiting.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.as_mut().await;
            emptied.set(self.shared.empty.notified());
        }
    }

    /// Returns how many receipts were delivered and lost so far.
    #[must_use]
    pub fn counts(&self) -> ReceiptCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReceiptCounts {
            waiting: count(&self.shared.waiting),
            delivered: count(&self.shared.delivered),
            failed: count(&self.shared.failed),
            dropped: count(&self.shared.dropped),
        }
    }

    /// Takes the receipt of a permit to deliver it. It never blocks and never panics, since bodies
    /// end in `Drop` and during panics.
    pub(crate) fn send(&self, receipt: Receipt, permit: &Arc<PermitRecord>) {
        let Some(entry) = Entry::new(&self.shared, &receipt, permit) else {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            let (id, token) = (&receipt.permit_id, &receipt.permit_token);
            trace::receipt_lost(id, &token.scrub("too many receipts are waiting"));
            return;
        };
        let shared = &self.shared;
        // A panic ends in this function: a second one during an unwinding would end the process.
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let mut delivery = (shared.deliver)(receipt);
            if shared.tries_at_once {
                // The waker does nothing: the runtime polls a pending future again.
                let mut context = Context::from_waker(Waker::noop());
                if let Poll::Ready(result) = delivery.as_mut().poll(&mut context) {
                    return Attempt::Done(result);
                }
            }
            Attempt::Pending(delivery)
        }));
        match attempt {
            Ok(Attempt::Done(result)) => entry.finish(result),
            Ok(Attempt::Pending(delivery)) => entry.deliver_later(delivery),
            Err(_) => entry.fail("the delivery panicked"),
        }
    }
}

enum Attempt {
    Done(Result<(), Error>),
    Pending(Delivery),
}

/// The place of a receipt in the queue. Dropping it frees the place; a receipt whose result is
/// unknown then counts as failed.
struct Entry {
    shared: Arc<Shared>,
    permit: Arc<PermitRecord>,
    token: PermitToken,
    is_finished: bool,
}

impl Entry {
    /// Takes a place in the queue, if it has room.
    fn new(shared: &Arc<Shared>, receipt: &Receipt, permit: &Arc<PermitRecord>) -> Option<Self> {
        let free = |waiting| (waiting < CAPACITY).then_some(waiting + 1);
        let counter = &shared.waiting;
        counter
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, free)
            .ok()?;
        Some(Self {
            shared: Arc::clone(shared),
            permit: Arc::clone(permit),
            token: receipt.permit_token.clone(),
            is_finished: false,
        })
    }

    /// Delivers the receipt on the runtime of [`blocking`].
    fn deliver_later(self, delivery: Delivery) {
        let shared = Arc::clone(&self.shared);
        let started = blocking::spawn(async move {
            let in_turn = async {
                let _turn = match shared.tries_at_once {
                    true => None,
                    false => shared.turns.acquire().await.ok(),
                };
                delivery.await
            };
            match tokio::time::timeout(TIME_LIMIT, in_turn).await {
                Ok(result) => self.finish(result),
                Err(_) => self.fail("the authority did not accept it in time"),
            }
        });
        // The task was dropped with its entry, which has counted the failure.
        if let Err(error) = started {
            tracing::warn!(target: "atlasent", %error, "the runtime of receipts did not start");
        }
    }

    fn finish(mut self, result: Result<(), Error>) {
        match result {
            Ok(()) => {
                self.is_finished = true;
                self.shared.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let error = error.scrubbed(&self.token);
                self.fail(&error.to_string());
            }
        }
    }

    fn fail(mut self, why: &str) {
        self.lose(why);
    }

    fn lose(&mut self, why: &str) {
        self.is_finished = true;
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        trace::receipt_lost(&self.permit.id, why);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_finished {
            self.lose("the delivery was stopped");
        }
        if self.shared.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.empty.notify_waiters();
        }
    }
}

impl fmt::Debug for ReceiptQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptQueue")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_executor::block_on;

    use super::*;
    use crate::AnyAction;
    use crate::error::{Code, Failure};
    use crate::wire::ReceiptOutcome;

    fn receipt(id: &str) -> Receipt {
        let token = PermitToken::new(format!("permit_of_{id}")).unwrap();
        Receipt::new(id, token, ReceiptOutcome::Completed, Duration::ZERO)
    }

    /// Sends the receipt of a permit.
    fn send(queue: &ReceiptQueue, id: &str) {
        let action = AnyAction::new("deploy").unwrap();
        let permit = crate::testing::permit(action).unwrap();
        queue.send(receipt(id), &Arc::new(permit.record()));
    }

    fn failure() -> Error {
        Failure::new(Code::ServerError, "down").into()
    }

    #[test]
    fn a_receipt_that_is_ready_at_once_needs_no_other_thread() {
        let thread = std::thread::current().id();
        let queue = ReceiptQueue::at_once(move |_| async move {
            assert_eq!(std::thread::current().id(), thread);
            Ok(())
        });
        send(&queue, "a");
        assert_eq!((queue.counts().delivered, queue.counts().waiting), (1, 0));
    }

    #[test]
    fn a_receipt_is_delivered_without_any_runtime() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let queue = ReceiptQueue::new(move |receipt| {
            let sink = Arc::clone(&sink);
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                sink.lock().unwrap().push(receipt.permit_id);
                Ok(())
            }
        });
        send(&queue, "a");
        block_on(queue.flush());
        assert_eq!(*heard.lock().unwrap(), ["a"]);
        assert_eq!(queue.counts().delivered, 1);
    }

    #[test]
    fn a_receipt_that_waits_at_first_is_delivered_later() {
        let queue = ReceiptQueue::at_once(|_| async {
            tokio::task::yield_now().await;
            Ok(())
        });
        send(&queue, "a");
        block_on(queue.flush());
        assert_eq!(queue.counts().delivered, 1);
    }

    #[test]
    fn failures_and_panics_are_counted_and_go_no_further() {
        for at_once in [true, false] {
            let failing = ReceiptQueue::with(|_| async { Err(failure()) }, at_once);
            let panicking = ReceiptQueue::with(
                |receipt| async move { panic!("{}", receipt.permit_id) },
                at_once,
            );
            let refusing = ReceiptQueue::with(
                |_| -> std::future::Ready<_> { panic!("before the future") },
                at_once,
            );
            for queue in [failing, panicking, refusing] {
                send(&queue, "a");
                block_on(queue.flush());
                assert_eq!((queue.counts().failed, queue.counts().waiting), (1, 0));
            }
        }
    }

    #[test]
    fn a_panicking_delivery_does_not_end_a_process_that_unwinds() {
        struct Sends(ReceiptQueue);
        impl Drop for Sends {
            fn drop(&mut self) {
                send(&self.0, "a");
            }
        }
        let queue = ReceiptQueue::at_once(|_| -> std::future::Ready<_> { panic!("in the drop") });
        let sends = Sends(queue.clone());
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _sends = sends;
            panic!("the body");
        }));
        assert!(unwound.is_err());
        assert_eq!(queue.counts().failed, 1);
    }

    #[test]
    fn a_full_queue_drops_receipts_and_counts_them() {
        let gate = Arc::new(Semaphore::new(0));
        let closed = Arc::clone(&gate);
        let queue = ReceiptQueue::new(move |_| {
            let closed = Arc::clone(&closed);
            async move {
                drop(closed.acquire().await);
                Ok(())
            }
        });
        for _ in 0..CAPACITY + 3 {
            send(&queue, "a");
        }
        assert_eq!(
            (queue.counts().waiting, queue.counts().dropped),
            (CAPACITY, 3)
        );
        gate.add_permits(1);
        block_on(queue.flush());
        assert_eq!(queue.counts().delivered, CAPACITY);
        send(&queue, "a");
        block_on(queue.flush());
        assert_eq!(
            (queue.counts().delivered, queue.counts().dropped),
            (CAPACITY + 1, 3)
        );
    }

    #[test]
    fn at_most_sixteen_receipts_are_sent_at_a_time() {
        let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, highest) = (Arc::clone(&now), Arc::clone(&most));
        let queue = ReceiptQueue::new(move |_| {
            let (counted, highest) = (Arc::clone(&counted), Arc::clone(&highest));
            async move {
                let at_a_time = counted.fetch_add(1, Ordering::Relaxed) + 1;
                highest.fetch_max(at_a_time, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                counted.fetch_sub(1, Ordering::Relaxed);
                Ok(())
            }
        });
        for _ in 0..100 {
            send(&queue, "a");
        }
        block_on(queue.flush());
        assert_eq!(queue.counts().delivered, 100);
        assert!(most.load(Ordering::Relaxed) <= 16);
    }

    #[test]
    fn an_empty_queue_is_flushed_at_once() {
        block_on(ReceiptQueue::new(|_| async { Ok(()) }).flush());
    }
}
