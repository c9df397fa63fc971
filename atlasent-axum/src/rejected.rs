//! Marks the responses that an extractor, and not the handler, gave, so that the responder of a
//! router finds them.

use std::sync::Arc;

use atlasent_tower::{Refusal, Respond};
use axum::body::{Body, HttpBody, to_bytes};
use axum::response::Response;
use http::request::Parts;

/// The longest rejection that is read for a responder, in bytes. Those of axum are a line of text.
const LONGEST: usize = 64 * 1024;

/// The mark, in the extensions of a response.
#[derive(Clone)]
pub(crate) enum Rejected {
    /// A refusal, as problem details.
    Refused(Arc<Refusal>),
    /// The response of an extractor that found no values.
    Extraction,
}

impl Rejected {
    pub(crate) fn mark(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }
}

/// Lets a responder answer instead, where a response is marked.
pub(crate) async fn answer(
    mut response: Response,
    responder: &dyn Respond,
    request: &Parts,
) -> Response {
    match response.extensions_mut().remove::<Rejected>() {
        None => response,
        // It is logged already.
        Some(Rejected::Refused(refusal)) => responder.respond(&refusal, request).map(Body::from),
        Some(Rejected::Extraction) => {
            let (head, body) = response.into_parts();
            let longest = body.size_hint().upper();
            if longest.is_none_or(|longest| longest > LONGEST as u64) {
                return Response::from_parts(head, body);
            }
            let text = to_bytes(body, LONGEST).await.unwrap_or_default();
            let rejection = Response::from_parts(head, text);
            responder
                .respond_to_rejection(rejection, request)
                .map(Body::from)
        }
    }
}
