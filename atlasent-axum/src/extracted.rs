//! Wraps an extractor, so that the responder of a router builds the responses of its rejections.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::rejected::RejectionMark;

/// Extracts with `E`. If `E` rejects the request, the responder of the
/// [`ProtectedRouter`](crate::ProtectedRouter) builds the response, with
/// [`respond_to_rejection`](crate::Respond::respond_to_rejection).
///
/// [`Authorized`](crate::Authorized) does this for the extractor of its action. In other routers,
/// the response is that of `E`.
///
/// ```
/// use atlasent_axum::{Extracted, TakePermit};
/// use axum::Json;
///
/// #[derive(serde::Deserialize)]
/// struct Note {
///     text: String,
/// }
///
/// async fn note(TakePermit(permit): TakePermit, Extracted(Json(note)): Extracted<Json<Note>>) -> String {
///     format!("{} notes for {:?}", note.text, permit.into_action())
/// }
/// # axum::Router::<()>::new().route("/", axum::routing::post(note));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Extracted<E>(pub E);

/// The rejection of an [`Extracted`], which holds the rejection of its extractor.
#[derive(Clone, Copy, Debug)]
pub struct ExtractedRejection<R>(pub R);

impl<E: FromRequest<S>, S: Send + Sync> FromRequest<S> for Extracted<E> {
    type Rejection = ExtractedRejection<E::Rejection>;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let extracted = E::from_request(request, state).await;
        extracted.map(Self).map_err(ExtractedRejection)
    }
}

impl<E: FromRequestParts<S>, S: Send + Sync> FromRequestParts<S> for Extracted<E> {
    type Rejection = ExtractedRejection<E::Rejection>;

    async fn from_request_parts(request: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let extracted = E::from_request_parts(request, state).await;
        extracted.map(Self).map_err(ExtractedRejection)
    }
}

impl<R: IntoResponse> IntoResponse for ExtractedRejection<R> {
    fn into_response(self) -> Response {
        RejectionMark::Extraction.mark(self.0.into_response())
    }
}
