//! Waits for the end of an escalation, by long polling.
//!
//! A server that holds its answers back is asked again as soon as one arrives. For a server that
//! answers at once, or fails, the pauses between the requests grow:
//!
//! ```text
//! GET /v1/hitl/esc_1?wait=30   pending, after 30 s: asked again at once
//! GET /v1/hitl/esc_1?wait=30   pending, at once: this server does not hold back; pause 0.5 s
//! GET /v1/hitl/esc_1?wait=30   503: pause 1 s
//! GET /v1/hitl/esc_1?wait=28   approved
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::Client;
use super::escalations::path;
use super::retry::Repetition;
use crate::Error;
use crate::error::{Code, Failure};
use crate::json::object::Object;
use crate::wire::EscalationStatus;

/// The longest time for which a server is asked to hold an answer back. Proxies close connections
/// that are idle for a minute.
const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// The first and the longest pause between requests that a server does not hold back.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// The longest wait, which keeps instants representable: a year.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The members of an escalation that waiting needs. The others may have any form.
#[derive(Deserialize)]
struct StatusOnly {
    id: String,
    status: EscalationStatus,
}

impl Client {
    /// Waits until people decided on an escalation, for at most `at_most`, and returns its status:
    /// `GET /v1/hitl/{id}?wait=30`, again and again. An open status says that the time is over.
    /// `at_most` of zero looks the status up.
    ///
    /// Within the time, the call is repeated after faults of the network and of the server. The
    /// last answer may arrive one [timeout](super::ClientBuilder::timeout) after the time is over.
    /// Dropping the future leaves the escalation as it is.
    ///
    /// An approval does not permit the action: send the request again, as
    /// [`Ask::wait`](crate::authority::Ask::wait) does.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `escalation_id` is not a valid id. [`Error::Failed`] when the server
    /// refused the call, or gave no usable answer until the time was over.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use atlasent::Client;
    ///
    /// # async fn f(client: Client, id: &str) -> Result<(), atlasent::Error> {
    /// let status = client.wait(id, Duration::from_secs(600)).await?;
    /// println!("{id} is {status}");
    /// # Ok(()) }
    /// ```
    pub async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        let path = path(escalation_id, "")?;
        let time = &self.shared.transport.time;
        let ends = time.now() + at_most.min(LONGEST_WAIT);
        let mut pauses = Pauses::default();
        let mut known = None;
        loop {
            let asked = time.now();
            let hold = ends.saturating_duration_since(asked).min(LONGEST_HOLD);
            let hold = Duration::from_secs(hold.as_secs());
            let polled = self.poll(&path, escalation_id, hold).await;
            let took = time.now().saturating_duration_since(asked);
            let (latest, pause) = match polled {
                Ok(status) if !status.is_open() => return Ok(status),
                Ok(status) => (Ok(status), pauses.after_answer(took, hold)),
                Err(Error::Failed(failure)) if is_transient(&failure) => {
                    (Err(failure), pauses.next())
                }
                Err(error) => return Err(error),
            };
            known = latest.as_ref().ok().cloned().or(known);
            let requested = latest
                .as_ref()
                .err()
                .and_then(|failure| failure.retry_after());
            let requested = requested.unwrap_or_default();
            let left = ends.saturating_duration_since(time.now());
            if left.is_zero() || requested > left {
                // As far as is known, the escalation is still open.
                return known.map_or(latest.map_err(Error::Failed), Ok);
            }
            // Half of the pause is random, so that clients that failed together come back apart.
            let pause = (pause / 2 + time.jitter(pause / 2))
                .max(requested)
                .min(left);
            if let Err(failure) = latest {
                tracing::warn!(
                    target: "atlasent",
                    escalation_id,
                    error = %failure,
                    wait_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "retrying to wait for an escalation"
                );
            }
            time.sleep(pause).await;
        }
    }

    /// Asks for the status once. The server may hold its answer back for as long as the status is
    /// open.
    async fn poll(&self, path: &str, id: &str, hold: Duration) -> Result<EscalationStatus, Error> {
        let query = match hold.as_secs() {
            0 => Vec::new(),
            seconds => vec![("wait", seconds.to_string())],
        };
        let transport = &self.shared.transport;
        let call = transport.get(path).with_query(&query);
        let call = call.repeated(Repetition::Held(hold));
        let mut answer = transport.fetch_response(&call).await?;
        let Object(escalation) = answer.read::<Object<StatusOnly>>()?;
        if escalation.id != id {
            let text = "the answer is about another escalation";
            return Err(answer.fail(Failure::new(Code::BadResponse, text)));
        }
        Ok(escalation.status)
    }
}

/// Returns whether a later request may succeed. An answer that cannot be read stays so.
fn is_transient(failure: &Failure) -> bool {
    matches!(
        failure.code(),
        Code::Network | Code::Timeout | Code::ServerError | Code::RateLimited
    )
}

/// The pauses between requests. They double with each request that the server did not hold back.
#[derive(Debug, Default)]
struct Pauses {
    in_a_row: u32,
}

impl Pauses {
    /// Returns the pause after an answer: none if the server held it back for half of the time that
    /// it was asked for, or longer.
    fn after_answer(&mut self, took: Duration, hold: Duration) -> Duration {
        if !hold.is_zero() && took >= hold / 2 {
            self.in_a_row = 0;
            return Duration::ZERO;
        }
        self.next()
    }

    /// Returns the next longer pause.
    fn next(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.in_a_row.min(16));
        self.in_a_row = self.in_a_row.saturating_add(1);
        pause.min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pauses_double_until_a_server_holds_an_answer_back() {
        let mut pauses = Pauses::default();
        let next: Vec<_> = (0..8).map(|_| pauses.next().as_millis()).collect();
        assert_eq!(next, [500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
        let hold = ms(30_000);
        assert_eq!(pauses.after_answer(ms(14_000), hold), ms(15_000));
        assert_eq!(pauses.after_answer(ms(15_000), hold), ms(0));
        assert_eq!(pauses.after_answer(ms(10), hold), ms(500));
        assert_eq!(pauses.after_answer(ms(10), ms(0)), ms(1000));
    }
}
