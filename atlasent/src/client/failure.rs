//! What went wrong on the wire, as the contract's table of errors has it.

use std::error::Error as StdError;
use std::io;

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::retry::Attempt;
use crate::redact::Redacted;
use crate::{Code, Failure};

/// How much of an answer a message repeats, in characters (contract, part A, "Errors").
const EXCERPT: usize = 500;

/// An answer whose status is no success.
pub(super) fn of_status(status: StatusCode, body: &[u8]) -> Attempt {
    let code = match status.as_u16() {
        401 => Code::InvalidApiKey,
        403 => Code::Forbidden,
        429 => Code::RateLimited,
        400..=499 => Code::BadRequest,
        500..=599 => Code::ServerError,
        _ => Code::BadResponse,
    };
    let message = message_of(body).unwrap_or_else(|| match code {
        Code::BadResponse => format!("status {status} is neither an answer nor an error"),
        _ => format!("status {status}, and no word why"),
    });
    let failure = Failure::new(code, message).with_status(status.as_u16());
    match code {
        Code::ServerError => Attempt::again(failure),
        _ => Attempt::last(failure),
    }
}

/// A request or an answer that did not make it through.
pub(super) fn of_transport(error: reqwest::Error) -> Attempt {
    // Text and URL are the client's own here, and the URL says nothing that the caller does not know.
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
        format!(
            "the answer cannot be read: {}",
            without_text(&error.to_string())
        ),
    )
}

/// The body's `message`, else `error`, else `reason`, else its beginning; without a token that it may hold.
pub(super) fn message_of(body: &[u8]) -> Option<String> {
    let fields = match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    // Read leniently: what is not a text is as good as absent.
    let said = |name| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let mut text = ["message", "error", "reason"]
        .into_iter()
        .find_map(said)
        .map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    for secret in ["permit_token", "decision_id"].into_iter().filter_map(said) {
        text = text.replace(secret, &Redacted(secret).to_string());
    }
    let shown: String = text
        .trim()
        .chars()
        .take(EXCERPT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    (!shown.is_empty()).then_some(shown)
}

/// An error of `serde_json` without the text that it found, which may be a token, and may be long.
fn without_text(message: &str) -> String {
    const UNKNOWN: &str = "unknown variant `";
    let shortened = match message.strip_prefix(UNKNOWN) {
        Some(rest) => rest
            .rfind("`, expected")
            .and_then(|end| rest.get(end..))
            .map(|after| format!("{UNKNOWN}…{after}")),
        None => message
            .find('"')
            .zip(message.rfind('"'))
            .and_then(|(first, last)| Some((message.get(..first)?, message.get(last + 1..)?)))
            .map(|(before, after)| format!("{before}\"…\"{after}")),
    };
    shortened.unwrap_or_else(|| message.chars().take(EXCERPT).collect())
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The error and what is underneath, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
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

/// An I/O error hides the error that it wraps from its sources, and TLS errors come wrapped in one or two.
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
            let attempt = of_status(StatusCode::from_u16(status).unwrap(), b"");
            assert_eq!(attempt.failure.code(), code, "{status}");
            assert_eq!(attempt.failure.status(), Some(status));
            assert_eq!(attempt.retried, retried, "{status}");
        }
    }

    #[test]
    fn the_message_is_the_first_that_the_body_has() {
        for (body, message) in [
            (r#"{"message":"a","error":"b","reason":"c"}"#, "a"),
            (r#"{"message":"","error":"b","reason":"c"}"#, "b"),
            (r#"{"message":7,"error":{"x":1},"reason":"c"}"#, "c"),
            (r#"{"code":"X"}"#, r#"{"code":"X"}"#),
            ("<html>\nno</html>", "<html> no</html>"),
            ("[\"message\"]", "[\"message\"]"),
        ] {
            assert_eq!(message_of(body.as_bytes()).as_deref(), Some(message));
        }
        assert_eq!(message_of(b" \n"), None);
        assert_eq!(
            message_of("é".repeat(501).as_bytes()),
            Some("é".repeat(500))
        );
        assert_eq!(message_of(b"\xff\xfe"), Some("\u{fffd}\u{fffd}".to_owned()));
    }

    #[test]
    fn a_message_holds_no_token() {
        let body = br#"{"decision":"allow","permit_token":"permit_0123456789"}"#;
        let message = message_of(body).unwrap();
        assert_eq!(message, r#"{"decision":"allow","permit_token":"…456789"}"#);
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
        let error = serde_json::from_str::<crate::Verification>(r#"{"valid":"permit_\"secret"}"#);
        let failure = of_json(&error.unwrap_err());
        assert_eq!(failure.code(), Code::BadResponse);
        assert!(
            !failure.message().contains("secret"),
            "{}",
            failure.message()
        );
        assert!(
            failure.message().contains("boolean"),
            "{}",
            failure.message()
        );
    }
}
