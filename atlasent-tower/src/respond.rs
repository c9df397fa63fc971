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

    /// Builds the response to a request whose values an extractor of the handler rejected, such as
    /// a body that is not JSON. `rejection` is the extractor's own response, which is the default.
    ///
    /// `atlasent_axum::ProtectedRouter` calls it. A tower layer does not see extractors.
    ///
    /// ```
    /// use atlasent_tower::{ProblemDetails, Refusal, Respond};
    /// use bytes::Bytes;
    /// use http::{Response, request::Parts};
    ///
    /// /// Problem details for refusals, and the service's own form for what is wrong with a request.
    /// struct Envelope;
    ///
    /// impl Respond for Envelope {
    ///     fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
    ///         ProblemDetails.respond(refusal, request)
    ///     }
    ///
    ///     fn respond_to_rejection(&self, rejection: Response<Bytes>, _: &Parts) -> Response<Bytes> {
    ///         let (mut head, text) = rejection.into_parts();
    ///         let error = serde_json::json!({ "error": String::from_utf8_lossy(&text) });
    ///         let json = http::HeaderValue::from_static("application/json");
    ///         head.headers.insert(http::header::CONTENT_TYPE, json);
    ///         Response::from_parts(head, error.to_string().into())
    ///     }
    /// }
    /// ```
    fn respond_to_rejection(&self, rejection: Response<Bytes>, request: &Parts) -> Response<Bytes> {
        let _ = request;
        rejection
    }
}

/// The default responder: problem details (RFC 9457), with the status of the refusal.
///
/// A problem has the members `status`, `title` and `detail`; a refusal by the authority also
/// `decision`, `reason`, `code` and `evaluation_id`, as far as they are known, and a missing scope
/// `scope`. `Retry-After` says when to come back, where that is known.
///
/// # Challenges
///
/// A 401 has `WWW-Authenticate: Bearer` (RFC 6750 §3). A caller that sent no token, or another
/// scheme, is told of no error; one whose token is not accepted gets `error="invalid_token"`. A 403
/// for want of a scope has `error="insufficient_scope"` and the scope.
/// [`AtiLayer::realm`](crate::AtiLayer::realm) and
/// [`AtiLayer::resource_metadata`](crate::AtiLayer::resource_metadata) add their parameters to the
/// challenges of everything inside the layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemDetails;

impl Respond for ProblemDetails {
    fn respond(&self, refusal: &Refusal, _: &Parts) -> Response<Bytes> {
        problem::response(refusal)
    }
}

/// The responder for gRPC servers: a gRPC status to a gRPC call, and [`ProblemDetails`] to any
/// other request.
///
/// A gRPC call is a POST whose only content type is `application/grpc`, `application/grpc+proto` or
/// `application/grpc+json`, in any case and with any parameters (RFC 9110 §8.3.1).
/// [`ProtectedMethods`](crate::ProtectedMethods) answers in this way; a layer does when it is told
/// to, because elsewhere the caller chooses the content type, and an HTTP status of 200 would hide
/// the refusal:
///
/// ```
/// # use ati_client::Verifier;
/// use atlasent_tower::{AtiLayer, GrpcStatus};
///
/// # fn layer(verifier: Verifier) -> AtiLayer {
/// AtiLayer::new(verifier).respond_with(GrpcStatus)
/// # }
/// ```
///
/// The status is sent in trailers only (gRPC over HTTP/2, "Responses"). A refusal by the authority
/// has the metadata `atlasent-decision` and `atlasent-evaluation-id`, and `grpc-retry-pushback-ms`
/// says when to come back, where that is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl Respond for GrpcStatus {
    fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
        match grpc::is_call(request) {
            true => grpc::response(refusal),
            false => problem::response(refusal),
        }
    }
}
