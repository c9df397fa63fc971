//! The streams of one session with a server: the stream of each response, until the response comes,
//! and the stream of the session. Each is opened again when it ends.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep};

use super::{Broken, Connection, is_event_stream, not_sent, unreachable};
use crate::guard::http::sse::Decoder;
use crate::guard::http::upstream::backoff::{Attempt, Backoff};
use crate::guard::message::RequestId;
use crate::refusal::Verdict;

/// How often in a row a stream is resumed that ends soon and brings nothing.
const MAX_QUIET: u32 = 10;
/// A stream that is there for this long is one that the server, or a proxy, ends from time to time.
const LASTING: Duration = Duration::from_secs(5);
/// How often in a row a server that is not reached is asked to resume a stream.
const MAX_ATTEMPTS: u32 = 3;

impl Connection {
    /// Passes on the messages of a stream until the response of the request, and resumes a stream
    /// that ends before. A server may end its streams at any time and let its clients poll
    /// (SEP-1699), so a stream is resumed as long as it brings events or lasts.
    pub(super) async fn stream(
        &self,
        mut response: Response,
        id: &RequestId,
        is_first: bool,
    ) -> Result<(), Broken> {
        let mut decoder = Decoder::default();
        let mut backoff = Backoff::default();
        let mut quiet = 0;
        let mut ended_at = Instant::now();
        loop {
            if self
                .events(&mut response, &mut decoder, Some(id), is_first)
                .await?
            {
                return Ok(());
            }
            // The wait before a connection counts: a server that asks for long waits is polled.
            quiet = match decoder.has_events || ended_at.elapsed() >= LASTING {
                true => 0,
                false => quiet + 1,
            };
            ended_at = Instant::now();
            if decoder.last_id.is_none() || quiet > MAX_QUIET {
                return Err(Broken::Request(
                    "the server ended its stream without a response".to_owned(),
                ));
            }
            response = self.resumed(&mut decoder, &mut backoff).await?;
        }
    }

    /// Opens a stream again after its last event.
    async fn resumed(
        &self,
        decoder: &mut Decoder,
        backoff: &mut Backoff,
    ) -> Result<Response, Broken> {
        let mut attempt = Attempt::Connected;
        let mut attempts = 0;
        loop {
            sleep(backoff.next(decoder, attempt)).await;
            decoder.reconnected();
            attempts += 1;
            let request = self.get(decoder.last_id.as_deref()).await;
            let request = request.map_err(not_sent)?;
            let broken = match self.upstream.client.execute(request).await {
                Ok(response) if is_open(&response) => {
                    return Ok(response);
                }
                Ok(response) => {
                    let broken = Broken::Request(format!(
                        "the server does not resume its stream (HTTP {})",
                        response.status()
                    ));
                    if !is_temporary(response.status()) {
                        return Err(broken);
                    }
                    broken
                }
                Err(error) => unreachable(error),
            };
            if attempts == MAX_ATTEMPTS {
                return Err(broken);
            }
            attempt = Attempt::Failed;
        }
    }

    /// Passes on what the server sends outside of requests, until it offers no stream.
    pub(super) async fn listen(&self) {
        let mut decoder = Decoder::default();
        let mut backoff = Backoff::default();
        loop {
            let next_message = self.credentials.next_message();
            tokio::pin!(next_message);
            // Registered before the authority is asked, so that no message in between is missed.
            next_message.as_mut().enable();
            let attempt = match self.get(decoder.last_id.as_deref()).await {
                Ok(request) => match self.upstream.client.execute(request).await {
                    Ok(mut response) if is_open(&response) => {
                        let events = self.events(&mut response, &mut decoder, None, false);
                        if events.await.is_err() {
                            return;
                        }
                        Attempt::Connected
                    }
                    Ok(response) if is_temporary(response.status()) => Attempt::Failed,
                    // The server has no such stream, or no such session any more.
                    Ok(_) => return,
                    Err(_) => Attempt::Failed,
                },
                Err(refusal) if refusal.verdict() == Verdict::Unavailable => Attempt::Failed,
                // A stop, or a token that expired. The client's next message may bring another one.
                Err(refusal) => {
                    let reason = refusal.reason();
                    tracing::warn!(reason, "the stream of the server is not opened again");
                    next_message.await;
                    continue;
                }
            };
            let wait = backoff.next(&decoder, attempt);
            decoder.reconnected();
            sleep(wait).await;
        }
    }
}

/// Whether a server has opened a stream.
fn is_open(response: &Response) -> bool {
    response.status().is_success() && is_event_stream(response)
}

/// Whether a server, or a proxy before it, may answer another way later.
fn is_temporary(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}
