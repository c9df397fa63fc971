//! A limit on the log lines of an outage: one a second for each kind, however many requests fail.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two lines of a kind.
const PERIOD: Duration = Duration::from_secs(1);

/// The limit for the log of this process.
pub(super) static OUTAGES: LogLimit = LogLimit(Mutex::new(None));

/// Allows one line a second for each kind. Kinds are texts of the program, so their number is
/// bounded.
#[derive(Debug)]
pub(super) struct LogLimit(Mutex<Option<HashMap<&'static str, LineCount>>>);

#[derive(Debug)]
struct LineCount {
    last: Instant,
    suppressed: u64,
}

impl LogLimit {
    /// Allows or suppresses a line. Returns how many lines of its kind were suppressed since the
    /// last one, or `None` if this line is to be suppressed as well.
    pub(super) fn allow(&self, kind: &'static str) -> Option<u64> {
        self.allow_at(kind, Instant::now())
    }

    fn allow_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.get_or_insert_default();
        let Some(count) = kinds.get_mut(kind) else {
            let new = LineCount {
                last: now,
                suppressed: 0,
            };
            kinds.insert(kind, new);
            return Some(0);
        };
        if now.saturating_duration_since(count.last) < PERIOD {
            count.suppressed = count.suppressed.saturating_add(1);
            return None;
        }
        count.last = now;
        Some(std::mem::take(&mut count.suppressed))
    }

    /// Takes the numbers of suppressed lines that no later line has reported. The last lines of an
    /// outage are among them.
    pub(super) fn take_unreported(&self) -> Vec<(&'static str, u64)> {
        self.take_unreported_at(Instant::now())
    }

    fn take_unreported_at(&self, now: Instant) -> Vec<(&'static str, u64)> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.iter_mut().flatten();
        let unreported = kinds.filter(|(_, count)| {
            count.suppressed > 0 && now.saturating_duration_since(count.last) >= 2 * PERIOD
        });
        unreported
            .map(|(name, count)| {
                count.last = now;
                (*name, std::mem::take(&mut count.suppressed))
            })
            .collect()
    }
}

/// Logs an outage, within the limit of its kind.
pub(super) fn log_outage(kind: &'static str, operation: &str, cause: Option<&str>) {
    if let Some(suppressed) = OUTAGES.allow(kind) {
        tracing::error!(target: "atlasent", operation, cause, suppressed, "{kind}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_line_a_second_and_all_are_counted() {
        let limit = LogLimit(Mutex::new(None));
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(limit.allow_at("a", start), Some(0));
        for ms in 1..500 {
            assert_eq!(limit.allow_at("a", after(ms)), None);
        }
        assert_eq!(limit.allow_at("b", after(500)), Some(0));
        assert_eq!(limit.allow_at("a", after(1_000)), Some(499));
        assert_eq!(limit.allow_at("a", after(1_001)), None);
        assert!(limit.take_unreported_at(after(1_500)).is_empty());
        assert_eq!(limit.take_unreported_at(after(3_000)), [("a", 1)]);
        assert!(limit.take_unreported_at(after(9_000)).is_empty());
    }
}
