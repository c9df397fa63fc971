//! Marks the responses of extractors, so that the responder of a router can replace them.

use std::sync::Arc;

use atlasent_tower::{Refusal, Respond};
use axum::body::{Body, HttpBody, to_bytes};
use axum::response::Response;
use http::request::Parts;

/// The longest rejection that is read for a responder, in bytes. The rejections of axum are one
/// line of text.
const MAX_REJECTION_BYTES: usize = 64 * 1024;

/// The mark of a rejection, in the extensions of its response.
#[derive(Clone)]
pub(crate) enum RejectionMark {
    /// The response is the problem details of this refusal.
    Refused(Arc<Refusal>),
    /// The response is the rejection of an extractor, which found no valid values.
    Extraction,
}

impl RejectionMark {
    pub(crate) fn mark(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}

/// Replaces a marked response by that of `responder`. Other responses stay unchanged.
pub(crate) async fn replace_marked(
    mut response: Response,
    responder: &dyn Respond,
    request: &Parts,
) -> Response {
    match response.extensions_mut().remove::<RejectionMark>() {
        None => response,
        // The refusal is already logged.
        Some(RejectionMark::Refused(refusal)) => {
            responder.respond(&refusal, request).map(Body::from)
        }
        Some(RejectionMark::Extraction) => {
            let (head, body) = response.into_parts();
            let longest = body.size_hint().upper();
            if longest.is_none_or(|longest| longest > MAX_REJECTION_BYTES as u64) {
                return Response::from_parts(head, body);
            }
            let text = to_bytes(body, MAX_REJECTION_BYTES)
                .await
                .unwrap_or_default();
            let rejection = Response::from_parts(head, text);
            responder
                .respond_to_rejection(rejection, request)
                .map(Body::from)
        }
    }
}
