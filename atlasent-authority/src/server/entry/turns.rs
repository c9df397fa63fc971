//! Turns: the processor time of a server, shared out among the organizations.
//!
//! The runtime polls the tasks that are ready in the order in which they became ready. When a flood
//! of one organization has made 256 requests ready, a request of another organization would wait
//! until all of them were polled: 256 times 40 µs, on 2 threads 5 ms.
//!
//! So the requests of an organization that crowds others
//! ([`crowds_others`](super::admission::ConcurrencySlot::crowds_others)) need a turn for each poll. One
//! that becomes ready queues for a turn, which costs a fraction of a microsecond, and is polled
//! again when it has one. Several such organizations take turns in that queue. After a poll the
//! turn goes to the next request, so a request that waits for its body, a commit or a lock holds
//! none. There are as many turns as threads. On 2 threads:
//!
//! ```text
//! ready:   A1 A2 … A256 B1         (the order of the runtime; A crowds others)
//! queue:   A1 A2 get turns; A3 … A256 queue, within 256 times 0.3 µs
//! polled:  A1 A2 B1
//! A1 ends: A3 gets its turn
//! ```
//!
//! Requests of other organizations need no turns, and pay nothing for them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use crate::server::fair_queue::{FairQueue, Ticket};
use crate::store::OrgId;

/// The turns of a server.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The number of free turns. Requests queue only while it is 0.
    free: usize,
    queue: FairQueue<Waker>,
    /// The requests that have a turn and are not polled yet.
    granted: Vec<Ticket>,
}

impl Turns {
    /// Creates the turns of a server whose requests are polled by this many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            state: Mutex::new(State {
                free: threads.max(1),
                queue: FairQueue::new(),
                granted: Vec::new(),
            }),
        }
    }

    /// Runs a request of an organization that crowds others, in turns.
    pub(crate) async fn run<T>(&self, org: &OrgId, answering: impl Future<Output = T>) -> T {
        let mut answering = pin!(answering);
        let mut place = Place::new(self, org);
        poll_fn(|context| {
            let _turn = ready!(place.poll_turn(context));
            answering.as_mut().poll(context)
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a turn back: it goes to the next request.
    fn give_back(&self, mut state: MutexGuard<'_, State>) {
        state.free += 1;
        let next = state.grant();
        drop(state);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl State {
    /// Gives a free turn to the request that is next.
    fn grant(&mut self) -> Option<Waker> {
        self.free = self.free.checked_sub(1)?;
        let Some((_, ticket, waker)) = self.queue.take_next(|_| true) else {
            self.free += 1;
            return None;
        };
        self.granted.push(ticket);
        Some(waker)
    }

    /// Removes a request from those that have a turn and are not polled yet.
    fn take_granted(&mut self, ticket: Ticket) -> bool {
        let place = self.granted.iter().position(|granted| *granted == ticket);
        place.map(|place| self.granted.swap_remove(place)).is_some()
    }
}

/// The place of a request in the queue. Dropping it gives a turn back that was not used.
struct Place<'a> {
    turns: &'a Turns,
    org: &'a OrgId,
    /// Set while the request queues, or has a turn and is not polled yet.
    ticket: Option<Ticket>,
}

impl<'a> Place<'a> {
    fn new(turns: &'a Turns, org: &'a OrgId) -> Self {
        let ticket = None;
        Self { turns, org, ticket }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Turn<'a>> {
        let mut state = self.turns.lock();
        let Some(ticket) = self.ticket else {
            // Even with a free turn the request is not polled now, but after all that are ready:
            // these have queued by then, and those of other organizations go first.
            let waker = context.waker().clone();
            self.ticket = Some(state.queue.push(self.org, waker));
            let next = state.grant();
            drop(state);
            if let Some(waker) = next {
                waker.wake();
            }
            return Poll::Pending;
        };
        if state.take_granted(ticket) {
            self.ticket = None;
            return Poll::Ready(Turn(self.turns));
        }
        if let Some(waker) = state.queue.get_mut(self.org, ticket) {
            waker.clone_from(context.waker());
        }
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let mut state = self.turns.lock();
        if state.take_granted(ticket) {
            self.turns.give_back(state);
        } else {
            state.queue.remove(self.org, ticket);
        }
    }
}

/// A turn in use. Dropping it gives it back.
struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.give_back(self.0.lock());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::future::pending;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    fn org(name: &str) -> OrgId {
        name.parse().unwrap()
    }

    /// How many turns there are.
    const TURNS: usize = 3;

    /// A runtime with one thread that polls tasks in the order in which they are woken.
    #[derive(Default)]
    struct Runtime<'a> {
        tasks: Vec<Option<Pin<Box<dyn Future<Output = ()> + 'a>>>>,
        ready: Arc<Mutex<VecDeque<usize>>>,
    }

    struct TaskWaker(usize, Arc<Mutex<VecDeque<usize>>>);

    impl Wake for TaskWaker {
        fn wake(self: Arc<Self>) {
            let mut ready = self.1.lock().unwrap();
            if !ready.contains(&self.0) {
                ready.push_back(self.0);
            }
        }
    }

    impl<'a> Runtime<'a> {
        fn spawn(&mut self, task: impl Future<Output = ()> + 'a) -> usize {
            self.ready.lock().unwrap().push_back(self.tasks.len());
            self.tasks.push(Some(Box::pin(task)));
            self.tasks.len() - 1
        }

        /// Polls one task. Returns whether one was ready.
        fn step(&mut self) -> bool {
            let Some(number) = self.ready.lock().unwrap().pop_front() else {
                return false;
            };
            let waker = Waker::from(Arc::new(TaskWaker(number, Arc::clone(&self.ready))));
            if let Some(task) = &mut self.tasks[number]
                && (task.as_mut().poll(&mut Context::from_waker(&waker))).is_ready()
            {
                self.tasks[number] = None;
            }
            true
        }

        fn run(&mut self) {
            while self.step() {}
        }

        fn unfinished(&self) -> usize {
            self.tasks.iter().flatten().count()
        }
    }

    /// Is ready when it is polled for the second time.
    async fn ready_again() {
        let mut is_first = true;
        poll_fn(|context| match std::mem::take(&mut is_first) {
            true => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            false => Poll::Ready(()),
        })
        .await;
    }

    type Log = Rc<RefCell<Vec<&'static str>>>;

    /// A request that works in this many polls, and writes each into a log.
    async fn work(name: &'static str, polls: usize, log: Log) {
        for _ in 0..polls {
            log.borrow_mut().push(name);
            ready_again().await;
        }
    }

    #[test]
    fn a_request_waits_for_few_polls_of_a_flood_by_another_organization() {
        let (turns, log) = (Turns::new(TURNS), Log::default());
        let (a, b) = (org("a"), org("b"));
        let mut runtime = Runtime::default();
        for _ in 0..256 {
            runtime.spawn(turns.run(&a, work("a", 4, Rc::clone(&log))));
        }
        // The flood was polled once, or not at all, or for some time.
        for polls in [0, 256, 500] {
            (0..polls).for_each(|_| {
                runtime.step();
            });
            let before = log.borrow().len();
            let request = runtime.spawn(turns.run(&b, work("b", 4, Rc::clone(&log))));
            while runtime.tasks[request].is_some() && runtime.step() {}
            let waited = log.borrow()[before..]
                .iter()
                .filter(|name| **name == "a")
                .count();
            // For each of its five polls: the turns that are in use as it becomes ready, one more
            // of the flood, and those in use as it gets its own.
            assert!(waited <= 5 * (TURNS + 1 + TURNS), "{polls}: {waited}");
        }
        runtime.run();
        assert_eq!((runtime.unfinished(), log.borrow().len()), (0, 259 * 4));
    }

    #[test]
    fn without_turns_the_request_would_wait_for_the_whole_flood() {
        let log = Log::default();
        let mut runtime = Runtime::default();
        for _ in 0..256 {
            runtime.spawn(work("a", 4, Rc::clone(&log)));
        }
        runtime.spawn(work("b", 4, Rc::clone(&log)));
        runtime.run();
        let first = log.borrow().iter().position(|name| *name == "b");
        assert_eq!(first, Some(256));
    }

    #[test]
    fn the_requests_of_an_organization_have_their_turns_in_the_order_of_their_arrival() {
        let (turns, log) = (Turns::new(TURNS), Log::default());
        let a = org("a");
        let mut runtime = Runtime::default();
        let names = ["1", "2", "3", "4", "5", "6", "7", "8"];
        for name in names {
            runtime.spawn(turns.run(&a, work(name, 1, Rc::clone(&log))));
        }
        runtime.run();
        assert_eq!(*log.borrow(), names);
    }

    #[test]
    fn a_request_that_waits_for_something_else_holds_no_turn() {
        let (turns, log) = (Turns::new(TURNS), Log::default());
        let a = org("a");
        let mut runtime = Runtime::default();
        for _ in 0..100 {
            runtime.spawn(turns.run(&a, pending()));
        }
        runtime.spawn(turns.run(&a, work("a", 3, Rc::clone(&log))));
        runtime.run();
        assert_eq!((runtime.unfinished(), log.borrow().len()), (100, 3));
        assert_eq!(turns.lock().free, TURNS);
    }

    #[test]
    fn a_request_that_panics_gives_its_turn_back() {
        let turns = Turns::new(TURNS);
        let a = org("a");
        let mut runtime = Runtime::default();
        for _ in 0..10 {
            let panics = turns.run(&a, async { panic!("a request") });
            runtime.spawn(async {
                use futures_util::FutureExt;
                let caught = std::panic::AssertUnwindSafe(panics).catch_unwind().await;
                assert!(caught.is_err());
            });
        }
        runtime.run();
        assert_eq!((runtime.unfinished(), turns.lock().free), (0, TURNS));
    }

    proptest! {
        /// Requests are dropped at any time. All others finish, and all turns are free again.
        #[test]
        fn a_dropped_request_gives_its_turn_back(
            orgs in proptest::collection::vec(0_u8..4, 1..60),
            drops in proptest::collection::vec((0_usize..20, 0_usize..60), 0..30),
        ) {
            let (turns, log) = (Turns::new(TURNS), Log::default());
            let ids: Vec<_> = (0..4).map(|n| org(&format!("org{n}"))).collect();
            let mut runtime = Runtime::default();
            for number in &orgs {
                let org = &ids[usize::from(*number)];
                runtime.spawn(turns.run(org, work("any", 3, Rc::clone(&log))));
            }
            let mut dropped = 0;
            for (steps, victim) in drops {
                (0..steps).for_each(|_| {
                runtime.step();
            });
                let task = runtime.tasks.get_mut(victim).and_then(Option::take);
                dropped += usize::from(task.is_some());
            }
            runtime.run();
            prop_assert_eq!(runtime.unfinished(), 0);
            prop_assert!(log.borrow().len() >= 3 * (orgs.len() - dropped));
            let state = turns.lock();
            let left = (state.free, state.queue.len(), state.granted.len());
            prop_assert_eq!(left, (TURNS, 0, 0));
        }
    }
}
