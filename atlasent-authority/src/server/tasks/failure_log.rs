//! Limits what a repeated task logs when it fails: one line at the first failure, at most one a
//! minute while failures last, and one at the next success.

use std::time::{Duration, Instant};

/// The shortest time between two lines about a failure that lasts.
const PERIOD: Duration = Duration::from_secs(60);

/// Decides which failures and successes of one repeated task are logged.
#[derive(Clone, Debug, Default)]
pub(super) struct FailureLog {
    /// When a failure was last logged; `None` after a success.
    logged: Option<Instant>,
}

impl FailureLog {
    /// Notes a failure. Returns whether to log it.
    #[must_use]
    pub(super) fn failed(&mut self) -> bool {
        self.failed_at(Instant::now())
    }

    /// Notes a success. Returns whether to log it: it is the first one after logged failures.
    pub(super) fn succeeded(&mut self) -> bool {
        self.logged.take().is_some()
    }

    /// Returns whether the last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.logged.is_some()
    }

    fn failed_at(&mut self, now: Instant) -> bool {
        let is_due = self
            .logged
            .is_none_or(|last| now.saturating_duration_since(last) >= PERIOD);
        if is_due {
            self.logged = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_when_it_begins_once_a_minute_and_when_it_ends() {
        let mut log = FailureLog::default();
        assert!(!log.succeeded(), "nothing has failed");

        let start = Instant::now();
        let mut lines = Vec::new();
        for half_seconds in 0..=300 {
            let time = Duration::from_millis(500 * half_seconds);
            if log.failed_at(start + time) {
                lines.push(time.as_secs());
            }
        }
        assert_eq!(lines, [0, 60, 120]);
        assert!(log.succeeded());
        assert!(!log.succeeded(), "the end is logged once");

        // The next outage is logged at once.
        assert!(log.failed_at(start + Duration::from_secs(151)));
        assert!(!log.failed_at(start + Duration::from_secs(152)));
    }
}
