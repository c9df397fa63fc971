//! Waiting for approvers.
//!
//! A waiter is woken by the change of its decision, and reads it once then. In a store that several
//! processes share, one of the waiters looks once a second for decisions that another process
//! made, on behalf of all:
//!
//! ```text
//! waiters A, B, C    registered under their decisions
//! each second        one of them reads the approval events since the last look, and wakes B
//! B                  reads its decision: approved
//! ```

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use atlasent::Error;
use futures_timer::Delay;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::ledger::approval::{ApprovalEntry, EscalationId};
use crate::local::LocalAuthority;
use crate::local::caller::Caller;
use crate::store::Store;
use crate::trail::EventFilter;

/// How often one waiter looks for what other processes decided.
const LOOK: Duration = Duration::from_secs(1);

/// How many events one look reads at most.
const AT_ONCE: usize = 1_000;

/// The events that close a decision.
const CLOSING: [&str; 3] = ["approval.granted", "approval.rejected", "approval.expired"];

/// The waiters of an authority.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    listening: Mutex<Listening>,
    /// When the last look started.
    looked: Mutex<Option<Instant>>,
}

/// Which decisions are waited for.
#[derive(Debug, Default)]
struct Listening {
    /// By decision, with the number of its waiters.
    by_id: HashMap<EscalationId, (Arc<Notify>, usize)>,
    /// The event after which the next look starts. Unset before the first waiter has read the end
    /// of the chain, and while there are no waiters.
    seen: Option<u64>,
}

/// A registered waiter.
struct Waiter<'a> {
    waiters: &'a Waiters,
    id: EscalationId,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Wakes the waiters of a decision.
    pub(crate) fn wake(&self, id: EscalationId) {
        if let Some((notify, _)) = self.lock().by_id.get(&id) {
            notify.notify_waiters();
        }
    }

    /// Wakes the waiters of all decisions.
    pub(crate) fn wake_all(&self) {
        for (notify, _) in self.lock().by_id.values() {
            notify.notify_waiters();
        }
    }

    /// Registers a waiter.
    fn register(&self, id: EscalationId) -> Waiter<'_> {
        let mut listening = self.lock();
        let (notify, waiting) = listening.by_id.entry(id).or_default();
        *waiting = waiting.saturating_add(1);
        let (waiters, notify) = (self, Arc::clone(notify));
        Waiter {
            waiters,
            id,
            notify,
        }
    }

    /// Returns the event after which the next look starts.
    fn seen(&self) -> Option<u64> {
        self.lock().seen
    }

    /// Starts to look after an event, unless another waiter has started already.
    fn start_after(&self, sequence: u64) {
        self.lock().seen.get_or_insert(sequence);
    }

    /// Notes that a look has read an event.
    fn saw(&self, sequence: u64) {
        let mut listening = self.lock();
        listening.seen = listening.seen.map(|seen| seen.max(sequence));
    }

    /// Returns whether it is time to look, for the waiter that asks first.
    fn is_time_to_look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = looked.is_none_or(|looked| looked.elapsed() >= LOOK / 2);
        if is_time {
            *looked = Some(Instant::now());
        }
        is_time
    }

    fn lock(&self) -> MutexGuard<'_, Listening> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Returns a future that is ready after the next change of the decision from now on.
    fn changed(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut listening = self.waiters.lock();
        if let Some((_, waiting)) = listening.by_id.get_mut(&self.id) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                listening.by_id.remove(&self.id);
            }
        }
        if listening.by_id.is_empty() {
            listening.seen = None;
        }
    }
}

impl<S: Store> LocalAuthority<S> {
    /// Waits until a decision is closed, for at most so long, and returns it as it stands then.
    /// `None` for an unknown one.
    ///
    /// Dropping the future leaves the decision as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the decision cannot be read.
    pub async fn wait_for_approval(
        &self,
        id: EscalationId,
        at_most: Duration,
    ) -> Result<Option<ApprovalEntry>, Error> {
        self.wait_for_approval_of(&Caller::embedded(&self.secret), id, at_most)
            .await
    }

    /// Waits until a decision is closed, for a caller.
    pub(crate) async fn wait_for_approval_of(
        &self,
        caller: &Caller<'_>,
        id: EscalationId,
        at_most: Duration,
    ) -> Result<Option<ApprovalEntry>, Error> {
        let start = Instant::now();
        let waiter = self.waiters.register(id);
        if self.store.is_shared() {
            self.skip_old_events().await?;
        }
        loop {
            // Listening starts before the decision is read, so that no change is missed.
            let mut changed = pin!(waiter.changed());
            let row = match self.approval_for(caller, id).await? {
                Some(row) if row.is_open() => row,
                closed => return Ok(closed),
            };
            loop {
                let left = at_most.saturating_sub(start.elapsed());
                if left.is_zero() {
                    return Ok(Some(row));
                }
                let until_timeout = self.clock.now().duration_until(row.timeout_at);
                let until_timeout = Duration::try_from(until_timeout).unwrap_or_default();
                let most = match self.store.is_shared() {
                    true => LOOK,
                    false => left,
                };
                let pause = left.min(most).min(until_timeout);
                if either(changed.as_mut(), pin!(Delay::new(pause))).await || pause == until_timeout
                {
                    break;
                }
                if self.store.is_shared() {
                    self.look().await;
                }
            }
        }
    }

    /// Starts to look at the end of the chain, unless another waiter has started already: what
    /// happened before is in the decisions.
    ///
    /// Every waiter reads its decision after this. If it read it first, another one could start to
    /// look behind the event that closes it, and it would not be woken.
    async fn skip_old_events(&self) -> Result<(), Error> {
        if self.waiters.seen().is_none() {
            let status = self.store.status().await;
            let head = status.map_err(crate::local::unreadable)?.head.sequence;
            self.waiters.start_after(head);
        }
        Ok(())
    }

    /// Wakes the waiters of the decisions that any process has closed since the last look. Does
    /// nothing if another waiter has just looked.
    async fn look(&self) {
        if !self.waiters.is_time_to_look() {
            return;
        }
        let Some(after) = self.waiters.seen() else {
            return;
        };
        let filter = EventFilter::default().types(CLOSING);
        // Without an answer, the next look asks again.
        let Ok(events) = self.events(after, AT_ONCE, &filter).await else {
            return;
        };
        for event in events {
            if let Some(id) = event
                .payload
                .text("escalation_id")
                .and_then(|id| id.parse().ok())
            {
                self.waiters.wake(id);
            }
            self.waiters.saw(event.envelope.sequence);
        }
    }
}

/// Waits for the first of two futures. Returns whether it is the first one.
async fn either(
    mut one: std::pin::Pin<&mut impl Future>,
    mut other: std::pin::Pin<&mut impl Future>,
) -> bool {
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending => other.as_mut().poll(context).map(|_| false),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_that_end_at_once_leave_nothing_behind() {
        let waiters = Waiters::default();
        for _ in 0..2_000 {
            let id = EscalationId::random();
            let barrier = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let waiter = waiters.register(id);
                        waiters.start_after(1);
                        barrier.wait();
                        drop(waiter);
                    });
                }
            });
        }
        assert!(waiters.lock().by_id.is_empty());
        assert_eq!(waiters.seen(), None);
    }
}
