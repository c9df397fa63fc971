//! Maps statuses, error bodies and connection errors to a [`Failure`], by the contract's table of
//! errors.

use std::error::Error as StdError;
use std::io;

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::retry::FailedAttempt;
use super::secrets::Secrets;
use crate::error::{Code, Failure};
use crate::text::escape::escaped;
use crate::text::json_error;

/// The maximum length of the part of an answer that a message repeats, in characters (contract,
/// part A, "Errors"). Unlike in the contract, only JSON is repeated, because its secrets can be
/// found.
const MAX_MESSAGE_CHARS: usize = 500;
/// The maximum length of an error's code, in characters.
const MAX_CODE_LEN: usize = 64;
/// The maximum length of a media type that is repeated.
const MAX_MEDIA_TYPE_LEN: usize = 64;

/// Returns the failure of an answer whose status is not a success.
pub(super) fn from_status(status: StatusCode, message: ErrorMessage) -> FailedAttempt {
    let code = match status.as_u16() {
        401 => Code::InvalidApiKey,
        403 => Code::Forbidden,
        429 => Code::RateLimited,
        400..=499 => Code::BadRequest,
        500..=599 => Code::ServerError,
        _ => Code::BadResponse,
    };
    let line = match code {
        Code::BadResponse => format!("status {status} is neither a success nor an error"),
        _ => format!("status {status}"),
    };
    let message = match message {
        ErrorMessage::Text(text) => text,
        ErrorMessage::NotJson(body) => format!("{line}, and its body is not JSON: {body}"),
        ErrorMessage::Missing if code == Code::BadResponse => line,
        ErrorMessage::Missing => format!("{line}, without a message"),
    };
    let failure = Failure::new(code, message).with_status(status.as_u16());
    match code {
        Code::ServerError => FailedAttempt::retryable(failure),
        _ => FailedAttempt::permanent(failure),
    }
}

/// Returns the code with this name in the SDKs. Any other name becomes [`Code::ServerError`]: the
/// authority failed for a reason that this version does not know.
pub(super) fn code_from_name(name: &str) -> Code {
    [
        Code::InvalidApiKey,
        Code::Forbidden,
        Code::RateLimited,
        Code::BadRequest,
        Code::Timeout,
        Code::Network,
        Code::BadResponse,
    ]
    .into_iter()
    .find(|code| code.as_str() == name)
    .unwrap_or(Code::ServerError)
}

/// Returns the failure of a request or an answer that was not transmitted.
pub(super) fn from_transport(error: reqwest::Error) -> FailedAttempt {
    // The caller knows the URL; it would only lengthen the message.
    let error = error.without_url();
    let text = error_chain(&error);
    let is_tls = sources(&error).any(is_tls_error);
    let is_timeout = error.is_timeout();
    let is_connect = error.is_connect();
    let failure = |code, text: String| Failure::new(code, text).with_source(error);
    if is_timeout {
        FailedAttempt::retryable(failure(Code::Timeout, text))
    } else if is_tls {
        FailedAttempt::permanent(failure(
            Code::Network,
            format!("no secure connection: {text}"),
        ))
    } else if is_connect {
        FailedAttempt::unsent(failure(Code::Network, format!("no connection: {text}")))
    } else {
        FailedAttempt::permanent(failure(
            Code::Network,
            format!("the connection broke: {text}"),
        ))
    }
}

/// Returns the failure of a success whose body cannot be read. The message does not repeat values
/// of the body.
pub(super) fn from_json(error: &serde_json::Error) -> Failure {
    Failure::new(
        Code::BadResponse,
        format!("the answer cannot be read: {}", json_error(error)),
    )
}

/// The message in the body of an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ErrorMessage {
    /// The message, without secrets and safe to print.
    Text(String),
    /// The body is empty.
    Missing,
    /// The body is not JSON, and this describes its size and type. The body is not repeated,
    /// because any part of it may be a secret.
    NotJson(String),
}

/// Returns the body's `message`, else `error`, else `reason`, else the beginning of the body,
/// without the secrets of the call and of the body.
pub(super) fn error_message(
    body: &[u8],
    content_type: Option<&str>,
    secrets: &mut Secrets,
) -> ErrorMessage {
    if body.trim_ascii().is_empty() {
        return ErrorMessage::Missing;
    }
    let not_json = || {
        let bytes = body.len();
        ErrorMessage::NotJson(match content_type.and_then(media_type) {
            Some(media_type) => format!("{bytes} bytes of `{media_type}`"),
            None => format!("{bytes} bytes"),
        })
    };
    let Some(json) = secrets.scrub_error_body(body) else {
        return not_json();
    };
    let fields = match serde_json::from_str(&json) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => Map::new(),
        // JSON that nests too deeply for `serde_json`.
        Err(_) => return not_json(),
    };
    // A member that is not a string counts as absent.
    let text = ["message", "error", "reason"]
        .into_iter()
        .filter_map(|name| fields.get(name)?.as_str())
        .find(|text| !text.trim().is_empty())
        .unwrap_or(&json);
    // `scrub_error_body` works on single values. A secret may also span the beginning of the body.
    let text = secrets.scrub(text.trim());
    ErrorMessage::Text(escaped(&text).chars().take(MAX_MESSAGE_CHARS).collect())
}

/// Returns the `code` in the body of an error, if it has the form of one. `secrets` are those of
/// the call and of the body.
pub(super) fn server_code(body: &[u8], secrets: &Secrets) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return None;
    };
    let code = fields.get("code")?.as_str()?;
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_code = (1..=MAX_CODE_LEN).contains(&code.len()) && code.bytes().all(fits);
    (is_code && secrets.scrub(code) == code).then(|| code.to_owned())
}

/// Returns the media type without its parameters. `None` if the text is not a media type.
fn media_type(content_type: &str) -> Option<&str> {
    let name = content_type.split(';').next().unwrap_or_default().trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/+.-".contains(c);
    (name.contains('/') && name.len() <= MAX_MEDIA_TYPE_LEN && name.chars().all(is_part))
        .then_some(name)
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Returns the texts of an error and of its sources in one line.
pub(super) fn error_chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for source in sources(error) {
        let message = source.to_string();
        // Many errors end with the text of their source.
        if !text.ends_with(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
    }
    text
}

/// Whether an error is a TLS error. An I/O error does not list the error that it wraps among its
/// sources, and TLS errors are wrapped in one or two I/O errors.
fn is_tls_error(error: &(dyn StdError + 'static)) -> bool {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|wrapped| is_tls_error(wrapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_code() {
        for (status, code, retried) in [
            (401, Code::InvalidApiKey, false),
            (403, Code::Forbidden, false),
            (429, Code::RateLimited, false),
            (400, Code::BadRequest, false),
            (404, Code::BadRequest, false),
            (422, Code::BadRequest, false),
            (500, Code::ServerError, true),
            (503, Code::ServerError, true),
            (599, Code::ServerError, true),
            (101, Code::BadResponse, false),
            (302, Code::BadResponse, false),
            (600, Code::BadResponse, false),
        ] {
            let attempt = from_status(StatusCode::from_u16(status).unwrap(), ErrorMessage::Missing);
            assert_eq!(attempt.failure.code(), code, "{status}");
            assert_eq!(attempt.failure.status(), Some(status));
            assert_eq!(attempt.is_retryable, retried, "{status}");
        }
    }

    fn message_of(body: impl AsRef<[u8]>) -> ErrorMessage {
        error_message(body.as_ref(), None, &mut Secrets::default())
    }

    fn text(text: impl Into<String>) -> ErrorMessage {
        ErrorMessage::Text(text.into())
    }

    #[test]
    fn the_message_is_the_first_that_the_body_has() {
        for (body, message) in [
            (r#"{"message":"a","error":"b","reason":"c"}"#, "a"),
            (r#"{"message":" ","error":"b","reason":"c"}"#, "b"),
            (r#"{"message":7,"error":{"x":1},"reason":"c"}"#, "c"),
            (r#"{"code":"X"}"#, r#"{"code":"X"}"#),
            (" [\"message\"]\n", "[\"message\"]"),
            (r#"{"message":"a\nb\u001b[1m"}"#, "a\\nb\\u{1b}[1m"),
        ] {
            assert_eq!(message_of(body), text(message));
        }
        assert_eq!(message_of(b" \n"), ErrorMessage::Missing);
        let long = format!("{{\"message\":\"{}\"}}", "é".repeat(501));
        assert_eq!(message_of(long), text("é".repeat(500)));
    }

    #[test]
    fn a_code_is_an_upper_case_name_and_no_secret() {
        let long = "X".repeat(65);
        for (code, is_code) in [
            ("NOT_AN_APPROVER", true),
            ("E404", true),
            ("", false),
            ("not_found", false),
            ("NO\u{1b}", false),
            (&*long, false),
            ("PERMIT_0123456789", false),
        ] {
            let body = serde_json::json!({"code": code, "permit_token": "PERMIT_0123456789"});
            let body = body.to_string();
            let mut secrets = Secrets::default();
            error_message(body.as_bytes(), None, &mut secrets);
            let found = server_code(body.as_bytes(), &secrets);
            assert_eq!(found.as_deref(), is_code.then_some(code), "{code}");
        }
        for body in ["", "[]", "no", r#"{"code": 7}"#] {
            assert_eq!(server_code(body.as_bytes(), &Secrets::default()), None);
        }
    }

    #[test]
    fn nothing_is_repeated_of_a_body_that_is_not_json() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for body in [
            b"permit_0123456789".as_slice(),
            b"{\"permit_token\":\"permit_0123456789\"",
            b"data: {\"permit_token\":\"permit_0123456789\"}",
            b"<html>\nno</html>",
            b"\xff\xfe",
            deep.as_bytes(),
        ] {
            let described = format!("{} bytes", body.len());
            assert_eq!(message_of(body), ErrorMessage::NotJson(described));
        }
        for (content_type, shown) in [
            ("text/html; charset=utf-8", "2 bytes of `text/html`"),
            ("permit_0123456789", "2 bytes"),
            ("text/\u{1b}", "2 bytes"),
            (&format!("text/{}", "x".repeat(100)), "2 bytes"),
        ] {
            let message = error_message(b"no", Some(content_type), &mut Secrets::default());
            assert_eq!(message, ErrorMessage::NotJson(shown.to_owned()));
        }
    }

    #[test]
    fn a_message_holds_no_token() {
        for (body, message) in [
            (
                r#"{"decision":"allow","permit_token":"permit_0123456789"}"#,
                r#"{"decision":"allow","permit_token":"…456789"}"#,
            ),
            (
                r#"{"message":"no permit_0123456789","permit":{"id":"permit_\u0030123456789"}}"#,
                "no …456789",
            ),
            (
                r#"{"permit_token":7382910472839}"#,
                r#"{"permit_token":"…472839"}"#,
            ),
        ] {
            assert_eq!(message_of(body), text(message));
        }
    }

    #[test]
    fn a_tls_error_is_found_however_it_is_wrapped() {
        let tls = || rustls::Error::HandshakeNotComplete;
        let once = io::Error::other(tls());
        let twice = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls()));
        assert!([&once, &twice].into_iter().all(|error| is_tls_error(error)));
        assert!(!is_tls_error(&io::Error::other("reset")));
    }

    #[test]
    fn an_unreadable_answer_is_described_without_its_text() {
        for value in [
            r#""permit_\"4711""#,
            r#""4711, expected a boolean""#,
            "4711",
            "-4711.5",
            r#"{"4711":0}"#,
        ] {
            let json = format!(r#"{{"valid":{value}}}"#);
            let error = serde_json::from_str::<crate::wire::Verification>(&json);
            let failure = from_json(&error.unwrap_err());
            assert_eq!(failure.code(), Code::BadResponse);
            let message = failure.message();
            assert!(!message.contains("4711"), "{message}");
            assert!(
                message.contains("expected a boolean at line 1"),
                "{message}"
            );
        }
    }
}
