//! The id in a path such as `/v1/permits/{id}`.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::server::api_error::ApiError;

/// The text of the id in a path. The endpoint checks its form, and answers an invalid id with the
/// 404 of an unknown one.
#[derive(Debug)]
pub(crate) struct PathId(pub(crate) String);

/// Stands for an id that is not UTF-8. No valid id contains this character.
const NOT_UTF8: &str = "\u{fffd}";

/// Extracts the id. `axum`'s `Path` would answer an id that is not UTF-8 with plain text, but
/// errors of the API are JSON (contract, part B).
impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(PathRejection::FailedToDeserializePathParams(error))
                if matches!(error.kind(), ErrorKind::InvalidUtf8InPathParam { .. }) =>
            {
                Ok(Self(NOT_UTF8.to_owned()))
            }
            Err(error) => {
                tracing::error!(target: "atlasent", %error, "a route has no id");
                Err(ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "INTERNAL_ERROR",
                    "the server cannot read the path: report this",
                ))
            }
        }
    }
}
