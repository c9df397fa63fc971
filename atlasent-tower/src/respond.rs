//! Builds the responses to refused requests.

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::{Refusal, grpc, problem};

/// Builds the responses to refused requests. The request stays refused, whatever the response.
///
/// ```
/// use atlasent_tower::{ProblemDetails, Refusal, Respond};
/// use bytes::Bytes;
/// use http::{Response, request::Parts};
///
/// /// Adds a link to a help page to the default responses.
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
    /// Builds the response to a refused request.
    fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes>;

    /// Builds the response to a request that an extractor of the handler rejected, such as one with
    /// invalid JSON. `rejection` is the response of the extractor, which the default implementation
    /// returns.
    ///
    /// `atlasent_axum::ProtectedRouter` calls it. A tower layer does not see extractors.
    ///
    /// ```
    /// use atlasent_tower::{ProblemDetails, Refusal, Respond};
    /// use bytes::Bytes;
    /// use http::{Response, request::Parts};
    ///
    /// /// Problem details for refusals, and an error format of the service for bad requests.
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

impl Refusal {
    /// Logs the refusal and builds the response with `responder`. The log has the details that the
    /// caller does not get.
    pub fn answer(&self, responder: &dyn Respond, request: &Parts) -> Response<Bytes> {
        self.log();
        responder.respond(self, request)
    }

    /// Logs the refusal and builds its problem details (RFC 9457), as [`ProblemDetails`] does, for
    /// services without a layer that answers.
    #[must_use]
    pub fn to_problem(&self) -> Response<Bytes> {
        self.log();
        problem::response(self)
    }
}

/// The default responder: problem details (RFC 9457) with the status of the refusal.
///
/// A problem has the members `status`, `title` and `detail`. A refusal by the authority adds
/// `decision`, `reason`, `code`, `evaluation_id`, `escalation_id` and `approval_url`, as far as
/// they are known; a missing scope adds `scope`. `Retry-After` says when to retry, if known, and is
/// 30 seconds for an open escalation.
///
/// # Challenges
///
/// A 401 has `WWW-Authenticate: Bearer` (RFC 6750 §3). The challenge has no error if the request
/// had no token or another scheme, and `error="invalid_token"` if the token is invalid. A 403
/// because of a missing scope has `error="insufficient_scope"` and the scope.
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

/// The responder for gRPC servers: answers gRPC calls with a gRPC status, and other requests as
/// [`ProblemDetails`] does.
///
/// A gRPC call is a POST whose only content type is `application/grpc`, `application/grpc+proto` or
/// `application/grpc+json`, in any case and with any parameters (RFC 9110 §8.3.1).
/// [`ProtectedMethods`](crate::ProtectedMethods) uses this responder by default. Set it on other
/// layers only around a gRPC server: elsewhere the caller chooses the content type, and the HTTP
/// status of 200 would hide the refusal.
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
/// has the metadata `atlasent-decision`, `atlasent-evaluation-id`, `atlasent-escalation-id` and
/// `atlasent-approval-url`, as far as they are known. `grpc-retry-pushback-ms` says when to retry,
/// if known.
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
