//! Refusals as gRPC statuses, in a response of trailers only (gRPC over HTTP/2, "Responses").

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::Refusal;
use crate::problem::whole_seconds;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const DECISION: HeaderName = HeaderName::from_static("atlasent-decision");
const EVALUATION_ID: HeaderName = HeaderName::from_static("atlasent-evaluation-id");

/// The most bytes of a text that a status tells.
const MAX_TEXT: usize = 2048;

/// What `grpc-message` cannot hold as it is: everything but printable ASCII, and the escape's own sign.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// The content type to answer a gRPC request with. None for any other request, and gRPC is always POST: a GET that calls itself gRPC
/// gets no answer with the status 200, which a cache would keep.
pub(crate) fn content_type(request: &Parts) -> Option<HeaderValue> {
    if request.method != Method::POST {
        return None;
    }
    let asked = request.headers.get(CONTENT_TYPE)?.as_bytes();
    // The longest first: one is the beginning of the other.
    [
        "application/grpc-web-text",
        "application/grpc-web",
        "application/grpc",
    ]
    .into_iter()
    .find(|known| {
        asked
            .split_at_checked(known.len())
            .is_some_and(|(kind, _)| kind.eq_ignore_ascii_case(known.as_bytes()))
    })
    .map(HeaderValue::from_static)
}

pub(crate) fn response(refusal: &Refusal, content_type: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    *headers = metadata(refusal);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(GRPC_STATUS, refusal.grpc_code().into());
    let message = utf8_percent_encode(&message(refusal), MESSAGE).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// What the caller is told, cut where a client would no longer take it: headers of more than 16 KiB end the call, and an escape takes
/// three bytes for one.
pub(crate) fn message(refusal: &Refusal) -> String {
    let mut message = refusal.detail().into_owned();
    if message.len() > MAX_TEXT {
        message.truncate(message.floor_char_boundary(MAX_TEXT));
        message.push('…');
    }
    message
}

/// What a status says beside its code and message.
pub(crate) fn metadata(refusal: &Refusal) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    if let Some(wait) = refusal.retry_after() {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        metadata.insert(RETRY_PUSHBACK, millis.into());
        metadata.insert(RETRY_AFTER, whole_seconds(wait).into());
    }
    if let Some(denied) = refusal.denied() {
        let decision = HeaderValue::from_static(denied.decision().as_str());
        metadata.insert(DECISION, decision);
        if let Some(id) = denied.evaluation_id().and_then(header_value) {
            metadata.insert(EVALUATION_ID, id);
        }
    }
    metadata
}

/// A text of the authority's as a header. One that is not plain ASCII is left out, since readers disagree on what it says, and so is one
/// that is too long to be an id.
pub(crate) fn header_value(text: &str) -> Option<HeaderValue> {
    let fits = text.is_ascii() && text.len() <= MAX_TEXT;
    HeaderValue::from_str(text).ok().filter(|_| fits)
}

/// `package.Service` and `Method` of a gRPC request's path.
pub(crate) fn method(request: &Parts) -> Result<(&str, &str), Refusal> {
    let path = request.uri.path();
    path.strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .filter(|(service, method)| {
            !service.is_empty() && !method.is_empty() && !method.contains('/')
        })
        .ok_or_else(|| {
            Refusal::bad_request("its path is not that of a gRPC method: `/package.Service/Method`")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn answered_as(method: Method, content_type: &str) -> Option<HeaderValue> {
        let request = Request::builder()
            .method(method)
            .header(CONTENT_TYPE, content_type);
        super::content_type(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_status_is_never_too_long_to_be_read() {
        for text in [
            "x".repeat(1 << 20),
            "\u{fc}".repeat(20_000),
            "%".repeat(20_000),
        ] {
            let refusal = Refusal::bad_request(text);
            let told = response(&refusal, HeaderValue::from_static("application/grpc"));
            let message = told.headers().get(GRPC_MESSAGE).unwrap();
            assert!(message.len() < 8 * 1024, "{}", message.len());
            assert_eq!(told.headers().get(GRPC_STATUS).unwrap(), "3");
        }
        assert_eq!(header_value(&"x".repeat(MAX_TEXT + 1)), None);
    }

    #[test]
    fn a_grpc_request_is_a_post_of_a_grpc_content_type() {
        for (asked, answered) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc+proto", "application/grpc"),
            ("Application/gRPC", "application/grpc"),
            ("application/grpc-web+proto", "application/grpc-web"),
            ("application/grpc-web-text", "application/grpc-web-text"),
        ] {
            assert_eq!(answered_as(Method::POST, asked).unwrap(), answered);
            assert_eq!(answered_as(Method::GET, asked), None, "{asked}");
        }
        for other in [
            "application/json",
            "application/grp",
            "text/application/grpc",
        ] {
            assert_eq!(answered_as(Method::POST, other), None, "{other}");
        }
    }
}
