//! The JSON body of a request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::keys::{ApiKey, KeyDigest};
use crate::server::api_error::Problem;

/// The largest body that is read, in bytes: 1 MiB (contract, part B).
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// Reads the bytes of a request's JSON body.
pub(crate) async fn read(request: Request) -> Result<Vec<u8>, Problem> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    check_type(headers)?;
    check_encoding(headers)?;
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BODY_TOO_LARGE",
            format!("the body has more than {MAX_BODY} bytes"),
        )
    };
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY) {
        return Err(too_large());
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) if is_too_slow(&*error) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "BODY_TOO_SLOW",
            "the body did not arrive in time",
        )),
        Err(_) => Err(Problem::unreadable(
            "BODY_CUT_OFF",
            "the body broke off before its end",
        )),
    }
}

/// Makes a body fail unless it arrives within a time: a slow one would hold the place of its
/// request as long as the request may take.
pub(crate) fn timed(body: Body, limit: Duration) -> Body {
    match body.is_end_stream() {
        true => body,
        false => Body::new(Timed {
            body,
            at: Instant::now() + limit,
            over: None,
        }),
    }
}

struct Timed {
    body: Body,
    at: Instant,
    /// Made when the body is waited for: most bodies arrive with their head.
    over: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
struct TooSlow;

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, at, over } = self.get_mut();
        // One that trickles in is too slow as well, though it is never waited for long.
        if Instant::now() >= *at {
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        }
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let over = over.get_or_insert_with(|| Box::pin(sleep_until(*at)));
        ready!(over.as_mut().poll(context));
        Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn is_too_slow(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<TooSlow>())
}

/// Checks that the body is said to be JSON in UTF-8: JSON on the wire has no other encoding
/// (RFC 8259, 8.1).
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let media_type = match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().unwrap_or_default(),
        _ => "",
    };
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(unsupported(
            "the body has to be JSON: send one `Content-Type: application/json`",
        ));
    }
    let charsets = parts.filter_map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"'))
    });
    for charset in charsets {
        if !["utf-8", "utf8"]
            .iter()
            .any(|utf8| charset.eq_ignore_ascii_case(utf8))
        {
            return Err(unsupported(
                "the body has to be UTF-8: send it so, and leave `charset` out of `Content-Type`",
            ));
        }
    }
    Ok(())
}

/// Checks that the body is not compressed: a small body could become a large one.
fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let lists = headers.get_all(header::CONTENT_ENCODING).iter();
    let is_identity = |list: &HeaderValue| {
        list.to_str().is_ok_and(|list| {
            let codings = list.split(',').map(str::trim);
            (codings.filter(|coding| !coding.is_empty()))
                .all(|coding| coding.eq_ignore_ascii_case("identity"))
        })
    };
    match lists.into_iter().all(is_identity) {
        true => Ok(()),
        false => Err(unsupported(
            "the body may not be compressed: send it without `Content-Encoding`",
        )),
    }
}

fn unsupported(message: &'static str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        message,
    )
}

/// Reads a body as an object. A message names the field and the place, and repeats nothing of the
/// body.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let not_an_object = || Problem::unreadable("INVALID_JSON", "the body is not a JSON object");
    // What is passed over has to be UTF-8, too (RFC 8259, 8.1).
    let body = std::str::from_utf8(body).map_err(|_| not_an_object())?;
    // A sequence would do for a struct (serde), and is no body of ours.
    if !body.trim_start().starts_with('{') {
        return Err(not_an_object());
    }
    serde_json::from_str(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                Problem::invalid(format!("in the body, {}", said(&error)))
            }
            _ => Problem::unreadable(
                "INVALID_JSON",
                format!("the body is not JSON (line {line}, column {column})"),
            ),
        }
    })
}

/// What serde says, as long as it quotes no value: `invalid type: string "…", expected …` does.
pub(crate) fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once('"') {
        Some((before, after)) => {
            let rest = after.rsplit_once('"').map_or("", |(_, rest)| rest);
            format!("{before}…{rest}")
        }
        None => text,
    }
}

/// Refuses a body with another API key than the one of the header, which alone counts (contract,
/// part B).
pub(crate) fn check_key(sent: Option<&str>, key: &ApiKey) -> Result<(), Problem> {
    let Some(sent) = sent.filter(|sent| !sent.is_empty()) else {
        return Ok(());
    };
    let digest = KeyDigest::from_key(sent);
    if bool::from(digest.as_bytes().ct_eq(key.digest.as_bytes())) {
        return Ok(());
    }
    Err(Problem::unauthorized(
        "API_KEY_MISMATCH",
        "`api_key` in the body is another key than the one in `Authorization`: leave it out",
    ))
}
