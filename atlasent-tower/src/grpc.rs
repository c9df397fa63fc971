//! Builds gRPC statuses from refusals, as responses of trailers only (gRPC over HTTP/2,
//! "Responses").

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::problem::whole_seconds;
use crate::{Refusal, header};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const DECISION: HeaderName = HeaderName::from_static("atlasent-decision");
const EVALUATION_ID: HeaderName = HeaderName::from_static("atlasent-evaluation-id");
const ESCALATION_ID: HeaderName = HeaderName::from_static("atlasent-escalation-id");
const APPROVAL_URL: HeaderName = HeaderName::from_static("atlasent-approval-url");

/// The longest text in a status, in bytes.
const MAX_TEXT: usize = 2048;

/// The characters that `grpc-message` has to escape: all but printable ASCII, and `%` itself.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// The media types of gRPC over HTTP/2 that count as gRPC calls.
const MEDIA_TYPES: [&str; 3] = [
    "application/grpc",
    "application/grpc+proto",
    "application/grpc+json",
];

/// Whether a request is a gRPC call: a POST with exactly one content type, which is one of gRPC's,
/// in any case and with any parameters (RFC 9110 §8.3.1). Other clients must not get a gRPC status:
/// its HTTP status of 200 would mislead them, and a cache would keep the response to a GET.
pub(crate) fn is_call(request: &Parts) -> bool {
    let Ok(Some(content_type)) = header::single(&request.headers, CONTENT_TYPE) else {
        return false;
    };
    let media_type = content_type
        .split_once(';')
        .map_or(content_type, |(media_type, _)| media_type)
        .trim_matches([' ', '\t']);
    let is_grpc = |known: &&str| media_type.eq_ignore_ascii_case(known);
    request.method == Method::POST && MEDIA_TYPES.iter().any(is_grpc)
}

pub(crate) fn response(refusal: &Refusal) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    *headers = metadata(refusal);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, refusal.grpc_code().into());
    let message = utf8_percent_encode(&message(refusal), MESSAGE).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// Returns the message for the caller, at most [`MAX_TEXT`] bytes and an ellipsis. Clients end a
/// call with more than 16 KiB of headers, and an escape takes three bytes for one.
pub(crate) fn message(refusal: &Refusal) -> String {
    let mut message = refusal.detail().into_owned();
    if message.len() > MAX_TEXT {
        message.truncate(message.floor_char_boundary(MAX_TEXT));
        message.push('…');
    }
    message
}

/// Returns the metadata of the status, beside its code and message.
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
        let texts = [
            (EVALUATION_ID, denied.evaluation_id()),
            (ESCALATION_ID, denied.escalation_id()),
            (APPROVAL_URL, denied.approval_url()),
        ];
        for (name, text) in texts {
            if let Some(text) = text.and_then(header_value) {
                metadata.insert(name, text);
            }
        }
    }
    metadata
}

/// Returns a text of the authority as a header value. A text that is not plain ASCII is left out,
/// since readers decode it differently, and so is a text that is too long to be an id.
pub(crate) fn header_value(text: &str) -> Option<HeaderValue> {
    let fits = text.is_ascii() && text.len() <= MAX_TEXT;
    HeaderValue::from_str(text).ok().filter(|_| fits)
}

/// Returns `package.Service` and `Method` from the path of a gRPC request.
pub(crate) fn method(request: &Parts) -> Result<(&str, &str), Refusal> {
    let path = request.uri.path();
    path.strip_prefix('/')
        .and_then(|path| path.split_once('/'))
        .filter(|(service, method)| {
            !service.is_empty() && !method.is_empty() && !method.contains('/')
        })
        .ok_or_else(|| {
            Refusal::bad_request("its path is not a gRPC method: send `/package.Service/Method`")
        })
}

#[cfg(feature = "tonic")]
impl From<Refusal> for tonic::Status {
    /// Logs the refusal and converts it to a status, for methods that return it with `?`.
    fn from(refusal: Refusal) -> Self {
        refusal.log();
        let headers = metadata(&refusal);
        Self::with_metadata(
            tonic::Code::from_i32(refusal.grpc_code()),
            message(&refusal),
            tonic::metadata::MetadataMap::from_headers(headers),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn is_call(method: Method, content_types: &[&[u8]]) -> bool {
        let mut request = Request::new(());
        *request.method_mut() = method;
        for content_type in content_types {
            let value = HeaderValue::from_bytes(content_type).unwrap();
            request.headers_mut().append(CONTENT_TYPE, value);
        }
        super::is_call(&request.into_parts().0)
    }

    #[test]
    fn a_status_is_never_too_long_to_be_read() {
        for text in [
            "x".repeat(1 << 20),
            "\u{fc}".repeat(20_000),
            "%".repeat(20_000),
        ] {
            let refusal = Refusal::bad_request(text);
            let status = response(&refusal);
            let message = status.headers().get(GRPC_MESSAGE).unwrap();
            assert!(message.len() < 8 * 1024, "{}", message.len());
            assert_eq!(status.headers().get(GRPC_STATUS).unwrap(), "3");
        }
        assert_eq!(header_value(&"x".repeat(MAX_TEXT + 1)), None);
    }

    #[test]
    fn a_call_is_a_post_of_exactly_a_content_type_of_grpc() {
        for grpc in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc+json",
            "Application/gRPC",
            "APPLICATION/GRPC+PROTO",
            "application/grpc;charset=utf-8",
            "application/grpc+proto ; a=\"b\"",
            " application/grpc\t",
        ] {
            assert!(is_call(Method::POST, &[grpc.as_bytes()]), "{grpc}");
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
                assert!(!is_call(method, &[grpc.as_bytes()]), "{grpc}");
            }
        }
        for other in [
            "application/grpcEVIL",
            "application/grpc+",
            "application/grpc+xml",
            "application/grpc+proto+json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/grpc, text/html",
            "application/grpc/x",
            "application / grpc",
            "application/grp",
            "text/application/grpc",
            "application/json",
            "x;application/grpc",
            "",
        ] {
            assert!(!is_call(Method::POST, &[other.as_bytes()]), "{other}");
        }
        let two: [&[u8]; 2] = [b"application/grpc", b"application/grpc"];
        assert!(!is_call(Method::POST, &two));
        assert!(!is_call(Method::POST, &[b"application/grpc;\xff"]));
        assert!(!is_call(Method::POST, &[]));
    }
}
