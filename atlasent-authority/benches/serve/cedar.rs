//! The decision alone, without a server, a permit or a record.

use std::time::{Duration, Instant};

use super::bare_cedar::Cedar;
use super::question::{ACTION, AMOUNT, POLICIES, REGION};

/// Returns the time of one decision, request and context built anew each time: the median of a
/// hundred runs.
pub(super) fn time_of_a_decision(decisions: u32) -> Duration {
    let cedar = Cedar::new(POLICIES, ACTION);
    let mut runs: Vec<_> = (0..100)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..decisions {
                cedar.decide(AMOUNT, REGION);
            }
            started.elapsed() / decisions
        })
        .collect();
    runs.sort_unstable();
    runs[runs.len() / 2]
}
