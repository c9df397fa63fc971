//! The JSON body of a request.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use atlasent::text::json_error;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::keys::{ApiKey, KeyDigest};
use crate::server::api_error::ApiError;
use crate::server::entry::caller::ApiCaller;

/// The largest body, in bytes: 1 MiB (contract, part B).
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// Reads the bytes of a request's body, after checking that its headers announce plain JSON.
/// [Checks](ApiCaller::check_body) which API keys the body contains.
pub(crate) async fn read<S>(request: Request, caller: &ApiCaller<S>) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    check_type(&parts.headers)?;
    let bytes = collect(&parts.headers, body, MAX_BODY).await?;
    caller.check_body(&bytes)?;
    Ok(bytes)
}

/// Checks the body of a request whose endpoint needs none. It may be missing.
pub(crate) async fn check_unused<S>(
    request: Request,
    caller: &ApiCaller<S>,
) -> Result<(), ApiError> {
    let is_missing = request.body().is_end_stream();
    if !is_missing {
        read_json::<IgnoredAny, S>(request, caller).await?;
    }
    Ok(())
}

/// Reads the bytes of a form of at most `most` bytes.
#[cfg(feature = "console")]
pub(crate) async fn read_form(request: Request, most: usize) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    let mut types = parts.headers.get_all(header::CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(one), None) if one.as_bytes() == b"application/x-www-form-urlencoded" => {}
        _ => return Err(unsupported("the body has to be a form of the console")),
    }
    collect(&parts.headers, body, most).await
}

/// Reads at most `most` bytes of a body that is not compressed.
async fn collect(headers: &HeaderMap, body: Body, most: usize) -> Result<Vec<u8>, ApiError> {
    check_encoding(headers)?;
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "BODY_TOO_LARGE",
            format!("the body has more than {most} bytes: send a smaller one"),
        )
    };
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > most) {
        return Err(too_large());
    }
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) if is_too_slow(&*error) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "BODY_TOO_SLOW",
            "the body did not arrive in time: send it faster",
        )),
        Err(_) => Err(ApiError::unreadable(
            "BODY_CUT_OFF",
            "the body broke off before its end",
        )),
    }
}

/// Adds a time limit to the arrival of a body: a slow body would hold the concurrency slot of its
/// request until the request's deadline.
pub(crate) fn with_timeout(body: Body, limit: Duration) -> Body {
    match body.is_end_stream() {
        true => body,
        false => Body::new(TimedBody {
            body,
            deadline: Instant::now() + limit,
            timer: None,
        }),
    }
}

struct TimedBody {
    body: Body,
    deadline: Instant,
    /// Created when the body has to be waited for: most bodies arrive with their head.
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
struct TooSlow;

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self {
            body,
            deadline,
            timer,
        } = self.get_mut();
        // Checked on each poll, since a body that trickles in never waits for the timer.
        if Instant::now() >= *deadline {
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        }
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(*deadline)));
        ready!(timer.as_mut().poll(context));
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

/// Checks that `Content-Type` announces JSON in UTF-8: JSON on the wire has no other encoding
/// (RFC 8259, 8.1).
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
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
                "the body has to be UTF-8: encode it so, and leave `charset` out of `Content-Type`",
            ));
        }
    }
    Ok(())
}

/// Checks that the body is not compressed: a small body could expand to a large one.
fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
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

fn unsupported(message: &'static str) -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        message,
    )
}

/// [Reads](read) and parses the JSON body of a request.
pub(crate) async fn read_json<T: DeserializeOwned, S>(
    request: Request,
    caller: &ApiCaller<S>,
) -> Result<T, ApiError> {
    parse(&read(request, caller).await?)
}

/// Parses a body as a JSON object. The message of an error names the field and its position, and
/// repeats no value of the body.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let not_an_object = || ApiError::unreadable("INVALID_JSON", "the body is not a JSON object");
    // Fields that are skipped have to be UTF-8, too (RFC 8259, 8.1).
    let body = std::str::from_utf8(body).map_err(|_| not_an_object())?;
    // Serde would accept an array for a struct.
    if !body.trim_start().starts_with('{') {
        return Err(not_an_object());
    }
    serde_json::from_str(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            serde_json::error::Category::Data => {
                let why = without_number_types(&json_error(&error));
                ApiError::invalid(format!("in the body, {why}"))
            }
            _ if is_out_of_range(&error) => ApiError::invalid(format!(
                "in the body, a number is too large at line {line} column {column}"
            )),
            _ => ApiError::unreadable(
                "INVALID_JSON",
                format!("the body is not JSON (line {line}, column {column})"),
            ),
        }
    })
}

/// Returns whether a JSON text was refused for a number that is too large for a float. `serde_json`
/// calls this a syntax error, and only its message tells the two apart.
pub(crate) fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("number out of range")
}

/// Replaces the name of a number type of Rust, which serde says was expected, by the numbers that
/// the field takes.
fn without_number_types(message: &str) -> String {
    const EXPECTED: &str = ", expected ";
    let Some((start, rest)) = message.rsplit_once(EXPECTED) else {
        return message.to_owned();
    };
    let (name, position) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
    let numbers = match name {
        "u8" => whole_numbers(u8::MIN, u8::MAX),
        "u16" => whole_numbers(u16::MIN, u16::MAX),
        "u32" => whole_numbers(u32::MIN, u32::MAX),
        "u64" => whole_numbers(u64::MIN, u64::MAX),
        "usize" => whole_numbers(usize::MIN, usize::MAX),
        "i8" => whole_numbers(i8::MIN, i8::MAX),
        "i16" => whole_numbers(i16::MIN, i16::MAX),
        "i32" => whole_numbers(i32::MIN, i32::MAX),
        "i64" => whole_numbers(i64::MIN, i64::MAX),
        "isize" => whole_numbers(isize::MIN, isize::MAX),
        "f32" | "f64" => "a number".to_owned(),
        _ => return message.to_owned(),
    };
    format!("{start}{EXPECTED}{numbers}{position}")
}

fn whole_numbers<N: Display>(least: N, most: N) -> String {
    format!("a whole number from {least} to {most}")
}

/// Refuses a JSON body with another API key than the `Authorization` header. Only the header
/// authenticates (contract, part B).
pub(crate) fn check_key(json: &[u8], key: &ApiKey) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct KeyBody {
        api_key: Option<String>,
    }
    if !may_name_key(json) {
        return Ok(());
    }
    let body: KeyBody = parse(json)?;
    let Some(sent) = body.api_key.filter(|sent| !sent.is_empty()) else {
        return Ok(());
    };
    let digest = KeyDigest::from_key(&sent);
    if bool::from(digest.as_bytes().ct_eq(key.digest.as_bytes())) {
        return Ok(());
    }
    Err(ApiError::unauthorized(
        "API_KEY_MISMATCH",
        "`api_key` in the body differs from the key in `Authorization`: leave it out",
    ))
}

/// Returns whether a JSON text can have a member `api_key`, in plain letters or with escapes. Most
/// bodies cannot have it, and are not parsed for it.
fn may_name_key(json: &[u8]) -> bool {
    const NAME: &[u8] = b"\"api_key\"";
    json.contains(&b'\\') || json.windows(NAME.len()).any(|window| window == NAME)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn an_error_names_the_numbers_that_a_field_takes_and_no_type_of_rust() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "the fields are read by serde only")]
        struct Numbers {
            small: Option<u32>,
            large: Option<u64>,
            signed: Option<i64>,
            score: Option<f64>,
        }
        for (body, expected) in [
            (
                r#"{"small":-1}"#,
                "invalid value, expected a whole number from 0 to 4294967295",
            ),
            (
                r#"{"large":1.5}"#,
                "invalid type, expected a whole number from 0 to 18446744073709551615",
            ),
            (
                r#"{"signed":"7, expected u64"}"#,
                "invalid type, expected a whole number from -9223372036854775808 to \
                 9223372036854775807",
            ),
            (r#"{"score":true}"#, "invalid type, expected a number"),
        ] {
            let error = parse::<Numbers>(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, "INVALID_FIELD");
            let start = format!("in the body, {expected} at line 1 column ");
            assert!(error.message().starts_with(&start), "{}", error.message());
        }
        let text = "invalid type, expected a string at line 1 column 2";
        assert_eq!(without_number_types(text), text);
    }

    #[test]
    fn a_number_that_is_too_large_is_a_wrong_field_and_still_json() {
        let read = |body: &str| parse::<serde_json::Value>(body.as_bytes()).unwrap_err();
        for body in [r#"{"a":1e400}"#, r#"{"a":[-1e999]}"#] {
            let error = read(body);
            assert_eq!(error.code, "INVALID_FIELD", "{body}");
            assert!(error.message().contains("a number is too large"), "{body}");
        }
        assert_eq!(read(r#"{"a":1e}"#).code, "INVALID_JSON");
    }

    #[test]
    fn a_body_has_the_key_of_the_header_or_no_key() {
        let key = "ask_test_0123456789";
        let key = ApiKey::parse_allow_weak(&SecretString::from(key)).unwrap();
        let check = |json: &str| check_key(json.as_bytes(), &key).map_err(|error| error.code);
        for json in [
            "{}",
            "no JSON",
            r#"{"api_key":null}"#,
            r#"{"api_key":""}"#,
            r#"{"api_key":"ask_test_0123456789"}"#,
            r#"{"api_key":"ask_test_012345678\u0039"}"#,
            r#"{"context":{"api_key":"ask_test_other"}}"#,
        ] {
            assert_eq!(check(json), Ok(()), "{json}");
        }
        for json in [
            r#"{"api_key":"ask_test_other"}"#,
            r#"{"all":true, "api_key" : "ask_test_0123456789 "}"#,
            r#"{"api\u005fkey":"ask_test_other"}"#,
        ] {
            assert_eq!(check(json), Err("API_KEY_MISMATCH"), "{json}");
        }
        for json in [
            r#"{"api_key":7}"#,
            r#"{"api_key":"ask_test_0123456789","api\u005fkey":"ask_test_other"}"#,
        ] {
            assert_eq!(check(json), Err("INVALID_FIELD"), "{json}");
        }
    }
}
