//! The JSON body of a request.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::problem::Problem;
use crate::keys::{ApiKey, KeyDigest};

/// The largest body that is read, in bytes: 1 MiB (contract, part B).
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// The bytes of a JSON body.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Problem> {
    if !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            "the body has to be JSON: send `Content-Type: application/json`",
        ));
    }
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
        Err(_) => Err(Problem::unreadable(
            "BODY_CUT_OFF",
            "the body broke off before its end",
        )),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let media_type = media_type.to_str().unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a body as an object. A message names the field and the place, and repeats nothing of the body.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
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
pub(super) fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once('"') {
        Some((before, after)) => {
            let rest = after.rsplit_once('"').map_or("", |(_, rest)| rest);
            format!("{before}…{rest}")
        }
        None => text,
    }
}

/// Refuses a body with another API key than the one of the header, which alone counts (contract, part B).
pub(super) fn check_key(sent: Option<&str>, key: &ApiKey) -> Result<(), Problem> {
    let Some(sent) = sent.filter(|sent| !sent.is_empty()) else {
        return Ok(());
    };
    let digest = KeyDigest::of(sent);
    if bool::from(digest.as_bytes().ct_eq(key.digest.as_bytes())) {
        return Ok(());
    }
    Err(Problem::unauthorized(
        "API_KEY_MISMATCH",
        "`api_key` in the body is another key than the one in `Authorization`: leave it out",
    ))
}
