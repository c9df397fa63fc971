//! Log lines of an outage: one a second of each kind, not one a request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a kind is silent after a line.
const PERIOD: Duration = Duration::from_secs(1);

/// The limit that all outages of this process share, as they share its log.
pub(super) static OUTAGES: LogLimit = LogLimit(Mutex::new(None));

/// Lets one line a second through for each kind. Kinds are texts of the program, so that their
/// number is bounded.
#[derive(Debug)]
pub(super) struct LogLimit(Mutex<Option<HashMap<&'static str, Kind>>>);

#[derive(Debug)]
struct Kind {
    last: Instant,
    suppressed: u64,
}

impl LogLimit {
    /// Admits a line. Returns how many of its kind were suppressed since the last one, or `None`
    /// when this one is to be suppressed, too.
    pub(super) fn admit(&self, kind: &'static str) -> Option<u64> {
        self.admit_at(kind, Instant::now())
    }

    fn admit_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.get_or_insert_default();
        let Some(known) = kinds.get_mut(kind) else {
            let new = Kind {
                last: now,
                suppressed: 0,
            };
            kinds.insert(kind, new);
            return Some(0);
        };
        if now.saturating_duration_since(known.last) < PERIOD {
            known.suppressed = known.suppressed.saturating_add(1);
            return None;
        }
        known.last = now;
        Some(std::mem::take(&mut known.suppressed))
    }

    /// Takes the numbers of lines that were suppressed and that no later line has told: the end of
    /// an outage has no line of its own.
    pub(super) fn take_untold(&self) -> Vec<(&'static str, u64)> {
        self.take_untold_at(Instant::now())
    }

    fn take_untold_at(&self, now: Instant) -> Vec<(&'static str, u64)> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = kinds.iter_mut().flatten();
        let untold = kinds.filter(|(_, kind)| {
            kind.suppressed > 0 && now.saturating_duration_since(kind.last) >= 2 * PERIOD
        });
        untold
            .map(|(name, kind)| {
                kind.last = now;
                (*name, std::mem::take(&mut kind.suppressed))
            })
            .collect()
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
        assert_eq!(limit.admit_at("a", start), Some(0));
        for ms in 1..500 {
            assert_eq!(limit.admit_at("a", after(ms)), None);
        }
        assert_eq!(limit.admit_at("b", after(500)), Some(0));
        assert_eq!(limit.admit_at("a", after(1_000)), Some(499));
        assert_eq!(limit.admit_at("a", after(1_001)), None);
        assert!(limit.take_untold_at(after(1_500)).is_empty());
        assert_eq!(limit.take_untold_at(after(3_000)), [("a", 1)]);
        assert!(limit.take_untold_at(after(9_000)).is_empty());
    }
}
