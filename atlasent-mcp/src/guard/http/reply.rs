//! The responses with the messages of a session: as JSON, or as a stream of events.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::time::timeout;

use super::outbox::{Next, Reader};
use super::sessions::HttpSession;

/// How long a response may take before it becomes a stream.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a stream without messages shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Answers a request: as JSON if its response comes soon and alone, and else as a stream.
pub(super) async fn respond(mut reader: Reader, session: &Arc<HttpSession>) -> Response {
    let first = timeout(PATIENCE, reader.next()).await.ok();
    match first {
        Some(Next::Event {
            text,
            is_last: true,
            ..
        }) => {
            reader.forget();
            ([(CONTENT_TYPE, "application/json")], text.to_string()).into_response()
        }
        first => {
            // A stream that is over brings nothing to come back for.
            let is_primed = session.primes_streams() && first != Some(Next::End);
            let primer = is_primed.then(|| reader.primer());
            stream_from(reader, primer, first, Arc::clone(session))
        }
    }
}

/// Streams events to a client. The session lives as long as the stream is read.
pub(super) fn event_stream(reader: Reader, session: Arc<HttpSession>) -> Response {
    stream_from(reader, None, None, session)
}

/// Streams events to a client: the text of an event that comes before all others, the first event
/// if it was taken before, and the events of the reader.
fn stream_from(
    reader: Reader,
    primer: Option<String>,
    first: Option<Next>,
    session: Arc<HttpSession>,
) -> Response {
    struct Streaming {
        reader: Reader,
        primer: Option<String>,
        first: Option<Next>,
        is_over: bool,
        session: Arc<HttpSession>,
    }
    impl Drop for Streaming {
        fn drop(&mut self) {
            // A client whose connection broke comes back.
            self.session.touch();
        }
    }
    let state = Streaming {
        reader,
        primer,
        first,
        is_over: false,
        session,
    };
    let events = stream::unfold(state, async |mut state| {
        if state.is_over {
            return None;
        }
        if let Some(primer) = state.primer.take() {
            return Some((Ok(primer), state));
        }
        let next = match state.first.take() {
            Some(next) => Ok(next),
            None => timeout(KEEP_ALIVE, state.reader.next()).await,
        };
        let text = match next {
            Ok(Next::Event {
                position,
                text,
                is_last,
            }) => {
                state.is_over = is_last;
                state.reader.event(position, &text)
            }
            Ok(Next::End) => return None,
            Err(_) => ": alive\n\n".to_owned(),
        };
        Some((Ok::<_, std::convert::Infallible>(text), state))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}
