//! Decides whether and when a call is retried. The functions get the time as an argument and read
//! no clock.

use std::time::{Duration, Instant};

use crate::error::Failure;

/// The longest wait before a retry, unless the server asks for a longer one.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(16);

/// The limits of one call (contract, part A, "Construction").
#[derive(Clone, Debug)]
pub(crate) struct CallLimits {
    /// The time limit of one attempt.
    pub(crate) timeout: Duration,
    /// The time limit of all attempts and the waits between them.
    pub(crate) deadline: Duration,
    pub(crate) max_retries: u32,
    /// The longest wait before the first retry. It doubles with each retry.
    pub(crate) backoff: Duration,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            max_retries: 2,
            backoff: Duration::from_millis(500),
        }
    }
}

impl CallLimits {
    /// Returns the longest wait before the next attempt, after this many failed attempts before the
    /// last one.
    fn longest_wait(&self, failed: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << failed.min(16));
        doubled.min(MAX_BACKOFF)
    }

    /// Returns the longest duration of a call: all attempts, and the longest waits between them.
    /// Waits that the server asks for are not included.
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

/// Whether and how a call is repeated after a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// By the contract's table of errors: a repeated request has the effect of one.
    #[default]
    ByContract,
    /// Only if the request was not sent: a repeated one would have its effect twice.
    OnlyUnsent,
    /// Not at all: the caller repeats it. The server may hold its answer back for this long.
    Held(Duration),
}

impl Repetition {
    /// Returns the limits of a call, from those of the client.
    fn limits(self, limits: &CallLimits) -> CallLimits {
        let Self::Held(hold) = self else {
            return limits.clone();
        };
        let timeout = limits.timeout.saturating_add(hold);
        CallLimits {
            timeout,
            deadline: timeout,
            max_retries: 0,
            backoff: limits.backoff,
        }
    }
}

/// An attempt that brought no usable answer.
#[derive(Debug)]
pub(crate) struct FailedAttempt {
    pub(crate) failure: Box<Failure>,
    /// Whether the contract's table of errors allows a retry.
    pub(crate) is_retryable: bool,
    /// Whether the server may have received the request.
    pub(crate) may_be_sent: bool,
}

impl FailedAttempt {
    /// Creates a failed attempt that is not retried.
    pub(crate) fn permanent(failure: Failure) -> Self {
        Self {
            failure: failure.into(),
            is_retryable: false,
            may_be_sent: true,
        }
    }

    /// Creates a failed attempt whose request was not sent, so that any call is retried.
    pub(crate) fn unsent(failure: Failure) -> Self {
        Self {
            may_be_sent: false,
            ..Self::retryable(failure)
        }
    }

    /// Creates a failed attempt that is retried.
    pub(crate) fn retryable(failure: Failure) -> Self {
        Self {
            failure: failure.into(),
            is_retryable: true,
            may_be_sent: true,
        }
    }
}

/// The state of one call: its deadline, and the number of failed attempts.
#[derive(Debug)]
pub(crate) struct RetrySchedule {
    limits: CallLimits,
    repetition: Repetition,
    deadline: Instant,
    failed: u32,
}

impl RetrySchedule {
    pub(crate) fn start(limits: &CallLimits, repetition: Repetition, now: Instant) -> Self {
        let limits = repetition.limits(limits);
        Self {
            deadline: now + limits.deadline,
            limits,
            repetition,
            failed: 0,
        }
    }

    /// Whether an earlier attempt has failed.
    pub(crate) fn is_retry(&self) -> bool {
        self.failed > 0
    }

    /// Returns the longest time that an attempt may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// Returns the time limit of the next attempt.
    pub(crate) fn time_left(&self, now: Instant) -> Duration {
        self.limits
            .timeout
            .min(self.deadline.saturating_duration_since(now))
    }

    /// Returns the wait before the next attempt. `None` if the call ends with this attempt.
    ///
    /// The wait is at least the one that the server asks for (`Retry-After`). If that is longer
    /// than the time that is left, the call ends at once.
    pub(crate) fn next_wait(
        &mut self,
        attempt: &FailedAttempt,
        now: Instant,
        jitter: impl FnOnce(Duration) -> Duration,
    ) -> Option<Duration> {
        let is_harmful = self.repetition == Repetition::OnlyUnsent && attempt.may_be_sent;
        if !attempt.is_retryable || is_harmful || self.failed >= self.limits.max_retries {
            return None;
        }
        let longest = self.limits.longest_wait(self.failed);
        self.failed += 1;
        let requested = attempt.failure.retry_after().unwrap_or_default();
        let wait = jitter(longest).max(requested);
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

    fn server_error() -> FailedAttempt {
        FailedAttempt::retryable(Failure::new(Code::ServerError, ""))
    }

    #[test]
    fn waits_double_up_to_a_cap_and_end_with_the_retries() {
        let limits = CallLimits {
            max_retries: 8,
            deadline: ms(600_000),
            ..CallLimits::default()
        };
        let now = Instant::now();
        let mut schedule = RetrySchedule::start(&limits, Repetition::ByContract, now);
        let waits: Vec<_> =
            std::iter::from_fn(|| schedule.next_wait(&server_error(), now, |most| most))
                .map(|wait| wait.as_millis())
                .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 16_000, 16_000]);
    }

    #[test]
    fn what_is_not_to_be_retried_is_not() {
        let limits = CallLimits::default();
        let mut schedule = RetrySchedule::start(&limits, Repetition::ByContract, Instant::now());
        let last = FailedAttempt::permanent(Failure::new(Code::Network, ""));
        assert_eq!(schedule.next_wait(&last, Instant::now(), |most| most), None);
        assert!(!schedule.is_retry());
    }

    #[test]
    fn a_call_with_an_effect_is_repeated_only_if_it_was_not_sent() {
        let (limits, now) = (CallLimits::default(), Instant::now());
        let mut schedule = RetrySchedule::start(&limits, Repetition::OnlyUnsent, now);
        let unsent = FailedAttempt::unsent(Failure::new(Code::Network, ""));
        assert!(schedule.next_wait(&unsent, now, |most| most).is_some());
        assert_eq!(schedule.next_wait(&server_error(), now, |most| most), None);
    }

    #[test]
    fn a_call_that_the_server_holds_back_has_that_much_longer_and_one_attempt() {
        let (limits, now) = (CallLimits::default(), Instant::now());
        let mut schedule = RetrySchedule::start(&limits, Repetition::Held(ms(30_000)), now);
        assert_eq!(schedule.time_left(now), ms(40_000));
        assert_eq!(schedule.next_wait(&server_error(), now, |most| most), None);
    }

    #[test]
    fn the_server_may_ask_for_more_time_but_not_past_the_deadline() {
        let limits = CallLimits::default();
        let now = Instant::now();
        let asking = |wait| {
            FailedAttempt::retryable(Failure::new(Code::ServerError, "").with_retry_after(ms(wait)))
        };
        let mut schedule = RetrySchedule::start(&limits, Repetition::ByContract, now);
        assert_eq!(
            schedule.next_wait(&asking(7000), now, |_| ms(0)),
            Some(ms(7000))
        );
        assert_eq!(
            schedule.next_wait(&asking(1), now, |most| most),
            Some(ms(1000))
        );
        let mut schedule = RetrySchedule::start(&limits, Repetition::ByContract, now);
        assert_eq!(schedule.next_wait(&asking(30_000), now, |most| most), None);
    }

    #[test]
    fn an_attempt_never_outlives_the_deadline() {
        let limits = CallLimits::default();
        let start = Instant::now();
        let schedule = RetrySchedule::start(&limits, Repetition::ByContract, start);
        assert_eq!(schedule.time_left(start), ms(10_000));
        assert_eq!(schedule.time_left(start + ms(25_000)), ms(5000));
        assert_eq!(schedule.time_left(start + ms(31_000)), ms(0));
    }
}
