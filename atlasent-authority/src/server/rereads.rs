//! Rounds of reading the API keys that requests ask for, so that a server knows a new key at its
//! first use.
//!
//! One task reads the keys, and a request with an unknown key waits for the task's next round. So
//! no number of unknown keys makes the server read more often than [`PERIOD`] allows, and a read
//! that hangs is not repeated.
//!
//! ```text
//! request: ask ─────────────────────────────► look for the key again
//!           └─► task: begin ─► read ─► end ─┘
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

/// The shortest time between two rounds that requests ask for.
const PERIOD: Duration = Duration::from_millis(250);

/// The longest time that requests wait for a round.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The rounds of the task that reads the API keys. They are numbered from 1.
#[derive(Debug)]
pub(super) struct Rereads {
    state: Mutex<State>,
    request: Notify,
    /// The number of the last round that has ended.
    ended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the task runs.
    has_task: bool,
    /// The number of the last round that has begun.
    begun: u64,
    /// The last round that a request asked for.
    asked: Option<Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    round: u64,
    at: Instant,
}

impl Default for Rereads {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            request: Notify::new(),
            ended: watch::Sender::new(0),
        }
    }
}

impl Rereads {
    /// Asks for a round, and waits until it has ended. Returns at once if a round that was asked
    /// for less than [`PERIOD`] ago has ended, or if no task reads the keys. Gives up after
    /// [`MAX_WAIT`].
    pub(super) async fn wait(&self) {
        let mut ended = self.ended.subscribe();
        if let Some(round) = self.ask(Instant::now()) {
            // After a timeout, the former keys stay in force.
            let _ = timeout(MAX_WAIT, ended.wait_for(|ended| *ended >= round)).await;
        }
    }

    /// Returns the number of the round to wait for, if there is one.
    fn ask(&self, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        if !state.has_task {
            // See `Server::into_router`.
            return None;
        }
        if let Some(Asked { round, at }) = state.asked {
            let waited = now.saturating_duration_since(at);
            let has_ended = *self.ended.borrow() >= round;
            if !has_ended {
                return (waited < MAX_WAIT).then_some(round);
            }
            if waited < PERIOD {
                return None;
            }
        }
        // A round that has begun may have read the keys before the new key was written.
        let round = state.begun + 1;
        state.asked = Some(Asked { round, at: now });
        self.request.notify_one();
        Some(round)
    }

    /// Notes that the task runs.
    pub(super) fn start(&self) {
        self.lock().has_task = true;
    }

    /// Waits until a request asks for a round.
    pub(super) async fn requested(&self) {
        self.request.notified().await;
    }

    /// Notes that a round begins, and returns its number.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.lock();
        state.begun += 1;
        state.begun
    }

    /// Notes that a round has ended.
    pub(super) fn end(&self, round: u64) {
        self.ended.send_replace(round);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The rounds of a task that has begun none.
    fn started() -> Rereads {
        let rereads = Rereads::default();
        rereads.start();
        rereads
    }

    #[tokio::test]
    async fn nothing_is_waited_for_where_no_task_reads_the_keys() {
        let rereads = Rereads::default();
        assert_eq!(rereads.ask(Instant::now()), None);
        timeout(MAX_WAIT / 2, rereads.wait()).await.unwrap();
    }

    #[test]
    fn requests_share_a_round_that_begins_after_the_first_of_them() {
        let rereads = started();
        let now = Instant::now();
        let under_way = rereads.begin();
        assert_eq!(rereads.ask(now), Some(under_way + 1));
        rereads.end(under_way);
        assert_eq!(rereads.ask(now + ms(10)), Some(under_way + 1));
        let asked = rereads.begin();
        assert_eq!(rereads.ask(now + ms(20)), Some(asked));
        rereads.end(asked);
        assert_eq!(rereads.ask(now + ms(30)), None);
        assert_eq!(rereads.ask(now + PERIOD), Some(asked + 1));
    }

    #[test]
    fn no_number_of_unknown_keys_asks_for_more_than_four_rounds_a_second() {
        let rereads = started();
        let now = Instant::now();
        let mut rounds = 0;
        for request in 0..100_000_u64 {
            if let Some(round) = rereads.ask(now + Duration::from_micros(request * 10)) {
                assert_eq!(rereads.begin(), round);
                rereads.end(round);
                rounds += 1;
            }
        }
        assert_eq!(rounds, 4);
    }

    #[test]
    fn a_read_that_hangs_is_waited_for_once_and_never_repeated() {
        let rereads = started();
        let now = Instant::now();
        let hanging = rereads.ask(now).unwrap();
        assert_eq!(rereads.begin(), hanging);
        assert_eq!(rereads.ask(now + ms(999)), Some(hanging));
        for later in [MAX_WAIT, Duration::from_secs(3_600)] {
            assert_eq!(rereads.ask(now + later), None);
        }
        rereads.end(hanging);
        let later = now + Duration::from_secs(3_601);
        assert_eq!(rereads.ask(later), Some(hanging + 1));
    }

    #[tokio::test]
    async fn a_request_waits_for_the_task_and_no_longer_than_its_limit() {
        let rereads = Arc::new(started());
        let task = Arc::clone(&rereads);
        let task = tokio::spawn(async move {
            task.requested().await;
            let round = task.begin();
            task.end(round);
        });
        timeout(MAX_WAIT / 2, rereads.wait()).await.unwrap();
        task.await.unwrap();
        tokio::time::sleep(PERIOD).await;
        // No task answers this one.
        let begun = Instant::now();
        rereads.wait().await;
        assert!(begun.elapsed() >= MAX_WAIT);
        timeout(MAX_WAIT / 2, rereads.wait()).await.unwrap();
    }
}
