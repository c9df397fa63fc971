//! How long to wait before a stream is opened again.

use std::time::Duration;

use crate::guard::http::sse::Decoder;

/// The wait, unless the server says otherwise.
const RETRY: Duration = Duration::from_secs(1);
/// The shortest wait, whatever the server says.
const MIN_RETRY: Duration = Duration::from_millis(100);
/// The longest wait.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// What became of the last attempt to open a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The stream was opened, and ended.
    Connected,
    /// The server or the authority gave no answer.
    Failed,
}

/// The waits between the connections of one stream. They double as long as no connection brings an
/// event.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// The number of connections without an event in a row.
    quiet: u32,
}

impl Backoff {
    /// Returns how long to wait after an attempt.
    pub(super) fn next(&mut self, decoder: &Decoder, attempt: Attempt) -> Duration {
        let asked = decoder.retry.map_or(RETRY, Duration::from_millis);
        let asked = asked.clamp(MIN_RETRY, MAX_RETRY);
        let most = match attempt {
            Attempt::Connected if decoder.has_events => {
                self.quiet = 0;
                return asked;
            }
            // A server may let its clients poll, so it is asked again within the usual wait.
            Attempt::Connected => asked.max(RETRY),
            Attempt::Failed => MAX_RETRY,
        };
        let wait = asked.saturating_mul(1 << self.quiet.min(10)).min(most);
        self.quiet = self.quiet.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the waits in milliseconds after attempts of one kind.
    fn waits(decoder: &Decoder, attempt: Attempt) -> Vec<u128> {
        let mut backoff = Backoff::default();
        let waits = (0..8).map(|_| backoff.next(decoder, attempt).as_millis());
        waits.collect()
    }

    fn asking(retry: &str) -> Decoder {
        let mut decoder = Decoder::default();
        decoder
            .push(format!("retry: {retry}\n\n").as_bytes())
            .unwrap();
        decoder
    }

    #[test]
    fn a_server_that_asks_for_no_wait_gets_one() {
        let quiet = [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000];
        assert_eq!(waits(&asking("0"), Attempt::Connected), quiet);
        let mut decoder = asking("0");
        decoder.push(b"data: {}\n\n").unwrap();
        assert_eq!(waits(&decoder, Attempt::Connected), [100; 8]);
    }

    #[test]
    fn a_server_is_asked_again_when_it_says() {
        assert_eq!(waits(&asking("5000"), Attempt::Connected), [5_000; 8]);
        assert_eq!(waits(&asking("99999999"), Attempt::Connected), [30_000; 8]);
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_asked_less_and_less() {
        let waits = waits(&Decoder::default(), Attempt::Failed);
        let doubled = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
        assert_eq!(waits, doubled);
    }

    #[test]
    fn an_event_ends_the_longer_waits() {
        let mut backoff = Backoff::default();
        let quiet = asking("0");
        for _ in 0..5 {
            backoff.next(&quiet, Attempt::Failed);
        }
        let mut decoder = asking("0");
        decoder.push(b"data: {}\n\n").unwrap();
        backoff.next(&decoder, Attempt::Connected);
        assert_eq!(backoff.next(&quiet, Attempt::Connected), MIN_RETRY);
    }
}
