//! Running a transaction again after a conflict with another one.
//!
//! Under `SERIALIZABLE`, the server ends one of two transactions that no order explains, with the
//! code 40001. It ends one of two that wait for each other under any isolation, with 40P01. Both
//! codes promise that nothing of the transaction was kept, even as the answer to a `COMMIT`.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connector::{Purpose, QueryError};

/// How often a transaction is run at most.
const ATTEMPTS: u32 = 64;

/// The longest pause between two attempts is below 2⁴ ms.
const MOST_DOUBLINGS: u32 = 4;

/// The attempts of one transaction.
pub(super) struct Retries {
    attempts: u32,
    /// No attempt begins later than this.
    until: Instant,
}

impl Retries {
    /// Begins the first attempt.
    pub(super) fn new(purpose: &Purpose) -> Self {
        Self {
            attempts: 1,
            until: Instant::now() + purpose.answer,
        }
    }

    /// Waits until the next attempt may begin. Returns `false` if the error is not a conflict, or
    /// if there were too many attempts.
    ///
    /// The second attempt begins at once, since the other transaction has mostly ended. Further
    /// ones wait for a random time, so that two processes do not meet again and again.
    pub(super) async fn again(&mut self, error: &QueryError) -> bool {
        if !error.is_conflict || self.attempts >= ATTEMPTS || Instant::now() >= self.until {
            return false;
        }
        let pause = match self.attempts {
            1 => Duration::ZERO,
            attempts => random_below(1 << attempts.min(MOST_DOUBLINGS)),
        };
        self.attempts += 1;
        if !pause.is_zero() {
            sleep(pause).await;
        }
        true
    }
}

/// Returns a random duration of less than `milliseconds`.
fn random_below(milliseconds: u32) -> Duration {
    let mut bytes = [0; 2];
    // Without random numbers the pause is the longest one.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = [u8::MAX; 2];
    }
    Duration::from_millis(milliseconds.into()) * u16::from_ne_bytes(bytes).into() / (1 << 16)
}
