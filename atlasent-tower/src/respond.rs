//! How a refusal is put to the caller.

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::{Refusal, grpc, problem};

/// How a refusal is put to the caller. Whatever it answers, the request goes no further.
///
/// ```
/// use atlasent_tower::{ProblemDetails, Refusal, Respond};
/// use bytes::Bytes;
/// use http::{Response, request::Parts};
///
/// /// The usual answers, and a page that says whom to ask.
/// struct WithHelp;
///
/// impl Respond for WithHelp {
///     fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
///         let mut response = ProblemDetails.respond(refusal, request);
///         let help = http::HeaderValue::from_static("<https://example.com/denied>; rel=\"help\"");
///         response.headers_mut().insert(http::header::LINK, help);
///         response
///     }
/// }
/// ```
pub trait Respond: Send + Sync + 'static {
    /// The answer to a request that is not let through.
    fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes>;
}

/// The answers unless it is said otherwise: a gRPC status to a gRPC request, and problem details (RFC 9457) to all others.
///
/// A problem has the members `status`, `title` and `detail`; a refusal by the authority also `decision`, `reason`, `code` and
/// `evaluation_id`, as far as they are known, and a missing scope `scope`. A gRPC status is sent in trailers only, and a
/// refusal by the authority has the metadata `atlasent-decision` and `atlasent-evaluation-id`. Both say when to come back,
/// where that is known: `Retry-After`, in gRPC `grpc-retry-pushback-ms`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemDetails;

impl Respond for ProblemDetails {
    fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
        match grpc::content_type(request) {
            Some(content_type) => grpc::response(refusal, content_type),
            None => problem::response(refusal),
        }
    }
}
