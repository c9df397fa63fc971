//! The pauses of the server's requests to others: collectors and receivers of notifications.

use std::time::Duration;

/// The pauses between attempts that fail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// The longest first pause.
    pub(super) first: Duration,
    /// The longest pause of all.
    pub(super) longest: Duration,
}

impl Backoff {
    /// The pause after a number of failures in a row: from half of its longest time (jitter 0) to
    /// all of it (jitter 255). Jitter keeps servers that lost a receiver from returning at the same
    /// moment.
    pub(super) fn pause(self, failures: u32, jitter: u8) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        let longest = self.first.saturating_mul(doubled).min(self.longest);
        let half = longest / 2;
        half + half * u32::from(jitter) / 255
    }
}

/// Returns a random jitter.
pub(super) fn jitter() -> u8 {
    let mut byte = [0];
    // Without randomness, the pause is the longest.
    match getrandom::fill(&mut byte) {
        Ok(()) => u8::from_ne_bytes(byte),
        Err(_) => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = Backoff {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
        };
        let longest: Vec<_> = (1..=8)
            .map(|failures| pauses.pause(failures, 255).as_millis())
            .collect();
        assert_eq!(
            longest,
            [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        );
        assert_eq!(pauses.pause(u32::MAX, 0), pauses.longest / 2);
    }
}
