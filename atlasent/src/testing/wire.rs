//! What the client reads off the wire, one part at a time: for `fuzz/`, which stands outside the
//! crate.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::client::StreamEvent;
use crate::client::headers;
use crate::client::secrets::Secrets;
use crate::client::stream::reader::StreamReader;
use crate::client::stream::sse::Decoder;
use crate::error::Failure;
use crate::wire::RateLimit;

/// The names and data of the server-sent events in a body that arrives in pieces, and whether they
/// end because one exceeds `limit`.
pub fn sse<'a>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(String, String)>, bool) {
    let mut decoder = Decoder::new(limit);
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push((event.name, event.data)),
                Ok(None) => break,
                Err(_) => return (events, true),
            }
        }
    }
    (events, false)
}

/// The typed events of an evaluation stream that arrives in pieces, and how it ends.
pub fn stream<'a>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<StreamEvent>, Result<(), Failure>) {
    let mut reader = StreamReader::new(limit, Secrets::default());
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(failure) => return (events, Err(failure)),
            }
        }
    }
    let end = reader.end();
    (events, end)
}

/// What an answer with these `Retry-After` headers asks for. None also when they are not fit for
/// HTTP.
#[must_use]
pub fn retry_after(values: &[&[u8]], now: SystemTime) -> Option<Duration> {
    let pairs = values.iter().map(|value| (RETRY_AFTER, *value));
    headers::retry_after(&header_map(pairs)?, now)
}

/// The rate limit of an answer with these headers. None also when they are not fit for HTTP.
#[must_use]
pub fn rate_limit(limit: &[u8], remaining: &[u8], reset: &[u8]) -> Option<RateLimit> {
    let pairs = [
        (HeaderName::from_static("x-ratelimit-limit"), limit),
        (HeaderName::from_static("x-ratelimit-remaining"), remaining),
        (HeaderName::from_static("x-ratelimit-reset"), reset),
    ];
    headers::rate_limit(&header_map(pairs)?)
}

fn header_map<'a>(pairs: impl IntoIterator<Item = (HeaderName, &'a [u8])>) -> Option<HeaderMap> {
    pairs
        .into_iter()
        .map(|(name, value)| Some((name, HeaderValue::from_bytes(value).ok()?)))
        .collect()
}
