//! How many changes of an organization that crowds others go into one transaction.
//!
//! A transaction costs what becoming durable costs, and something for each change. With as many
//! changes as double its time, it keeps at least half of the throughput that the longest one would
//! have, and others wait at most twice as long for it as for one of a single change.
//!
//! ```text
//! a transaction of 1 change:    2 ms
//! a transaction of 64 changes:  8.3 ms, so 0.1 ms for each further one
//! so at most:                   2 ms / 0.1 ms = 20 changes
//! ```

use std::time::Duration;

/// Transactions of at most so many changes tell what becoming durable costs.
const SMALL: usize = 4;

/// The fewest changes of a transaction, however long they take.
const FEWEST: f64 = 8.0;

/// What the last transactions cost, in seconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// One of few changes, if it had to wait for nothing but the disk.
    small: Option<f64>,
    /// Each change of the others.
    change: Option<f64>,
}

impl Pace {
    /// Notes how long a transaction took.
    pub(super) fn learn(&mut self, changes: usize, took: Duration) {
        let took = took.as_secs_f64();
        if changes <= SMALL {
            // A short time counts at once: the longer ones waited for something else.
            match &mut self.small {
                Some(small) if took > *small => *small += (took - *small) / 64.0,
                small => *small = Some(took),
            }
        } else if let Some(small) = self.small {
            let change = (took - small).max(0.0) / changes as f64;
            let average = self.change.get_or_insert(change);
            *average += (change - *average) / 8.0;
        }
    }

    /// Returns how many changes a transaction takes at most.
    pub(super) fn most(&self, most: usize) -> usize {
        match (self.small, self.change) {
            // A result that is too large for an integer, or infinite, becomes the largest one.
            (Some(small), Some(change)) => most.min((small / change).max(FEWEST) as usize),
            _ => most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1_000.0)
    }

    #[test]
    fn a_transaction_of_many_changes_takes_twice_as_long_as_one_of_one() {
        let mut pace = Pace::default();
        assert_eq!(pace.most(512), 512, "nothing is known");
        pace.learn(64, ms(8.4));
        assert_eq!(pace.most(512), 512);
        for _ in 0..10 {
            pace.learn(1, ms(2.0));
            pace.learn(64, ms(8.4));
        }
        assert_eq!(pace.most(512), 20);
        assert_eq!(pace.most(16), 16);
    }

    #[test]
    fn a_slow_commit_takes_all_changes_and_slow_changes_are_few() {
        let mut pace = Pace::default();
        pace.learn(1, ms(20.0));
        pace.learn(64, ms(20.5));
        assert_eq!(pace.most(512), 512);
        pace.learn(64, ms(19.0));
        assert_eq!(pace.most(512), 512);
        let mut pace = Pace::default();
        pace.learn(1, ms(0.1));
        pace.learn(64, ms(640.0));
        assert_eq!(pace.most(512), 8);
    }

    #[test]
    fn a_slow_transaction_is_forgotten() {
        let mut pace = Pace::default();
        pace.learn(1, ms(10_000.0));
        pace.learn(64, ms(10_000.0));
        for _ in 0..200 {
            pace.learn(1, ms(2.0));
            pace.learn(64, ms(8.4));
        }
        assert_eq!(pace.most(512), 20);
    }

    #[test]
    fn small_transactions_that_wait_for_others_allow_no_longer_ones() {
        let mut pace = Pace::default();
        for number in 0..100 {
            pace.learn(1, ms(if number % 10 == 0 { 2.0 } else { 4.0 }));
            pace.learn(64, ms(8.4));
        }
        assert!((18..=24).contains(&pace.most(512)), "{}", pace.most(512));
    }

    #[test]
    fn transactions_without_a_duration_harm_nothing() {
        let mut pace = Pace::default();
        pace.learn(1, Duration::ZERO);
        pace.learn(64, Duration::ZERO);
        assert!((8..=512).contains(&pace.most(512)));
    }
}
