//! Counts of calls, minute by minute, for a store that one process has to itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The calls of the newest minute.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: i64,
    counts: HashMap<String, u64>,
}

impl Calls {
    /// Counts one more, and says how many there are.
    pub(super) fn count(&self, counter: &str, minute: i64) -> u64 {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back must not give back what was used up, so the newest minute goes on.
        if minute > newest.number {
            newest.number = minute;
            newest.counts.clear();
        }
        let count = match newest.counts.get_mut(counter) {
            Some(count) => count,
            None => newest.counts.entry(counter.to_owned()).or_default(),
        };
        *count += 1;
        *count
    }
}
