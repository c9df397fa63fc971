//! What went wrong on the wire, as the contract's table of errors has it.

use std::error::Error as StdError;
use std::io;

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::retry::Attempt;
use super::secrets::Secrets;
use crate::error::{Code, Failure};
use crate::text::escape::escaped;
use crate::text::json_error;

/// How much of an answer a message repeats, in characters (contract, part A, "Errors"). Stricter
/// than the contract: only of JSON, whose secrets can be found.
const EXCERPT: usize = 500;
/// A longer media type is not repeated.
const LONGEST_MEDIA_TYPE: usize = 64;

/// An answer whose status is no success, and what its body says.
pub(super) fn of_status(status: StatusCode, said: Said) -> Attempt {
    let code = match status.as_u16() {
        401 => Code::InvalidApiKey,
        403 => Code::Forbidden,
        429 => Code::RateLimited,
        400..=499 => Code::BadRequest,
        500..=599 => Code::ServerError,
        _ => Code::BadResponse,
    };
    let line = match code {
        Code::BadResponse => format!("status {status} is neither an answer nor an error"),
        _ => format!("status {status}"),
    };
    let message = match said {
        Said::Text(text) => text,
        Said::Unreadable(body) => format!("{line}, and its body is not JSON: {body}"),
        Said::Nothing if code == Code::BadResponse => line,
        Said::Nothing => format!("{line}, and no word why"),
    };
    let failure = Failure::new(code, message).with_status(status.as_u16());
    match code {
        Code::ServerError => Attempt::again(failure),
        _ => Attempt::last(failure),
    }
}

/// The code that goes by this word of the SDKs. Any other word says that the authority failed, for
/// a reason that this version does not know.
pub(super) fn code_of_word(word: &str) -> Code {
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
    .find(|code| code.as_str() == word)
    .unwrap_or(Code::ServerError)
}

/// A request or an answer that did not make it through.
pub(super) fn of_transport(error: reqwest::Error) -> Attempt {
    // Text and URL are the client's own here, and the URL says nothing that the caller does not
    // know.
    let error = error.without_url();
    let text = chain(&error);
    let is_tls = sources(&error).any(is_tls_error);
    let is_timeout = error.is_timeout();
    let is_connect = error.is_connect();
    let attempt = |code, text: String| Failure::new(code, text).with_source(error);
    if is_timeout {
        Attempt::again(attempt(Code::Timeout, text))
    } else if is_tls {
        Attempt::last(attempt(
            Code::Network,
            format!("no secure connection: {text}"),
        ))
    } else if is_connect {
        Attempt::again(attempt(Code::Network, format!("no connection: {text}")))
    } else {
        Attempt::last(attempt(
            Code::Network,
            format!("the connection broke: {text}"),
        ))
    }
}

/// A success whose body cannot be read.
pub(super) fn of_json(error: &serde_json::Error) -> Failure {
    Failure::new(
        Code::BadResponse,
        format!("the answer cannot be read: {}", json_error(error)),
    )
}

/// What the body of an error says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Words, without secrets and safe to print.
    Text(String),
    /// Not a word.
    Nothing,
    /// Something that is not JSON. Any part of it may be a secret, so it is described and not
    /// repeated.
    Unreadable(String),
}

/// The body's `message`, else `error`, else `reason`, else its beginning; without the secrets of
/// the call, which are those of this body, too.
pub(super) fn said_in(body: &[u8], content_type: Option<&str>, secrets: &mut Secrets) -> Said {
    if body.trim_ascii().is_empty() {
        return Said::Nothing;
    }
    let unreadable = || {
        let bytes = body.len();
        Said::Unreadable(match content_type.and_then(media_type) {
            Some(media_type) => format!("{bytes} bytes of `{media_type}`"),
            None => format!("{bytes} bytes"),
        })
    };
    let Some(json) = secrets.refusal(body) else {
        return unreadable();
    };
    let fields = match serde_json::from_str(&json) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => Map::new(),
        // Too deep to be read.
        Err(_) => return unreadable(),
    };
    // Read leniently: what is not a text is as good as absent.
    let text = ["message", "error", "reason"]
        .into_iter()
        .filter_map(|name| fields.get(name)?.as_str())
        .find(|text| !text.trim().is_empty())
        .unwrap_or(&json);
    // Digits of a secret may stand in a number, or be one.
    let text = secrets.scrub(text.trim());
    Said::Text(escaped(&text).chars().take(EXCERPT).collect())
}

/// The media type without its parameters, if it looks like one.
fn media_type(content_type: &str) -> Option<&str> {
    let name = content_type.split(';').next().unwrap_or_default().trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "/+.-".contains(c);
    (name.contains('/') && name.len() <= LONGEST_MEDIA_TYPE && name.chars().all(is_part))
        .then_some(name)
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The error and what is underneath, in one line.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for source in sources(error) {
        let said = source.to_string();
        // Many wrappers only repeat what they wrap.
        if !text.ends_with(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
        }
    }
    text
}

/// An I/O error hides the error that it wraps from its sources, and TLS errors come wrapped in one
/// or two.
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
            let attempt = of_status(StatusCode::from_u16(status).unwrap(), Said::Nothing);
            assert_eq!(attempt.failure.code(), code, "{status}");
            assert_eq!(attempt.failure.status(), Some(status));
            assert_eq!(attempt.retried, retried, "{status}");
        }
    }

    fn said(body: impl AsRef<[u8]>) -> Said {
        said_in(body.as_ref(), None, &mut Secrets::default())
    }

    fn text(text: impl Into<String>) -> Said {
        Said::Text(text.into())
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
            assert_eq!(said(body), text(message));
        }
        assert_eq!(said(b" \n"), Said::Nothing);
        let long = format!("{{\"message\":\"{}\"}}", "é".repeat(501));
        assert_eq!(said(long), text("é".repeat(500)));
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
            assert_eq!(said(body), Said::Unreadable(described));
        }
        for (content_type, shown) in [
            ("text/html; charset=utf-8", "2 bytes of `text/html`"),
            ("permit_0123456789", "2 bytes"),
            ("text/\u{1b}", "2 bytes"),
            (&format!("text/{}", "x".repeat(100)), "2 bytes"),
        ] {
            let said = said_in(b"no", Some(content_type), &mut Secrets::default());
            assert_eq!(said, Said::Unreadable(shown.to_owned()));
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
            assert_eq!(said(body), text(message));
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
            let failure = of_json(&error.unwrap_err());
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
