//! When a call is tried again, and for how long all of it may take. Pure: the clock is somebody
//! else's.

use std::time::{Duration, Instant};

use crate::error::Failure;

/// However often a call has failed, the next attempt is no further away than this, unless the
/// server asks for more.
pub(crate) const LONGEST_BACKOFF: Duration = Duration::from_secs(16);

/// The limits of one call (contract, part A, "Construction").
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// For one attempt.
    pub(crate) timeout: Duration,
    /// For all attempts and the waits between them.
    pub(crate) deadline: Duration,
    pub(crate) max_retries: u32,
    /// The most that is waited before the first retry. It doubles from then on.
    pub(crate) backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            max_retries: 2,
            backoff: Duration::from_millis(500),
        }
    }
}

impl Limits {
    /// The most that is waited before the next attempt, once so many have failed.
    fn longest_wait(&self, failed: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << failed.min(16));
        doubled.min(LONGEST_BACKOFF)
    }

    /// How long all attempts may take, and the waits between them, unless the server asks for
    /// longer ones.
    pub(crate) fn longest_call(&self) -> Duration {
        let waits: Duration = (0..self.max_retries)
            .map(|failed| self.longest_wait(failed))
            .sum();
        let attempts = self
            .timeout
            .saturating_mul(self.max_retries.saturating_add(1));
        attempts.saturating_add(waits)
    }
}

/// An attempt that brought no usable answer.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) failure: Box<Failure>,
    /// Whether the contract's table has it tried again.
    pub(crate) retried: bool,
}

impl Attempt {
    pub(crate) fn last(failure: Failure) -> Self {
        Self {
            failure: failure.into(),
            retried: false,
        }
    }

    pub(crate) fn again(failure: Failure) -> Self {
        Self {
            failure: failure.into(),
            retried: true,
        }
    }
}

/// One call's way through its limits.
#[derive(Debug)]
pub(crate) struct Schedule<'a> {
    limits: &'a Limits,
    deadline: Instant,
    failed: u32,
}

impl<'a> Schedule<'a> {
    pub(crate) fn start(limits: &'a Limits, now: Instant) -> Self {
        Self {
            limits,
            deadline: now + limits.deadline,
            failed: 0,
        }
    }

    /// Whether an attempt has failed before.
    pub(crate) fn is_retry(&self) -> bool {
        self.failed > 0
    }

    /// How long the next attempt may take.
    pub(crate) fn time_left(&self, now: Instant) -> Duration {
        self.limits
            .timeout
            .min(self.deadline.saturating_duration_since(now))
    }

    /// How long to wait before the next attempt; none when this one was the last.
    ///
    /// A server that says when to come back (`Retry-After`) is not called before that. When it asks
    /// for more time than there is, the call ends at once.
    pub(crate) fn next_wait(
        &mut self,
        attempt: &Attempt,
        now: Instant,
        jitter: impl FnOnce(Duration) -> Duration,
    ) -> Option<Duration> {
        if !attempt.retried || self.failed >= self.limits.max_retries {
            return None;
        }
        let longest = self.limits.longest_wait(self.failed);
        self.failed += 1;
        let asked = attempt.failure.retry_after().unwrap_or_default();
        let wait = jitter(longest).max(asked);
        (wait < self.deadline.saturating_duration_since(now)).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn again() -> Attempt {
        Attempt::again(Failure::new(Code::ServerError, ""))
    }

    #[test]
    fn waits_double_up_to_a_cap_and_end_with_the_retries() {
        let limits = Limits {
            max_retries: 8,
            deadline: ms(600_000),
            ..Limits::default()
        };
        let now = Instant::now();
        let mut schedule = Schedule::start(&limits, now);
        let waits: Vec<_> = std::iter::from_fn(|| schedule.next_wait(&again(), now, |most| most))
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
    }

    #[test]
    fn what_is_not_to_be_retried_is_not() {
        let limits = Limits::default();
        let mut schedule = Schedule::start(&limits, Instant::now());
        let last = Attempt::last(Failure::new(Code::Network, ""));
        assert_eq!(schedule.next_wait(&last, Instant::now(), |most| most), None);
        assert!(!schedule.is_retry());
    }

    #[test]
    fn the_server_may_ask_for_more_time_but_not_past_the_deadline() {
        let limits = Limits::default();
        let now = Instant::now();
        let asking =
            |wait| Attempt::again(Failure::new(Code::ServerError, "").with_retry_after(ms(wait)));
        let mut schedule = Schedule::start(&limits, now);
        assert_eq!(
            schedule.next_wait(&asking(7000), now, |_| ms(0)),
            Some(ms(7000))
        );
        assert_eq!(
            schedule.next_wait(&asking(1), now, |most| most),
            Some(ms(1000))
        );
        let mut schedule = Schedule::start(&limits, now);
        assert_eq!(schedule.next_wait(&asking(30_000), now, |most| most), None);
    }

    #[test]
    fn an_attempt_never_outlives_the_deadline() {
        let limits = Limits::default();
        let start = Instant::now();
        let schedule = Schedule::start(&limits, start);
        assert_eq!(schedule.time_left(start), ms(10_000));
        assert_eq!(schedule.time_left(start + ms(25_000)), ms(5000));
        assert_eq!(schedule.time_left(start + ms(31_000)), ms(0));
    }
}
