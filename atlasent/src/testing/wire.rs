//! The client's parsers, one by one, for `fuzz/`, which is a crate of its own.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::client::StreamEvent;
use crate::client::headers;
use crate::client::secrets::Secrets;
use crate::client::stream::reader::StreamReader;
use crate::client::stream::sse::SseDecoder;
use crate::error::Failure;
use crate::wire::RateLimit;

/// Returns the names and data of the server-sent events in a body that arrives in pieces, and
/// whether decoding stopped because an event exceeded `limit`.
pub fn sse<'a>(
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(String, String)>, bool) {
    let mut decoder = SseDecoder::new(limit);
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

/// Returns the typed events of an evaluation stream that arrives in pieces, and the result of its
/// end.
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

/// Returns the wait that an answer with these `Retry-After` headers requests. `None` also if a
/// value is not a valid HTTP header.
#[must_use]
pub fn retry_after(values: &[&[u8]], now: SystemTime) -> Option<Duration> {
    let pairs = values.iter().map(|value| (RETRY_AFTER, *value));
    headers::retry_after(&header_map(pairs)?, now)
}

/// Returns the rate limit of an answer with these headers. `None` also if a value is not a valid
/// HTTP header.
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
